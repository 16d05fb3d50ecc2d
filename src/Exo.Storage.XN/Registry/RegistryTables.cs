// SPDX-License-Identifier: MIT
using System.Numerics;

namespace Exo.Storage.XN;

/// <summary>What a registry consists of in memory, and how it is read without a lock, in the process that writes it and in others.</summary>
internal sealed unsafe class RegistryTables(TableMemory memory)
{
    public const int None = -1;

    private readonly RegistryHeader* _header = memory.Header;

    public NativeTable<RegistryEntry> Entries { get; } = new(memory, RegistryTable.Entries);

    public NativeTable<WriteState> States { get; } = new(memory, RegistryTable.States);

    public NativeTable<int> Heads { get; } = new(memory, RegistryTable.Heads);

    public int Buckets
    {
        get => _header->Buckets;
        set => _header->Buckets = value;
    }

    /// <summary>Keeps the memory, and with it what the tables refer to.</summary>
    public TableMemory Memory => memory;

    /// <summary>While it is even and stays the same, nothing in the tables changes.</summary>
    public uint Sequence => Volatile.Read(ref _header->Sequence);

    /// <summary>From here on readers without the lock know that what they see may be half changed.</summary>
    public void BeginChange()
    {
        Invariant.Check((_header->Sequence & 1) == 0);
        Volatile.Write(ref _header->Sequence, _header->Sequence + 1);
        Volatile.WriteBarrier();
    }

    public void EndChange()
    {
        Volatile.WriteBarrier();
        Volatile.Write(ref _header->Sequence, _header->Sequence + 1);
    }

    /// <summary>
    /// Copies a block's entry without the lock. False when a change was under way: try again. A torn chain may lead anywhere within the tables, and around in circles: the steps are
    /// counted, indices are checked, and nothing that was seen is believed before the sequence count has been read again.
    /// </summary>
    public bool TryRead(ulong block, out bool found, out RegistryEntry entry, out WriteState state)
    {
        const int StepsMax = 4096;
        uint before = Volatile.Read(ref _header->Sequence);
        found = false;
        entry = default;
        state = default;
        if ((before & 1) != 0)
        {
            return false;
        }

        int buckets = Buckets;
        int bucket = buckets > 0 ? BucketOf(block, buckets) : 0;
        int index = buckets > 0 && bucket < Heads.Capacity ? Heads[bucket] - 1 : None;
        for (int step = 0; (uint)index < (uint)Entries.Capacity; step++)
        {
            if (step == StepsMax)
            {
                return false;
            }

            entry = Entries[index];
            if (entry.Block == block && entry.Template != 0)
            {
                found = true;
                break;
            }

            index = entry.Next;
        }

        if (found && entry.WriteState != None)
        {
            state = (uint)entry.WriteState < (uint)States.Capacity ? States[entry.WriteState] : default;
        }
        else
        {
            state.Durable = entry.Version;
        }

        Volatile.ReadBarrier();
        return Volatile.Read(ref _header->Sequence) == before;
    }

    /// <summary>
    /// Where a block's entry is, without the lock, or <see cref="None"/>. It and what the entry says are to be believed when <see cref="Sequence"/> was even before and is the same after all of it has been read.
    /// A chain that is changed meanwhile may lead anywhere within the tables: what takes long is given up.
    /// </summary>
    public int Peek(ulong block)
    {
        const int StepsMax = 16;
        int buckets = Buckets;
        int bucket = buckets > 0 ? BucketOf(block, buckets) : 0;
        int index = buckets > 0 && bucket < Heads.Capacity ? Heads[bucket] - 1 : None;
        for (int step = 0; step < StepsMax && (uint)index < (uint)Entries.Capacity; step++)
        {
            ref readonly RegistryEntry entry = ref Entries[index];
            if (entry.Block == block && entry.Template != 0)
            {
                return index;
            }

            index = entry.Next;
        }

        return None;
    }

    /// <summary>Asks the processor for the index's line in which a block's bucket is, and those of its neighbours. Without the lock.</summary>
    public void Prefetch(ulong block)
    {
        int buckets = Buckets;
        int bucket = buckets > 0 ? BucketOf(block, buckets) : 0;
        if (bucket < Heads.Capacity)
        {
            Exo.Core.Memory.Prefetch.Line(in Heads[bucket]);
        }
    }

    /// <summary>Where another process writes the registry: sees how far its tables have grown. Not to be called by two threads at once.</summary>
    public void Refresh()
    {
        Heads.Refresh();
        Entries.Refresh();
        States.Refresh();
    }

    public static int BucketOf(ulong block, int buckets)
    {
        // Linear hashing (Litwin, 1980): buckets below the split point are addressed with one bit more. Sixteen neighbours have neighbouring buckets, which are one cache line.
        const int RunBits = 4;
        uint hash = ((uint)(((block >> RunBits) * 0x9E3779B97F4A7C15UL) >> 32) << RunBits) | ((uint)block & ((1 << RunBits) - 1));
        uint level = (uint)1 << BitOperations.Log2((uint)buckets);
        uint bucket = hash & (level - 1);
        return (int)(bucket < (uint)buckets - level ? hash & ((level * 2) - 1) : bucket);
    }
}
