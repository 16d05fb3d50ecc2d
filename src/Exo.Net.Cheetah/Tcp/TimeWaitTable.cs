// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Tcp;

/// <summary>What TIME-WAIT must know of a connection that has gone (RFC 9293 section 3.6.1, RFC 6191).</summary>
internal struct TimeWaitEntry
{
    public ConnectionKey Key;
    public uint SendNext;
    public uint ReceiveNext;
    public uint RecentTimestamp;
    public uint TimestampOffset;
    public long EndsUs;
    public bool HasTimestamps;

    // Links of the table: next in the bucket, and the order of expiry.
    internal int Next;
    internal int Older;
    internal int Younger;
}

/// <summary>
/// Connections in TIME-WAIT, about 100 bytes each. All wait equally long, so that the order of entry is the order of expiry; when the
/// table is full the oldest makes room.
/// </summary>
internal sealed class TimeWaitTable(int countMax, ConnectionTable hashing)
{
    private TimeWaitEntry[] entries = new TimeWaitEntry[Math.Min(16, countMax)];
    private int[] buckets = NewBuckets(16);
    private int used;
    private int free = -1;
    private int oldest = -1;
    private int youngest = -1;

    public int Count { get; private set; }

    /// <summary>When the next entry goes; long.MaxValue = there is none.</summary>
    public long NextEndUs => oldest < 0 ? long.MaxValue : entries[oldest].EndsUs;

    /// <summary>Index of an entry, or -1.</summary>
    public int Find(in ConnectionKey key)
    {
        int index = buckets[hashing.Hash(key) & (uint)(buckets.Length - 1)];
        while (index >= 0 && entries[index].Key != key)
        {
            index = entries[index].Next;
        }

        return index;
    }

    public ref TimeWaitEntry At(int index) => ref entries[index];

    public void Add(in TimeWaitEntry entry)
    {
        if (Count == countMax)
        {
            Remove(oldest);
        }

        int index = free;
        if (index >= 0)
        {
            free = entries[index].Next;
        }
        else
        {
            if (used == entries.Length)
            {
                Array.Resize(ref entries, Math.Min(countMax, used * 2));
            }

            index = used++;
        }

        if (Count >= buckets.Length)
        {
            buckets = NewBuckets(buckets.Length * 2);
            for (int i = oldest; i >= 0; i = entries[i].Younger)
            {
                Link(i);
            }
        }

        entries[index] = entry;
        Link(index);
        Append(index);
        Count++;
    }

    /// <summary>The wait begins anew: the peer has sent its FIN again.</summary>
    public void Restart(int index, long endsUs)
    {
        Unlink(index);
        entries[index].EndsUs = endsUs;
        Append(index);
    }

    public void Remove(int index)
    {
        ref int link = ref buckets[hashing.Hash(entries[index].Key) & (uint)(buckets.Length - 1)];
        while (link != index)
        {
            Invariant.Check(link >= 0);
            link = ref entries[link].Next;
        }

        link = entries[index].Next;
        Unlink(index);
        entries[index].Next = free;
        free = index;
        Count--;
    }

    public void Expire(long nowUs)
    {
        while (oldest >= 0 && entries[oldest].EndsUs <= nowUs)
        {
            Remove(oldest);
        }
    }

    private static int[] NewBuckets(int count)
    {
        int[] buckets = new int[count];
        Array.Fill(buckets, -1);
        return buckets;
    }

    private void Link(int index)
    {
        ref int bucket = ref buckets[hashing.Hash(entries[index].Key) & (uint)(buckets.Length - 1)];
        entries[index].Next = bucket;
        bucket = index;
    }

    private void Append(int index)
    {
        entries[index].Older = youngest;
        entries[index].Younger = -1;
        if (youngest >= 0)
        {
            entries[youngest].Younger = index;
        }
        else
        {
            oldest = index;
        }

        youngest = index;
    }

    private void Unlink(int index)
    {
        (int older, int younger) = (entries[index].Older, entries[index].Younger);
        if (older >= 0)
        {
            entries[older].Younger = younger;
        }
        else
        {
            oldest = younger;
        }

        if (younger >= 0)
        {
            entries[younger].Older = older;
        }
        else
        {
            youngest = older;
        }
    }
}
