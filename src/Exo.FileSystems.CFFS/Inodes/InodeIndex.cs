// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Inodes;

/// <summary>
/// Inodes by number: chains through the inodes themselves. Changed by one thread at a time; searched by any, without a lock.
/// <para>An inode that is taken out still leads to those behind it, so whoever stands on it goes on. When the chains are made anew, for more inodes, it may lead past what is searched for: what is not found
/// meanwhile is searched for again.</para>
/// </summary>
internal sealed class InodeIndex
{
    private const int ChainsMin = 256;

    private Inode?[] _chains = new Inode?[ChainsMin];
    private uint _growth;

    public int Count { get; private set; }

    /// <summary>The inode that was there at one moment of the call.</summary>
    public Inode? Find(ulong number)
    {
        SpinWait wait = default;
        while (true)
        {
            uint growth = Volatile.Read(ref _growth);
            Inode?[] chains = Volatile.Read(ref _chains);
            for (Inode? inode = Volatile.Read(ref chains[PlaceOf(number, chains)]); inode is not null; inode = Volatile.Read(ref inode.Next))
            {
                if (inode.Number == number)
                {
                    return inode;
                }
            }

            if ((growth & 1) == 0 && Volatile.Read(ref _growth) == growth)
            {
                return null;
            }

            wait.SpinOnce();
        }
    }

    /// <summary>Adds an inode whose number none has.</summary>
    public void Add(Inode inode)
    {
        // Most chains are empty: that an inode is not there, which is the usual answer, is known without looking at another one.
        if (Count >= _chains.Length / 2)
        {
            Grow();
        }

        Count++;
        Prepend(_chains, inode);
    }

    public void Remove(Inode inode)
    {
        ref Inode? link = ref _chains[PlaceOf(inode.Number, _chains)];
        while (link != inode)
        {
            link = ref link!.Next;
        }

        Volatile.Write(ref link, inode.Next);
        Count--;
    }

    public void Clear()
    {
        Volatile.Write(ref _chains, new Inode?[ChainsMin]);
        Count = 0;
    }

    /// <summary>All of them, as they are now.</summary>
    public List<Inode> ToList()
    {
        List<Inode> inodes = new(Count);
        foreach (Inode? first in _chains)
        {
            for (Inode? inode = first; inode is not null; inode = inode.Next)
            {
                inodes.Add(inode);
            }
        }

        return inodes;
    }

    private void Grow()
    {
        // By four: each time all inodes are looked at.
        Inode?[] chains = new Inode?[_chains.Length * 4];
        _ = Interlocked.Increment(ref _growth);
        foreach (Inode? first in _chains)
        {
            for (Inode? inode = first, next; inode is not null; inode = next)
            {
                next = inode.Next;
                Prepend(chains, inode);
            }
        }

        Volatile.Write(ref _chains, chains);
        _ = Interlocked.Increment(ref _growth);
    }

    private static void Prepend(Inode?[] chains, Inode inode)
    {
        ref Inode? first = ref chains[PlaceOf(inode.Number, chains)];
        Volatile.Write(ref inode.Next, first);
        Volatile.Write(ref first, inode);
    }

    // Numbers are given out in order; snapshots' differ in the upper half.
    private static int PlaceOf(ulong number, Inode?[] chains) => (int)((uint)number ^ (uint)(number >> 32)) & (chains.Length - 1);
}
