// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Simulation.Faults;

/// <summary>
/// A disk over another one that fails as real ones do. Faults can be switched off and on while it runs. Completes on the caller's thread, one request after the other.
/// </summary>
public sealed class FaultyBlockDevice : BlockDevice
{
    private const int Eio = 5;
    private const int SectorBytes = 512;

    private readonly BlockDevice _inner;
    private readonly FaultOptions _options;
    private readonly Random _random;
    private readonly Lock _lock = new();
    private readonly FrameNumber[] _scratch = new FrameNumber[1];

    /// <summary>A disk over <paramref name="inner"/>, which stays the caller's. Keeps one frame of its pool.</summary>
    /// <exception cref="InvalidOperationException">The pool has no frame left.</exception>
    public FaultyBlockDevice(BlockDevice inner, FaultOptions options)
        : base((inner ?? throw new ArgumentNullException(nameof(inner))).Frames, inner.Geometry)
    {
        ArgumentNullException.ThrowIfNull(options);
        _inner = inner;
        _options = options;
        _random = new Random(options.Seed);
        if (!Frames.TryAllocate(Frames.RootCredential, out _scratch[0]))
        {
            throw new InvalidOperationException("The frame pool is exhausted.");
        }
    }

    /// <summary>Whether requests fail at present.</summary>
    public bool IsFailing { get; set; } = true;

    /// <summary>Faults so far.</summary>
    public long Faults { get; private set; }

    /// <inheritdoc/>
    protected override void ExecuteCore(Span<BlockRequest> batch)
    {
        lock (_lock)
        {
            for (int i = 0; i < batch.Length; i++)
            {
                Execute(ref batch[i]);
            }
        }
    }

    /// <inheritdoc/>
    protected override ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch)
    {
        ExecuteCore(batch.Span);
        return ValueTask.CompletedTask;
    }

    /// <inheritdoc/>
    protected override void DisposeCore() => Frames.Release(_scratch[0]);

    private void Execute(ref BlockRequest request)
    {
        switch (request.Operation)
        {
            case BlockOperation.Read when Happens(_options.ReadError):
            case BlockOperation.Flush when Happens(_options.FlushError):
                request.Error = Eio;
                return;
            case BlockOperation.Read:
                Pass(ref request);
                if (request.Error == 0 && Happens(_options.BitRot))
                {
                    Rot(in request);
                }

                return;
            case BlockOperation.Write when Happens(_options.LostWrite):
                return;
            case BlockOperation.Write when Happens(_options.MisdirectedWrite):
                BlockRequest elsewhere = request;
                elsewhere.FirstBlock = new BlockNumber((ulong)_random.NextInt64((long)Geometry.BlockCount - request.BlockCount + 1));
                Pass(ref elsewhere);
                request.Error = elsewhere.Error;
                return;
            case BlockOperation.Write when Happens(_options.TornWrite):
                Tear(in request);
                return;
            case BlockOperation.Write when Happens(_options.WriteError):
                Tear(in request);
                request.Error = Eio;
                return;
            default:
                Pass(ref request);
                return;
        }
    }

    private bool Happens(double probability)
    {
        if (!IsFailing || probability <= 0 || _random.NextDouble() >= probability)
        {
            return false;
        }

        Faults++;
        return true;
    }

    private void Pass(ref BlockRequest request)
    {
        try
        {
            _inner.Execute(new Span<BlockRequest>(ref request));
        }
        catch (BlockDeviceException)
        {
            // The request says what went wrong.
        }
    }

    private void Rot(in BlockRequest read)
    {
        int index = _random.Next(read.BlockCount);
        Span<byte> bytes = Frames.Bytes(read.Frames.Span[index]);
        bytes[_random.Next(bytes.Length)] ^= (byte)(1 << _random.Next(8));
        BlockRequest keep = BlockRequest.Write(read.FirstBlock + (ulong)index, read.Frames.Slice(index, 1));
        Pass(ref keep);
    }

    /// <summary>Writes some sectors of a request, any of them.</summary>
    private void Tear(in BlockRequest write)
    {
        for (int i = 0; i < write.BlockCount; i++)
        {
            BlockRequest old = BlockRequest.Read(write.FirstBlock + (ulong)i, _scratch);
            Pass(ref old);
            Span<byte> torn = Frames.Bytes(_scratch[0]);
            ReadOnlySpan<byte> wanted = Frames.Bytes(write.Frames.Span[i]);
            for (int offset = 0; offset < torn.Length; offset += SectorBytes)
            {
                if (_random.Next(2) == 0)
                {
                    wanted.Slice(offset, SectorBytes).CopyTo(torn[offset..]);
                }
            }

            BlockRequest part = BlockRequest.Write(write.FirstBlock + (ulong)i, _scratch);
            Pass(ref part);
        }
    }
}
