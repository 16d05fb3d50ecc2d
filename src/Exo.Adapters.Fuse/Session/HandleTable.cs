// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;

namespace Exo.Adapters.Fuse.Session;

/// <summary>Open files by handle number, 1 and up; numbers are used again. Thread-safe.</summary>
internal sealed class HandleTable
{
    private readonly Lock _lock = new();
    private readonly Stack<int> _free = [];
    private Inode?[] _open = new Inode?[64];
    private int _used;

    public ulong Add(Inode inode)
    {
        lock (_lock)
        {
            if (!_free.TryPop(out int index))
            {
                if (_used == _open.Length)
                {
                    Array.Resize(ref _open, _used * 2);
                }

                index = _used++;
            }

            _open[index] = inode;
            return (ulong)index + 1;
        }
    }

    public Inode? Find(ulong handle)
    {
        lock (_lock)
        {
            return handle - 1 < (ulong)_used ? _open[handle - 1] : null;
        }
    }

    public Inode? Remove(ulong handle)
    {
        lock (_lock)
        {
            if (handle - 1 >= (ulong)_used || _open[handle - 1] is not { } inode)
            {
                return null;
            }

            _open[handle - 1] = null;
            _free.Push((int)(handle - 1));
            return inode;
        }
    }
}
