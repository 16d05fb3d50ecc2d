// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Inodes;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Cache;

/// <summary>
/// C-FFS's policy over XN's registry: which frames to give to which blocks, and which blocks to let go. XN holds the blocks; this class only
/// remembers, per frame, the block it gave it to and whether the block was used lately (CLOCK).
/// A frame whose reference count is above one is in use (leased, pinned by an inode, being written) and stays.
/// Thread-safe.
/// </summary>
internal sealed class BlockCache
{
    /// <summary>The longest run that <see cref="TryGetRow"/> looks for: 1 MiB.</summary>
    public const int RowMax = 256;

    private readonly XnVolume _disk;
    private readonly Credential _key;
    private readonly FramePool _frames;
    private readonly ulong[] _blockOf;
    private readonly byte[] _used;
    private readonly Lock _clock = new();
    private readonly NodeLock _line = new();
    private uint _hand;

    // Who stands in line for frames, the first included.
    private int _inLine;

    public BlockCache(XnVolume disk, Credential key, FramePool frames)
    {
        _disk = disk;
        _key = key;
        _frames = frames;
        _blockOf = new ulong[frames.FrameCount];
        _used = new byte[frames.FrameCount];
    }

    /// <summary>Brings everything home, so that frames can be let go; set once by the volume.</summary>
    public Func<IoMode, ValueTask>? WriteBack { get; set; }

    /// <summary>Lets go of inodes that nobody uses, with the frames that they keep; set once by the volume.</summary>
    public Action? GiveUpInodes { get; set; }

    public FramePool Frames => _frames;

    /// <summary>The frame of a block that is in core, retained for the caller, who looks at it from <paramref name="fromByte"/> on.</summary>
    public bool TryGet(BlockNumber block, out FrameNumber frame, int fromByte = 0)
    {
        if (_disk.TryGetFrame(_key, block, fromByte, out frame))
        {
            _used[frame.Value] = 1;
            return true;
        }

        return false;
    }

    /// <summary>Begins to look at blocks without holding their frames (<see cref="XnVolume.BeginPeek"/>).</summary>
    public uint BeginPeek() => _disk.BeginPeek();

    /// <inheritdoc cref="XnVolume.IsUnchanged"/>
    public bool IsUnchanged(uint peek) => _disk.IsUnchanged(peek);

    /// <summary>The bytes of a block, if it seems to be in core, for who looks at them from <paramref name="fromByte"/> on. See <see cref="BeginPeek"/>.</summary>
    public bool TryPeek(BlockNumber block, int fromByte, out ReadOnlySpan<byte> bytes)
    {
        if (!_disk.TryPeek(_key, block, fromByte, out FrameNumber frame))
        {
            bytes = default;
            return false;
        }

        _used[frame.Value] = 1;
        bytes = _frames.Bytes(frame);
        return true;
    }

    /// <summary>The frames of a run of blocks, retained for the caller: how many from the first block on are in core.</summary>
    public int GetRun(BlockNumber block, Span<FrameNumber> frames)
    {
        int found = _disk.GetFrames(_key, block, frames);
        for (int i = 0; i < found; i++)
        {
            _used[frames[i].Value] = 1;
        }

        return found;
    }

    /// <summary>The frames of a run of blocks, retained for the caller, if all are in core and lie in a row.</summary>
    public bool TryGetRow(BlockNumber block, int count, out FrameNumber first)
    {
        first = default;
        if (count > RowMax)
        {
            return false;
        }

        const int Few = 8;
        Span<FrameNumber> frames = count <= Few ? stackalloc FrameNumber[Few] : stackalloc FrameNumber[RowMax];
        int found = GetRun(block, frames[..count]);
        bool isRow = found == count;
        for (int i = 0; i < found; i++)
        {
            isRow &= frames[i].Value == frames[0].Value + (uint)i;
        }

        if (!isRow)
        {
            Release(frames[..found]);
            return false;
        }

        first = frames[0];
        return true;
    }

    public void Release(ReadOnlySpan<FrameNumber> frames)
    {
        foreach (FrameNumber frame in frames)
        {
            _frames.Release(frame);
        }
    }

    public void Release(FrameNumber frame) => _frames.Release(frame);

    public ReadOnlySpan<byte> Bytes(FrameNumber frame) => _frames.Bytes(frame);

