// SPDX-License-Identifier: MIT
using System.Numerics;

namespace Exo.Storage.XN;

/// <summary>
/// All blocks in core: entries found by block number, the list of the dirty ones, lists of volatile metadata children. Outside the garbage-collected heap; an entry and its place in the
/// index take 60 bytes.
/// <para>Written under the volume's lock, between <see cref="BeginChange"/> and <see cref="EndChange"/>. Read under the lock, or without it by <see cref="TryRead"/>, in this process and, where the memory is shared, in
/// others: a sequence count tells a reader whether what it saw was whole.</para>
/// <code>
/// heads:    one per bucket, index of its first entry + 1; linear hashing, one bucket per entry at least: growing splits one bucket at a time
/// entries:  56 bytes each, chained by bucket
/// states:   72 bytes each, only for blocks on their way to the disk
/// </code>
/// </summary>
internal sealed class BlockRegistry
{
    public const int None = RegistryTables.None;
    private const int BucketsMin = 1024;

    private readonly TemplateCatalogue _templates;
    private readonly RegistryTables _tables;
    private readonly NativeTable<RegistryEntry> _entries;
    private readonly NativeTable<WriteState> _states;
    private readonly NativeTable<int> _heads;
    private int _used;
    private int _free = None;
    private int _statesUsed;
    private int _stateFree = None;
    private ulong _clock;

    // By template number: blocks in core, and dirty ones.
    private (int InCore, int Dirty)[] _uses = new (int, int)[16];

    /// <summary>Makes an empty registry.</summary>
    public BlockRegistry(TemplateCatalogue templates, TableMemory? memory = null)
    {
        _templates = templates;
        _tables = new RegistryTables(memory ?? new PrivateTableMemory());
        _entries = _tables.Entries;
        _states = _tables.States;
        _heads = _tables.Heads;
    }

    public int DirtyFirst { get; private set; } = None;

    public int DirtyCount { get; private set; }

    public int Count { get; private set; }

    /// <summary>Memory of the registry.</summary>
    public long SizeBytes => _entries.SizeBytes + _heads.SizeBytes + _states.SizeBytes;

    /// <summary>Blocks that have a write state.</summary>
    public int WriteStates { get; private set; }

    /// <summary>A version newer than all that were given before, of all blocks.</summary>
    public ulong NextVersion() => ++_clock;

    /// <summary>The entry; the reference stays good while the entry is in use.</summary>
    public ref RegistryEntry this[int index] => ref _entries[index];

    public Template TemplateOf(int index) => _templates.Find(new TemplateId(_entries[index].Template))!;

    /// <inheritdoc cref="RegistryTables.BeginChange"/>
    public void BeginChange() => _tables.BeginChange();

    public void EndChange() => _tables.EndChange();

    public int Find(ulong block)
    {
        if (_tables.Buckets == 0)
        {
            return None;
        }

        int index = _heads[RegistryTables.BucketOf(block, _tables.Buckets)] - 1;
        while (index != None && _entries[index].Block != block)
        {
            index = _entries[index].Next;
        }

        return index;
    }

    /// <inheritdoc cref="RegistryTables.Sequence"/>
    public uint Sequence => _tables.Sequence;

    /// <inheritdoc cref="RegistryTables.Peek"/>
    public int Peek(ulong block) => _tables.Peek(block);

    /// <inheritdoc cref="RegistryTables.Prefetch"/>
    public void Prefetch(ulong block) => _tables.Prefetch(block);

    /// <summary>As <see cref="Find"/>, of the block behind one whose entry is known, or <see cref="None"/>: blocks that came together have entries in a row, as a rule.</summary>
    public int FindNext(int previous, ulong block) =>
        previous != None && previous + 1 < _used && _entries[previous + 1].Block == block && _entries[previous + 1].Template != 0 ? previous + 1 : Find(block);

    /// <inheritdoc cref="RegistryTables.TryRead"/>
    public bool TryRead(ulong block, out bool found, out RegistryEntry entry, out WriteState state) => _tables.TryRead(block, out found, out entry, out state);

    /// <summary>Enters a block: one that lies on the disk as it will be in core, or (<paramref name="isFresh"/>) one that was never written.</summary>
    public int Add(ulong block, Template template, bool isFresh)
    {
        Invariant.Check(Find(block) == None);
        int index = _free;
        if (index != None)
        {
            _free = _entries[index].Next;
        }
        else
        {
            index = _used++;
            _entries.Reserve(_used);
        }

        Count++;
        UsesOf(checked((ushort)template.Id.Value)).InCore++;
        Grow();
        ref int head = ref _heads[RegistryTables.BucketOf(block, _tables.Buckets)];
        _entries[index] = new RegistryEntry
        {
            Block = block,
            Template = checked((ushort)template.Id.Value),
            Version = NextVersion(),
            WriteState = None,
            Next = head - 1,
        };
        head = index + 1;
        if (isFresh)
        {
            StateOf(index) = new WriteState { DirtyNext = None, DirtyPrevious = None, KidFirst = None, KidNext = None, KidPrevious = None, DirtySectors = 0xFF };
        }

        return index;
    }

