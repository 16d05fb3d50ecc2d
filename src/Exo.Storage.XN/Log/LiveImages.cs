// SPDX-License-Identifier: MIT
using System.Buffers;
using Exo.Core.Memory;

namespace Exo.Storage.XN;

/// <summary>
/// The blocks that have an image in the commit log. Until the log begins anew a replay would write these images over whatever lies in the blocks: so a live block is not written in place at
/// another version, does not leave core, and when it is freed nobody gets it. Guarded by the volume's lock.
/// </summary>
internal sealed class LiveImages
{
    private readonly Dictionary<ulong, LiveImage> _byBlock = [];
    private readonly Stack<LiveImage> _spare = [];
    private readonly List<ulong> _freed = [];

    // In the order in which they became live, and how far they have been looked at to be brought home ahead.
    private readonly List<ulong> _entered = [];
    private int _ahead;

    /// <summary>Live blocks.</summary>
    public int Count => _byBlock.Count;

    /// <summary>Live blocks that are nobody's any more: free when the log begins anew.</summary>
    public int FreedCount => _freed.Count;

    public Dictionary<ulong, LiveImage>.KeyCollection Blocks => _byBlock.Keys;

    public bool Contains(ulong block) => _byBlock.Count > 0 && _byBlock.ContainsKey(block);

    public LiveImage? Find(ulong block) => _byBlock.GetValueOrDefault(block);

    public LiveImage Enter(ulong block)
    {
        if (!_byBlock.TryGetValue(block, out LiveImage? image))
        {
            image = _spare.TryPop(out LiveImage? spare) ? spare : new LiveImage();
            _byBlock.Add(block, image);
            _entered.Add(block);
        }

        return image;
    }

    /// <summary>Live blocks that have not been looked at to be brought home ahead.</summary>
    public int NotLookedAt => _entered.Count - _ahead;

    /// <summary>The block that became live first of those.</summary>
    public ulong NextAhead() => _entered[_ahead++];

    /// <summary>No pointer to a block is durable any more: what the log has of it need not be brought home.</summary>
    public void NoteFreed(ulong block, FramePool frames)
    {
        _freed.Add(block);
        LiveImage image = _byBlock[block];
        image.Forget();
        image.ReleaseKept(frames);
    }

    /// <summary>The volume is closed.</summary>
    public void Dispose(FramePool frames)
    {
        foreach (LiveImage image in _byBlock.Values)
        {
            image.ReleaseKept(frames);
        }
    }

    /// <summary>The log begins anew: nothing is live. Gives the blocks that waited for it.</summary>
    public void Clear(FramePool frames, List<ulong> freed)
    {
        foreach (LiveImage image in _byBlock.Values)
        {
            image.Reset(frames);
            _spare.Push(image);
        }

        _byBlock.Clear();
        _entered.Clear();
        _ahead = 0;
        freed.AddRange(_freed);
        _freed.Clear();
    }
}

/// <summary>What is known of one live block. <c>logged</c> is its newest version that is durable in the log, <c>on its way</c> the one of the transaction that is being written.</summary>
internal sealed class LiveImage
{
    private byte[]? _logged;
    private byte[]? _onItsWay;

    /// <summary>A durable transaction has an image of the block. False: only one whose write failed, which may be on the disk all the same.</summary>
    public bool IsDurable { get; private set; }

    /// <summary>The transaction that is being written has one.</summary>
    public bool IsOnItsWay { get; private set; }

    /// <summary>What the log has of the block lies in its place too, once a flush has made that durable.</summary>
    public bool IsHome { get; set; }

    /// <summary>Transactions that have had an image of the block.</summary>
    public int Writes { get; private set; }

    /// <summary>Metadata that has changed since it was logged: what was logged. Null: what is in core was.</summary>
    public ReadOnlySpan<byte> Logged => _logged is null ? default : _logged.AsSpan(0, LogRecord.BlockBytes);

    /// <summary>The frame of a block that has left the registry: freed, and the removal of the last pointer is not durable; or shared.</summary>
    public FrameNumber? Kept { get; set; }

    public void Begin()
    {
        IsOnItsWay = true;
        IsHome = false;
        Writes++;
    }

    /// <summary>The block is about to change in core.</summary>
    public void Preserve(ReadOnlySpan<byte> present)
    {
        if (IsOnItsWay)
        {
            _onItsWay ??= Copy(present);
        }
        else if (IsDurable)
        {
            _logged ??= Copy(present);
        }
    }

    public void End(bool succeeded)
    {
        IsOnItsWay = false;
        if (succeeded || (IsDurable && _logged is null))
        {
            // Where it failed, and nothing had changed since the image before, what was on its way is what was logged.
            (_logged, _onItsWay) = (_onItsWay, _logged);
        }

        IsDurable |= succeeded;
        Return(ref _onItsWay);
    }

    /// <summary>Nobody will ask for its contents again.</summary>
    public void Forget()
    {
        Return(ref _logged);
        Return(ref _onItsWay);
    }

    public void Reset(FramePool frames)
    {
        Invariant.Check(!IsOnItsWay);
        IsDurable = false;
        IsHome = false;
        Forget();
        ReleaseKept(frames);
    }

    public void ReleaseKept(FramePool frames)
    {
        if (Kept is { } frame)
        {
            frames.Release(frame);
            Kept = null;
        }
    }

    private static byte[] Copy(ReadOnlySpan<byte> block)
    {
        byte[] copy = ArrayPool<byte>.Shared.Rent(LogRecord.BlockBytes);
        block.CopyTo(copy);
        return copy;
    }

    private static void Return(ref byte[]? copy)
    {
        if (copy is not null)
        {
            ArrayPool<byte>.Shared.Return(copy);
            copy = null;
        }
    }
}
