// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Directories;

/// <summary>
/// Name hash to slot address for one large directory, in memory: open addressing with linear probing, 8 bytes an entry, removal by backward shift.
/// Several entries may share a hash. Guarded by the directory's lock.
/// </summary>
internal sealed class NameIndex
{
    // The hash in the upper half, slot address + 1 in the lower; 0 = empty. One array: a search that finds nothing of it in the processor's cache waits once.
    private ulong[] _entries;
    private int _mask;

    public NameIndex(int expected = 256)
    {
        int capacity = (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)Math.Max(64, expected * 2));
        _entries = new ulong[capacity];
        _mask = capacity - 1;
    }

    public int Count { get; private set; }

    /// <summary>All entries, in no order.</summary>
    public IEnumerable<(uint Hash, uint Address)> Entries
    {
        get
        {
            foreach (ulong entry in _entries)
            {
                if (entry != 0)
                {
                    yield return (HashOf(entry), (uint)entry - 1);
                }
            }
        }
    }

    public void Add(uint hash, uint address)
    {
        if ((Count + 1) * 4L > _entries.Length * 3L)
        {
            Grow();
        }

        int at = Home(hash);
        while (_entries[at] != 0)
        {
            at = (at + 1) & _mask;
        }

        _entries[at] = EntryOf(hash, address);
        Count++;
    }

    public void Remove(uint hash, uint address)
    {
        int at = Home(hash);
        while (_entries[at] != EntryOf(hash, address))
        {
            Invariant.Check(_entries[at] != 0);
            at = (at + 1) & _mask;
        }

        Count--;
        int hole = at;
        int next = (hole + 1) & _mask;
        while (_entries[next] != 0)
        {
            int home = Home(HashOf(_entries[next]));
            if (((next - home) & _mask) >= ((next - hole) & _mask))
            {
                _entries[hole] = _entries[next];
                hole = next;
            }

            next = (next + 1) & _mask;
        }

        _entries[hole] = 0;
    }

    /// <summary>Walks the addresses whose hash equals <paramref name="hash"/>; start with <paramref name="cursor"/> = -1.</summary>
    public bool TryNext(uint hash, ref int cursor, out uint address)
    {
        int at = cursor < 0 ? Home(hash) : (cursor + 1) & _mask;
        ulong entry;
        while ((entry = _entries[at]) != 0)
        {
            if (HashOf(entry) == hash)
            {
                cursor = at;
                address = (uint)entry - 1;
                return true;
            }

            at = (at + 1) & _mask;
        }

        address = 0;
        return false;
    }

    private static ulong EntryOf(uint hash, uint address) => ((ulong)hash << 32) | (address + 1);

    private static uint HashOf(ulong entry) => (uint)(entry >> 32);

    private int Home(uint hash) => (int)((hash * 0x9E3779B1u) >> 7) & _mask;

    private void Grow()
    {
        ulong[] entries = _entries;
        _entries = new ulong[entries.Length * 2];
        _mask = _entries.Length - 1;
        Count = 0;
        foreach (ulong entry in entries)
        {
            if (entry != 0)
            {
                Add(HashOf(entry), (uint)entry - 1);
            }
        }
    }
}
