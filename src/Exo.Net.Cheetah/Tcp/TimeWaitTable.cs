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
}

/// <summary>
/// Connections in TIME-WAIT, about 100 bytes each. All wait equally long, so that the order of entry is the order of expiry; when the
/// table is full the oldest makes room.
/// <code>
///   buckets  hash -> index          entries  what is known of a connection
///   links    hash, next in the bucket, older, younger, in 16 bytes: looking for what is not there, and taking out, touch no entry
/// </code>
/// </summary>
internal sealed class TimeWaitTable(int countMax, ConnectionTable hashing)
{
    private TimeWaitEntry[] entries = new TimeWaitEntry[Math.Min(16, countMax)];
    private Link[] links = new Link[Math.Min(16, countMax)];
    private int[] buckets = NewBuckets(16);
    private int used;
    private int free = -1;
    private int oldest = -1;
    private int youngest = -1;

    private struct Link
    {
        public uint Hash;
        public int Next;
        public int Older;
        public int Younger;
    }

    public int Count { get; private set; }

    /// <summary>When the next entry goes; long.MaxValue = there is none.</summary>
    public long NextEndUs => oldest < 0 ? long.MaxValue : entries[oldest].EndsUs;

    /// <summary>Index of an entry, or -1.</summary>
    public int Find(in ConnectionKey key)
    {
        uint hash = hashing.Hash(key);
        int index = Bucket(hash);
        while (index >= 0 && (links[index].Hash != hash || entries[index].Key != key))
        {
            index = links[index].Next;
        }

        return index;
    }

    /// <summary>Adds the local ports of all entries.</summary>
    public void AddLocalPorts(HashSet<ushort> ports)
    {
        for (int i = oldest; i >= 0; i = links[i].Younger)
        {
            ports.Add(entries[i].Key.LocalPort);
        }
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
            free = links[index].Next;
        }
        else
        {
            if (used == entries.Length)
            {
                int larger = Math.Min(countMax, used * 2);
                Array.Resize(ref entries, larger);
                Array.Resize(ref links, larger);
            }

            index = used++;
        }

        if (Count >= buckets.Length)
        {
            buckets = NewBuckets(buckets.Length * 2);
            for (int i = oldest; i >= 0; i = links[i].Younger)
            {
                Enter(i);
            }
        }

        entries[index] = entry;
        links[index].Hash = hashing.Hash(entry.Key);
        Enter(index);
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
        ref int link = ref Bucket(links[index].Hash);
        while (link != index)
        {
            Invariant.Check(link >= 0);
            link = ref links[link].Next;
        }

        link = links[index].Next;
        Unlink(index);
        links[index].Next = free;
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

    private ref int Bucket(uint hash) => ref buckets[hash & (uint)(buckets.Length - 1)];

    private void Enter(int index)
    {
        ref int bucket = ref Bucket(links[index].Hash);
        links[index].Next = bucket;
        bucket = index;
    }

    private void Append(int index)
    {
        links[index].Older = youngest;
        links[index].Younger = -1;
        if (youngest >= 0)
        {
            links[youngest].Younger = index;
        }
        else
        {
            oldest = index;
        }

        youngest = index;
    }

    private void Unlink(int index)
    {
        (int older, int younger) = (links[index].Older, links[index].Younger);
        if (older >= 0)
        {
            links[older].Younger = younger;
        }
        else
        {
            oldest = younger;
        }

        if (younger >= 0)
        {
            links[younger].Older = older;
        }
        else
        {
            youngest = older;
        }
    }
}