    public void Remove(int index)
    {
        ref RegistryEntry entry = ref _entries[index];
        Invariant.Check(!entry.Has(EntryFlags.Dirty));
        if (entry.WriteState != None)
        {
            ref WriteState state = ref _states[entry.WriteState];
            Invariant.Check(state.KidFirst == None && state.KidNext == None && state.KidPrevious == None);
            FreeState(ref entry);
        }

        ref int head = ref _heads[RegistryTables.BucketOf(entry.Block, _tables.Buckets)];
        if (head == index + 1)
        {
            head = entry.Next + 1;
        }
        else
        {
            int before = head - 1;
            while (_entries[before].Next != index)
            {
                before = _entries[before].Next;
            }

            _entries[before].Next = entry.Next;
        }

        Count--;
        UsesOf(entry.Template).InCore--;
        entry = default;
        entry.Next = _free;
        entry.WriteState = None;
        _free = index;
    }

    /// <summary>The write state of an entry; made when there is none.</summary>
    public ref WriteState StateOf(int index)
    {
        ref RegistryEntry entry = ref _entries[index];
        if (entry.WriteState != None)
        {
            return ref _states[entry.WriteState];
        }

        int at = _stateFree;
        if (at != None)
        {
            _stateFree = _states[at].Free;
        }
        else
        {
            at = _statesUsed++;
            _states.Reserve(_statesUsed);
        }

        WriteStates++;
        entry.WriteState = at;
        ref WriteState state = ref _states[at];
        state = new WriteState
        {
            Submitted = entry.Version,
            Written = entry.Version,
            Durable = entry.Version,
            DirtyNext = None,
            DirtyPrevious = None,
            KidFirst = None,
            KidNext = None,
            KidPrevious = None,
        };
        return ref state;
    }

    public ulong Submitted(int index) => _entries[index].WriteState == None ? _entries[index].Version : _states[_entries[index].WriteState].Submitted;

    public ulong Durable(int index) => _entries[index].WriteState == None ? _entries[index].Version : _states[_entries[index].WriteState].Durable;

    public int Pending(int index) => _entries[index].WriteState == None ? 0 : _states[_entries[index].WriteState].Pending;

    public int KidFirst(int index) => _entries[index].WriteState == None ? None : _states[_entries[index].WriteState].KidFirst;

    public int KidNext(int index) => _entries[index].WriteState == None ? None : _states[_entries[index].WriteState].KidNext;

    public int DirtyNext(int index) => _states[_entries[index].WriteState].DirtyNext;

    /// <summary>The sectors of 512 bytes, a bit each, that a range of a block's bytes touches.</summary>
    public static byte SectorsOf(int offsetBytes, int lengthBytes) =>
        lengthBytes == 0 ? (byte)0 : (byte)((0xFF << (offsetBytes / 512)) & (0xFF >> (7 - ((offsetBytes + lengthBytes - 1) / 512))));

    /// <summary>The block has a new version, which is not on the disk. <paramref name="sectors"/> of it have changed.</summary>
    public void Change(int index, byte sectors = 0xFF)
    {
        StateOf(index).DirtySectors |= sectors;
        _entries[index].Version = NextVersion();
        SetDirty(index);
    }

    /// <summary>Gives up the write state of a block that has arrived: its present version is durable, and nothing waits for anything.</summary>
    public void Settle(int index)
    {
        const EntryFlags Moving =
            EntryFlags.Dirty | EntryFlags.Writing | EntryFlags.Unflushed | EntryFlags.Uninitialised | EntryFlags.Volatile | EntryFlags.Dropped;
        ref RegistryEntry entry = ref _entries[index];
        if (entry.WriteState == None || entry.Has(Moving))
        {
            return;
        }

        ref WriteState state = ref _states[entry.WriteState];
        if (state.Durable == entry.Version && state is { Pending: 0, KidFirst: None, KidNext: None, KidPrevious: None })
        {
            FreeState(ref entry);
        }
    }