    /// <summary>
    /// Fills <paramref name="into"/> with frames that nobody uses, letting go of clean blocks, and writing dirty ones back when there are no clean ones.
    /// The caller owns them (count 1 each). Contiguous where the pool allows: adjacent blocks then move in one segment.
    /// <para>Who finds too few gets in line. Only the first in line writes back, and who comes meanwhile goes behind the others: else those who make contents at once would take away what each has
    /// freed, or keep a part each, and some would find nothing however often they tried. A commit takes no frames here, so none waits for the line.</para>
    /// <para>When that is not enough, inodes that nobody uses go: each keeps the frame of the block that its record lies in.</para>
    /// </summary>
    /// <exception cref="CffsException">Busy: so many frames cannot be had, whatever is written back.</exception>
    public async ValueTask TakeFramesAsync(Memory<FrameNumber> into, IoMode mode)
    {
        const int AttemptsMax = 100;
        if (Volatile.Read(ref _inLine) == 0 && TryTakeFrames(into.Span))
        {
            return;
        }

        Interlocked.Increment(ref _inLine);
        try
        {
            await _line.EnterAsync(mode).ConfigureAwait(false);
            try
            {
                for (int attempt = 1; !TryTakeFrames(into.Span); attempt++)
                {
                    if (attempt == AttemptsMax)
                    {
                        throw new CffsException(CffsError.Busy, $"the block cache of {_frames.FrameCount} frames is wholly in use");
                    }

                    await WriteBack!(mode).ConfigureAwait(false);
                    if (attempt > 1)
                    {
                        // What is written back can still not be let go: it is kept.
                        GiveUpInodes!();
                    }

                    // What others have taken and not filled yet nobody can write back: they are let run.
                    if (mode == IoMode.Sync)
                    {
                        Thread.Yield();
                    }
                    else
                    {
                        await Task.Yield();
                    }
                }
            }
            finally
            {
                _line.Exit();
            }
        }
        finally
        {
            Interlocked.Decrement(ref _inLine);
        }
    }

    /// <summary>As <see cref="TakeFramesAsync"/>, and nothing is written back: false when there are not enough frames that are free or hold clean blocks.</summary>
    public bool TryTakeFrames(Span<FrameNumber> into)
    {
        int taken = TakeClean(into);
        if (taken < into.Length)
        {
            Release(into[..taken]);
            return false;
        }

        return true;
    }

    /// <summary>Takes frames that are free, and lets go of clean blocks for more. How many it got.</summary>
    private int TakeClean(Span<FrameNumber> into)
    {
        int taken = TakeRun(into);
        while (true)
        {
            taken += TakeSingles(into[taken..]);
            if (taken == into.Length || Evict((into.Length - taken) * 2) == 0)
            {
                return taken;
            }
        }
    }

    public async ValueTask<FrameNumber> TakeFrameAsync(IoMode mode)
    {
        if (_frames.TryAllocate(_frames.RootCredential, out FrameNumber frame))
        {
            return frame;
        }

        FrameNumber[] one = new FrameNumber[1];
        await TakeFramesAsync(one, mode).ConfigureAwait(false);
        return one[0];
    }

    /// <summary>Notes that a frame now holds a block, so that it may be let go later.</summary>
    public void Remember(FrameNumber frame, BlockNumber block)
    {
        _blockOf[frame.Value] = block.Value;
        _used[frame.Value] = 1;
    }

    /// <summary>
    /// Brings blocks into core. Each request names a run of blocks and the parent that owns them; neighbours become one device request. What somebody else is reading is waited for.
    /// </summary>
    public async ValueTask ReadAsync(ReadOnlyMemory<XnReadRequest> requests, IoMode mode)
    {
        // Waiting takes no frames: nothing needs to leave the cache for it.
        FrameNumber[] frames = new FrameNumber[CountAbsent(requests.Span)];
        await TakeFramesAsync(frames, mode).ConfigureAwait(false);
        try
        {
            await ReadAsync(requests, frames, mode).ConfigureAwait(false);
            return;
        }
        catch (XnException refused) when (refused.Status == XnStatus.BadFrames)
        {
            // What was in core, or on its way, has gone meanwhile.
        }

        frames = new FrameNumber[CountAll(requests.Span)];
        await TakeFramesAsync(frames, mode).ConfigureAwait(false);
        await ReadAsync(requests, frames, mode).ConfigureAwait(false);
    }

