// SPDX-License-Identifier: MIT
using Exo.Core.Linux;

namespace Exo.Core.Memory;

/// <summary>
/// A run of a pool's frames whose memory is a file of its own, so that another process can be given just these: <see cref="FramePool.Share"/>. All of its frames are held by it, one reference each; who gives one to somebody retains it, and
/// a frame is back when its count is one again.
/// </summary>
internal sealed class SharedFrames : IDisposable
{
    private readonly FramePool _pool;
    private readonly SharedMemory _memory;
    private int _isDisposed;

    public SharedFrames(FramePool pool, FrameNumber first, int count, SharedMemory memory)
    {
        _pool = pool;
        First = first;
        Count = count;
        _memory = memory;
    }

    public FrameNumber First { get; }

    public int Count { get; }

    /// <summary>What another process maps.</summary>
    public int Descriptor => _memory.Descriptor;

    public bool Contains(FrameNumber frame) => frame.Value - First.Value < (uint)Count;

    /// <summary>Whether nobody but this holds any of the frames.</summary>
    public bool IsUnused
    {
        get
        {
            for (uint i = 0; i < (uint)Count; i++)
            {
                if (_pool.ReferenceCount(new FrameNumber(First.Value + i)) != 1)
                {
                    return false;
                }
            }

            return true;
        }
    }

    /// <summary>The frames are ordinary ones again, with memory that no other process has. None may be held by anybody else.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _isDisposed, 1) == 0)
        {
            Invariant.Check(IsUnused);
            _pool.EndShare(this);
            _memory.Dispose();
        }
    }
}
