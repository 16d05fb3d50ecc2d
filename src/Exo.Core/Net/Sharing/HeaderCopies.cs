// SPDX-License-Identifier: MIT
using Exo.Core.Environments;
using Exo.Core.Memory;

namespace Exo.Core.Net;

/// <summary>
/// The headers of packets that wait, copied into frames that their sender has no capability for: what was checked is what is sent, whatever becomes of the sender's frames. The frames are the interface's own. A ring: a frame is written
/// to again when no queue and no device holds it. Guarded by the lock of the shares.
/// </summary>
internal sealed class HeaderCopies
{
    private const int AlignmentBytes = 64;   // each copy has its own cache lines

    private readonly FramePool _pool;
    private readonly FrameNumber[] _frames;
    private int _current;
    private int _usedBytes;

    private HeaderCopies(FramePool pool, FrameNumber[] frames)
    {
        _pool = pool;
        _frames = frames;
    }

    /// <summary>Whether any header finds room.</summary>
    public bool HasRoom => Next() >= 0;

    /// <summary>Null: the pool has not the frames.</summary>
    /// <param name="pool">The device's pool.</param>
    /// <param name="headers">Headers of a usual length, options included, that find room at the same time.</param>
    public static HeaderCopies? TryMake(FramePool pool, int headers)
    {
        const int UsualBytes = 3 * AlignmentBytes;
        FrameNumber[] frames = new FrameNumber[2 + headers / (FramePool.FrameBytes / UsualBytes)];
        for (int i = 0; i < frames.Length; i++)
        {
            if (!pool.TryAllocate(pool.RootCredential, out frames[i]))
            {
                Array.ForEach(frames[..i], pool.Release);
                return null;
            }
        }

        return new HeaderCopies(pool, frames);
    }

    /// <summary>Copies a header of at most a frame. It may be overwritten by the next unless its frame is retained. False: queues and devices hold all frames.</summary>
    public bool TryCopy(PacketSlice header, out PacketSlice copy)
    {
        int at = _usedBytes;
        if (at + header.LengthBytes > FramePool.FrameBytes)
        {
            int next = Next();
            if (next < 0)
            {
                copy = default;
                return false;
            }

            _current = next;
            at = _usedBytes = 0;
        }

        copy = new PacketSlice(_frames[_current], at, header.LengthBytes);
        header.Bytes(_pool).CopyTo(copy.Bytes(_pool));
        return true;
    }

    /// <summary>The last copy stays until its frame is released.</summary>
    public void Keep(PacketSlice copy) => _usedBytes = (copy.OffsetBytes + copy.LengthBytes + AlignmentBytes - 1) & -AlignmentBytes;

    /// <summary>The ring's own references; those of packets on the way keep their frames.</summary>
    public void Release() => Array.ForEach(_frames, _pool.Release);

    // A free frame beside the current one; -1: none. The current one may be free too, but then others are.
    private int Next()
    {
        for (int i = 1; i < _frames.Length; i++)
        {
            int next = (_current + i) % _frames.Length;
            if (_pool.ReferenceCount(_frames[next]) == 1)
            {
                return next;
            }
        }

        return -1;
    }
}
