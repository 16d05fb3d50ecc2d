// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.FileSystems.CFFS.Inodes;

namespace Exo.Adapters.Fuse.Session;

/// <summary>Open files by handle number, 1 and up; numbers are used again. Thread-safe.</summary>
internal sealed class HandleTable
{
    private readonly Lock _lock = new();
    private readonly Stack<int> _free = [];
    private readonly Dictionary<ulong, int> _writers = [];
    private (Inode? Inode, bool Writes)[] _open = new (Inode?, bool)[64];
    private int _used;

    /// <summary>Whether a handle of the inode is open for writing.</summary>
    public bool IsWritten(Inode inode)
    {
        lock (_lock)
        {
            return _writers.ContainsKey(inode.Number);
        }
    }

    public ulong Add(Inode inode, bool writes)
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

            _open[index] = (inode, writes);
            if (writes)
            {
                CollectionsMarshal.GetValueRefOrAddDefault(_writers, inode.Number, out _)++;
            }

            return (ulong)index + 1;
        }
    }

    public Inode? Find(ulong handle)
    {
        lock (_lock)
        {
            return handle - 1 < (ulong)_used ? _open[handle - 1].Inode : null;
        }
    }

    /// <summary>All inodes that are open, once for each handle; none is afterwards.</summary>
    public List<Inode> RemoveAll()
    {
        lock (_lock)
        {
            List<Inode> open = [.. _open.Where(handle => handle.Inode is not null).Select(handle => handle.Inode!)];
            Array.Clear(_open);
            _used = 0;
            _free.Clear();
            _writers.Clear();
            return open;
        }
    }

    public Inode? Remove(ulong handle)
    {
        lock (_lock)
        {
            if (handle - 1 >= (ulong)_used || _open[handle - 1] is not ({ } inode, var writes))
            {
                return null;
            }

            _open[handle - 1] = default;
            if (writes && --CollectionsMarshal.GetValueRefOrNullRef(_writers, inode.Number) == 0)
            {
                _writers.Remove(inode.Number);
            }

            _free.Push((int)(handle - 1));
            return inode;
        }
    }
}
