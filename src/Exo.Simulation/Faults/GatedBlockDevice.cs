// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.Simulation.Faults;

/// <summary>
/// A disk over another one whose requests wait at a gate while that is closed: for tests of who has to wait while a read, a write or a flush of somebody else is under way. No clock is in it.
/// <code>
/// disk.Close((operation, _) => operation == BlockOperation.Flush);
/// Task sync = Task.Run(volume.Sync);
/// disk.WaitForHeld();                  // its flush stands at the gate
/// volume.ReadAllBytes("/in the cache"); // must return
/// disk.Open();
/// </code>
/// </summary>
public sealed class GatedBlockDevice : BlockDevice
{
    private readonly BlockDevice _inner;
    private readonly Lock _lock = new();

    // Null: the gate is open. Replaced as a whole, under the lock.
    private Gate? _gate;

    /// <summary>A disk over <paramref name="inner"/>, which stays the caller's. Its gate is open.</summary>
    public GatedBlockDevice(BlockDevice inner)
        : base((inner ?? throw new ArgumentNullException(nameof(inner))).Frames, inner.Geometry) => _inner = inner;

    /// <summary>Requests that wait at the gate.</summary>
    public int Held => _gate is { } gate ? Volatile.Read(ref gate.Held) : 0;

    /// <summary>From now on requests wait.</summary>
    /// <param name="which">Those for which it is true, by operation and first block; null: all.</param>
    public void Close(Func<BlockOperation, BlockNumber, bool>? which = null)
    {
        lock (_lock)
        {
            _gate?.Opened.SetResult();
            _gate = new Gate(which ?? ((_, _) => true));
        }
    }

    /// <summary>Lets those that wait go, and all that follow.</summary>
    public void Open()
    {
        lock (_lock)
        {
            _gate?.Opened.SetResult();
            _gate = null;
        }
    }

    /// <summary>Returns when a request waits at the closed gate.</summary>
    /// <exception cref="InvalidOperationException">The gate is open.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public void WaitForHeld(CancellationToken cancellationToken = default)
    {
        Gate gate = _gate ?? throw new InvalidOperationException("The gate is open.");
        gate.Arrived.Task.Wait(cancellationToken);
    }

    /// <inheritdoc/>
    protected override void ExecuteCore(Span<BlockRequest> batch)
    {
        for (int i = 0; i < batch.Length; i++)
        {
            if (_gate is { } gate && gate.Stops(in batch[i]))
            {
                gate.Opened.Task.Wait();
                gate.Leave();
            }

            try
            {
                _inner.Execute(batch.Slice(i, 1));
            }
            catch (BlockDeviceException)
            {
                // The requests say what went wrong.
            }
        }
    }

    /// <inheritdoc/>
    protected override async ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch)
    {
        for (int i = 0; i < batch.Length; i++)
        {
            if (_gate is { } gate && gate.Stops(in batch.Span[i]))
            {
                await gate.Opened.Task.ConfigureAwait(false);
                gate.Leave();
            }

            try
            {
                await _inner.ExecuteAsync(batch.Slice(i, 1)).ConfigureAwait(false);
            }
            catch (BlockDeviceException)
            {
                // The requests say what went wrong.
            }
        }
    }

    /// <inheritdoc/>
    protected override void DisposeCore() => Open();

    private sealed class Gate(Func<BlockOperation, BlockNumber, bool> which)
    {
        public int Held;

        public TaskCompletionSource Arrived { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public TaskCompletionSource Opened { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public bool Stops(in BlockRequest request)
        {
            if (!which(request.Operation, request.FirstBlock))
            {
                return false;
            }

            Interlocked.Increment(ref Held);
            Arrived.TrySetResult();
            return true;
        }

        public void Leave() => Interlocked.Decrement(ref Held);
    }
}
