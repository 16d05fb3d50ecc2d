// SPDX-License-Identifier: MIT
namespace Exo.Storage.XN;

/// <summary>
/// All blocks in core: an array of entries with a free list, a table by block number, an intrusive list of the dirty ones, and lists of volatile metadata
/// children. Guarded by the volume's lock.
/// </summary>
internal sealed class BlockRegistry
{
    public const int None = -1;

    private readonly BlockTable _table = new();
    private RegistryEntry[] _entries = new RegistryEntry[1024];
    private int _used;
    private int _free = None;
    private ulong _clock;

    public int DirtyFirst { get; private set; } = None;

    public int DirtyCount { get; private set; }

    public int Count => _table.Count;

    /// <summary>A version newer than all that were given before, of all blocks.</summary>
    public ulong NextVersion() => ++_clock;

    public ref RegistryEntry this[int index] => ref _entries[index];

    public int Find(ulong block) => _table.Find(block);

    public int Add(ulong block, Template template)
    {
        int index;
        if (_free != None)
        {
            index = _free;
            _free = _entries[index].DirtyNext;
        }
        else
        {
            if (_used == _entries.Length)
            {
                Array.Resize(ref _entries, _used * 2);
            }

            index = _used++;
        }

        _entries[index] = new RegistryEntry
        {
            Block = block,
            Template = template,
            Version = NextVersion(),
            DirtyNext = None,
            DirtyPrevious = None,
            KidFirst = None,
            KidNext = None,
            KidPrevious = None,
        };
        _table.Add(block, index);
        return index;
    }

    public void Remove(int index)
    {
        ref RegistryEntry entry = ref _entries[index];
        Invariant.Check(!entry.Has(EntryFlags.Dirty) && entry.KidFirst == None && entry.KidNext == None && entry.KidPrevious == None);
        _table.Remove(entry.Block);
        entry = default;
        entry.DirtyNext = _free;
        _free = index;
    }

    public void SetDirty(int index)
    {
        ref RegistryEntry entry = ref _entries[index];
        if (entry.Has(EntryFlags.Dirty))
        {
            return;
        }

        entry.Flags |= EntryFlags.Dirty;
        entry.DirtyPrevious = None;
        entry.DirtyNext = DirtyFirst;
        if (DirtyFirst != None)
        {
            _entries[DirtyFirst].DirtyPrevious = index;
        }

        DirtyFirst = index;
        DirtyCount++;
    }

    public void ClearDirty(int index)
    {
        ref RegistryEntry entry = ref _entries[index];
        if (!entry.Has(EntryFlags.Dirty))
        {
            return;
        }

        entry.Flags &= ~EntryFlags.Dirty;
        if (entry.DirtyPrevious != None)
        {
            _entries[entry.DirtyPrevious].DirtyNext = entry.DirtyNext;
        }
        else
        {
            DirtyFirst = entry.DirtyNext;
        }

        if (entry.DirtyNext != None)
        {
            _entries[entry.DirtyNext].DirtyPrevious = entry.DirtyPrevious;
        }

        entry.DirtyNext = None;
        entry.DirtyPrevious = None;
        DirtyCount--;
    }

    /// <summary>Puts a volatile metadata block on its parent's list.</summary>
    public void LinkKid(int parent, int kid)
    {
        ref RegistryEntry entry = ref _entries[kid];
        Invariant.Check(entry.KidNext == None && entry.KidPrevious == None);
        int first = _entries[parent].KidFirst;
        entry.KidNext = first;
        entry.KidPrevious = -2 - parent;
        if (first != None)
        {
            _entries[first].KidPrevious = kid;
        }

        _entries[parent].KidFirst = kid;
    }

    public void UnlinkKid(int kid)
    {
        ref RegistryEntry entry = ref _entries[kid];
        if (entry.KidPrevious == None)
        {
            return;
        }

        if (entry.KidPrevious <= -2)
        {
            _entries[-2 - entry.KidPrevious].KidFirst = entry.KidNext;
        }
        else
        {
            _entries[entry.KidPrevious].KidNext = entry.KidNext;
        }

        if (entry.KidNext != None)
        {
            _entries[entry.KidNext].KidPrevious = entry.KidPrevious;
        }

        entry.KidNext = None;
        entry.KidPrevious = None;
    }

    /// <summary>Every entry's index, for enumeration.</summary>
    public IEnumerable<int> Indices()
    {
        for (int i = 0; i < _used; i++)
        {
            if (_entries[i].Template is not null)
            {
                yield return i;
            }
        }
    }
}