    public void SetDirty(int index)
    {
        ref RegistryEntry entry = ref _entries[index];
        if (entry.Has(EntryFlags.Dirty))
        {
            return;
        }

        entry.Flags |= EntryFlags.Dirty;
        ref WriteState state = ref StateOf(index);
        state.DirtyPrevious = None;
        state.DirtyNext = DirtyFirst;
        if (DirtyFirst != None)
        {
            StateOf(DirtyFirst).DirtyPrevious = index;
        }

        DirtyFirst = index;
        DirtyCount++;
        UsesOf(entry.Template).Dirty++;
    }

    public void ClearDirty(int index)
    {
        ref RegistryEntry entry = ref _entries[index];
        if (!entry.Has(EntryFlags.Dirty))
        {
            return;
        }

        entry.Flags &= ~EntryFlags.Dirty;
        ref WriteState state = ref StateOf(index);
        if (state.DirtyPrevious != None)
        {
            StateOf(state.DirtyPrevious).DirtyNext = state.DirtyNext;
        }
        else
        {
            DirtyFirst = state.DirtyNext;
        }

        if (state.DirtyNext != None)
        {
            StateOf(state.DirtyNext).DirtyPrevious = state.DirtyPrevious;
        }

        state.DirtyNext = None;
        state.DirtyPrevious = None;
        DirtyCount--;
        UsesOf(entry.Template).Dirty--;
    }

    /// <summary>Puts a volatile metadata block on its parent's list.</summary>
    public void LinkKid(int parent, int kid)
    {
        ref WriteState above = ref StateOf(parent);
        ref WriteState state = ref StateOf(kid);
        Invariant.Check(state.KidNext == None && state.KidPrevious == None);
        int first = above.KidFirst;
        state.KidNext = first;
        state.KidPrevious = -2 - parent;
        if (first != None)
        {
            StateOf(first).KidPrevious = kid;
        }

        above.KidFirst = kid;
    }

    public void UnlinkKid(int kid)
    {
        if (_entries[kid].WriteState == None)
        {
            return;
        }

        ref WriteState state = ref StateOf(kid);
        if (state.KidPrevious == None)
        {
            return;
        }

        if (state.KidPrevious <= -2)
        {
            StateOf(-2 - state.KidPrevious).KidFirst = state.KidNext;
        }
        else
        {
            StateOf(state.KidPrevious).KidNext = state.KidNext;
        }

        if (state.KidNext != None)
        {
            StateOf(state.KidNext).KidPrevious = state.KidPrevious;
        }

        state.KidNext = None;
        state.KidPrevious = None;
    }

    /// <summary>Every entry's index, for enumeration.</summary>
    public IEnumerable<int> Indices()
    {
        for (int i = 0; i < _used; i++)
        {
            if (_entries[i].Template != 0)
            {
                yield return i;
            }
        }
    }

    /// <summary>The templates of blocks in core, with how many of each there are and how many of those are dirty.</summary>
    public IEnumerable<TemplateUse> Uses()
    {
        for (int template = 0; template < _uses.Length; template++)
        {
            (int inCore, int dirty) = _uses[template];
            if (inCore > 0)
            {
                TemplateId id = new((uint)template);
                yield return new TemplateUse(id, _templates.Find(id)!.Source.Name, inCore, dirty);
            }
        }
    }

    private ref (int InCore, int Dirty) UsesOf(ushort template)
    {
        if (template >= _uses.Length)
        {
            Array.Resize(ref _uses, Math.Max(template + 1, _uses.Length * 2));
        }

        return ref _uses[template];
    }

    private void FreeState(ref RegistryEntry entry)
    {
        _states[entry.WriteState].Free = _stateFree;
        _stateFree = entry.WriteState;
        entry.WriteState = None;
        WriteStates--;
    }

    /// <summary>One bucket at least for each entry: where one is missing, one is split.</summary>
    private void Grow()
    {
        if (_tables.Buckets == 0)
        {
            _heads.Reserve(BucketsMin);
            _tables.Buckets = BucketsMin;
        }

        if (Count <= _tables.Buckets)
        {
            return;
        }

        int old = _tables.Buckets - (1 << BitOperations.Log2((uint)_tables.Buckets));
        int added = _tables.Buckets;
        _heads.Reserve(added + 1);
        _tables.Buckets++;
        int index = _heads[old] - 1;
        _heads[old] = 0;
        while (index != None)
        {
            ref RegistryEntry entry = ref _entries[index];
            int next = entry.Next;
            ref int head = ref _heads[RegistryTables.BucketOf(entry.Block, _tables.Buckets)];
            Invariant.Check(RegistryTables.BucketOf(entry.Block, _tables.Buckets) == old || RegistryTables.BucketOf(entry.Block, _tables.Buckets) == added);
            entry.Next = head - 1;
            head = index + 1;
            index = next;
        }
    }
}