    /// <summary>As <see cref="ReadAsync(ReadOnlyMemory{XnReadRequest}, IoMode)"/>, with frames for what has none; they are the cache's from here on, whatever happens.</summary>
    public async ValueTask ReadAsync(ReadOnlyMemory<XnReadRequest> requests, FrameNumber[] frames, IoMode mode)
    {
        int unused = frames.Length;
        try
        {
            if (mode == IoMode.Sync)
            {
                _disk.Read(_key, requests.Span, frames, out unused);
            }
            else
            {
                try
                {
                    unused = await _disk.ReadAsync(_key, requests, frames).ConfigureAwait(false);
                }
                catch (BlockDeviceException)
                {
                    // XN has taken or given back all of them.
                    unused = 0;
                    throw;
                }
            }
        }
        catch (XnException refused) when (refused.Status is XnStatus.NotOwned or XnStatus.TypeError)
        {
            throw new CffsException(CffsError.Corrupt, $"metadata points where it may not: {refused.Message}", refused);
        }
        finally
        {
            Release(frames.AsSpan(0, unused));
        }

        Remember(requests.Span);
    }

    private void Remember(ReadOnlySpan<XnReadRequest> requests)
    {
        Span<FrameNumber> frames = stackalloc FrameNumber[RowMax];
        foreach (ref readonly XnReadRequest request in requests)
        {
            uint at = 0;
            while (at < request.Extent.Count)
            {
                int found = _disk.GetFrames(_key, request.Extent.First + at, frames[..(int)Math.Min(RowMax, request.Extent.Count - at)]);
                for (int i = 0; i < found; i++)
                {
                    Remember(frames[i], request.Extent.First + at + (uint)i);
                    _frames.Release(frames[i]);
                }

                // One that has gone again is passed over.
                at += Math.Max(1, (uint)found);
            }
        }
    }

    /// <summary>How many blocks are neither in core nor on their way, at that moment.</summary>
    public int CountAbsent(ReadOnlySpan<XnReadRequest> requests)
    {
        int count = 0;
        foreach (ref readonly XnReadRequest request in requests)
        {
            for (uint i = 0; i < request.Extent.Count; i++)
            {
                count += IsKnown(request.Extent.First + i, orOnItsWay: true) ? 0 : 1;
            }
        }

        return count;
    }

    /// <summary>Whether a block is in core, or somebody is reading it, at that moment. Nothing is said of who may see it.</summary>
    public bool IsKnown(BlockNumber block, bool orOnItsWay) => _disk.TryGetEntry(block, out RegistryEntryInfo info) && (info.HasFrame || (orOnItsWay && info.IsReading));

    private static int CountAll(ReadOnlySpan<XnReadRequest> requests)
    {
        int count = 0;
        foreach (ref readonly XnReadRequest request in requests)
        {
            count += (int)request.Extent.Count;
        }

        return count;
    }

    private int TakeRun(Span<FrameNumber> into)
    {
        if (into.Length < 2 || !_frames.TryAllocateRun(_frames.RootCredential, into.Length, out FrameNumber first))
        {
            return 0;
        }

        for (int i = 0; i < into.Length; i++)
        {
            into[i] = new FrameNumber(first.Value + (uint)i);
        }

        return into.Length;
    }

    private int TakeSingles(Span<FrameNumber> into)
    {
        int taken = 0;
        while (taken < into.Length && _frames.TryAllocate(_frames.RootCredential, out FrameNumber frame))
        {
            into[taken++] = frame;
        }

        return taken;
    }

    /// <summary>Lets go of up to <paramref name="wanted"/> clean, unused blocks. Two turns of the clock at most.</summary>
    private int Evict(int wanted)
    {
        wanted = Math.Max(wanted, 32);
        int evicted = 0;
        lock (_clock)
        {
            uint frameCount = (uint)_blockOf.Length;
            for (ulong step = 0; step < 2UL * frameCount && evicted < wanted; step++)
            {
                uint hand = _hand;
                _hand = hand + 1 == frameCount ? 0 : hand + 1;
                if (_blockOf[hand] == 0)
                {
                    continue;
                }

                if (_used[hand] != 0)
                {
                    _used[hand] = 0;
                    continue;
                }

                FrameNumber frame = new(hand);
                BlockNumber block = new(_blockOf[hand]);
                if (!_disk.TryGetFrame(_key, block, out FrameNumber current))
                {
                    _blockOf[hand] = 0;
                    continue;
                }

                bool same = current == frame;
                bool idle = _frames.ReferenceCount(frame) == 2;
                _frames.Release(current);
                if (!same)
                {
                    _blockOf[hand] = 0;
                }
                else if (idle && _disk.UnbindIdle(_key, block) == XnStatus.Ok)
                {
                    _blockOf[hand] = 0;
                    evicted++;
                }
            }
        }

        return evicted;
    }
}
