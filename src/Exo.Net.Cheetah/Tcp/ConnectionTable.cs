// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>The four names of a connection, as this side sees them.</summary>
internal readonly record struct ConnectionKey(InternetAddress Local, ushort LocalPort, InternetAddress Remote, ushort RemotePort);

/// <summary>Finds the connection of a segment. Chained through the connections; the hash is keyed, so that nobody can choose names that collide.</summary>
internal sealed class ConnectionTable(ulong key0, ulong key1)
{
    private TcpConnection?[] buckets = new TcpConnection?[64];

    public int Count { get; private set; }

    public TcpConnection? Find(in ConnectionKey key)
    {
        TcpConnection? connection = buckets[Hash(key) & (uint)(buckets.Length - 1)];
        while (connection is not null && connection.Key != key)
        {
            connection = connection.NextInTable;
        }

        return connection;
    }

    public void Add(TcpConnection connection)
    {
        if (Count == buckets.Length)
        {
            TcpConnection?[] old = buckets;
            buckets = new TcpConnection?[old.Length * 2];
            foreach (TcpConnection? head in old)
            {
                for (TcpConnection? moved = head; moved is not null;)
                {
                    TcpConnection? next = moved.NextInTable;
                    Link(moved);
                    moved = next;
                }
            }
        }

        Link(connection);
        Count++;
    }

    public void Remove(TcpConnection connection)
    {
        ref TcpConnection? link = ref buckets[Hash(connection.Key) & (uint)(buckets.Length - 1)];
        while (link != connection)
        {
            Invariant.Check(link is not null);
            link = ref link.NextInTable;
        }

        link = connection.NextInTable;
        connection.NextInTable = null;
        Count--;
    }

    /// <summary>All of them, for an end of the whole stack.</summary>
    public List<TcpConnection> ToList()
    {
        var all = new List<TcpConnection>(Count);
        foreach (TcpConnection? head in buckets)
        {
            for (TcpConnection? connection = head; connection is not null; connection = connection.NextInTable)
            {
                all.Add(connection);
            }
        }

        return all;
    }

    /// <summary>A keyed hash of the names.</summary>
    public uint Hash(in ConnectionKey key)
    {
        ulong ports = ((ulong)key.LocalPort << 16) | key.RemotePort;
        ulong hash = Mix(key.Remote.Low ^ key0, key.Local.Low ^ key1);
        hash = Mix(hash ^ ports ^ key1, key.Remote.High ^ key0) ^ Mix(hash ^ key.Local.High, key0 | 1);
        return (uint)(hash ^ (hash >> 32));
    }

    private static ulong Mix(ulong a, ulong b)
    {
        ulong high = Math.BigMul(a, b, out ulong low);
        return high ^ low;
    }

    private void Link(TcpConnection connection)
    {
        ref TcpConnection? bucket = ref buckets[Hash(connection.Key) & (uint)(buckets.Length - 1)];
        connection.NextInTable = bucket;
        bucket = connection;
    }
}
