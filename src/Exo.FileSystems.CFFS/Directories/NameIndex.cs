// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Directories;

/// <summary>
/// Name hash to slot address for one large directory, in memory: open addressing with linear probing, 8 bytes an entry, removal by backward shift.
/// Several entries may share a hash. Guarded by the directory's lock.
/// </summary>
internal sealed class NameIndex
{
    // Slot address + 1; 0 = empty.
    private uint[] _slots;
    private uint[] _hashes;
    private int _mask;

    public NameIndex(int expected = 256)
    {
        int capacity = (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)Math.Max(64, expected * 2));
        _slots = new uint[capacity];
        _hashes = new uint[capacity];
        _mask = capacity - 1;
    }

    public int Count { get; private set; }

    /// <summary>All entries, in no order.</summary>
    public IEnumerable<(uint Hash, uint Address)> Entries
    {
        get
        {
            for (int i = 0; i < _slots.Length; i++)
            {
                if (_slots[i] != 0)
                {
                    yield return (_hashes[i], _slots[i] - 1);
                }
            }
        }
    }

    public void Add(uint hash, uint address)
    {
        if ((Count + 1) * 4L > _slots.Length * 3L)
        {
            Grow();
        }

        int at = Home(hash);
        while (_slots[at] != 0)
        {
            at = (at + 1) & _mask;
        }

        _slots[at] = address + 1;
        _hashes[at] = hash;
        Count++;
    }

    public void Remove(uint hash, uint address)
    {
        int at = Home(hash);
        while (_slots[at] != address + 1 || _hashes[at] != hash)
        {
            Invariant.Check(_slots[at] != 0);
            at = (at + 1) & _mask;
        }

        Count--;
        int hole = at;
        int next = (hole + 1) & _mask;
        while (_slots[next] != 0)
        {
            int home = Home(_hashes[next]);
            if (((next - home) & _mask) >= ((next - hole) & _mask))
            {
                _slots[hole] = _slots[next];
                _hashes[hole] = _hashes[next];
                hole = next;
            }

            next = (next + 1) & _mask;
        }

        _slots[hole] = 0;
    }

    /// <summary>Walks the addresses whose hash equals <paramref name="hash"/>; start with <paramref name="cursor"/> = -1.</summary>
    public bool TryNext(uint hash, ref int cursor, out uint address)
    {
        int at = cursor < 0 ? Home(hash) : (cursor + 1) & _mask;
        while (_slots[at] != 0)
        {
            if (_hashes[at] == hash)
            {
                cursor = at;
                address = _slots[at] - 1;
                return true;
            }

            at = (at + 1) & _mask;
        }

        address = 0;
        return false;
    }

    private int Home(uint hash) => (int)((hash * 0x9E3779B1u) >> 7) & _mask;

    private void Grow()
    {
        uint[] slots = _slots;
        uint[] hashes = _hashes;
        _slots = new uint[slots.Length * 2];
        _hashes = new uint[slots.Length * 2];
        _mask = _slots.Length - 1;
        Count = 0;
        for (int i = 0; i < slots.Length; i++)
        {
            if (slots[i] != 0)
            {
                Add(hashes[i], slots[i] - 1);
            }
        }
    }
}
