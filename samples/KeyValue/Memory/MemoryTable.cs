// SPDX-License-Identifier: MIT
namespace KeyValue.Memory;

/// <summary>
/// What is in the log, sorted: a skip list (Pugh, 1990). One thread writes, any number read without a lock: a node is complete before a link leads to it, and neither nodes nor versions ever change or go.
/// Every value has the number of the commit it came with; a reader looks at the newest that is not above the number he began with, and so sees one moment.
/// </summary>
internal sealed class MemoryTable
{
    private const int LevelsMax = 16;
    private readonly Node _head = new([], LevelsMax);
    private readonly Node[] _path = new Node[LevelsMax];
    private uint _random = 0x9E3779B9;

    /// <summary>A value, or that there is none (null), since a commit.</summary>
    internal sealed record Version(byte[]? Value, ulong Commit, Version? Older);

    internal sealed class Node(byte[] key, int levels)
    {
        private readonly Node?[] _next = new Node?[levels];
        private Version? _newest;

        public byte[] Key => key;

        public int Levels => _next.Length;

        public Node? Next(int level) => Volatile.Read(ref _next[level]);

        public void Link(int level, Node? node) => Volatile.Write(ref _next[level], node);

        public void Add(byte[]? value, ulong commit) => Volatile.Write(ref _newest, new Version(value, commit, _newest));

        /// <summary>The newest version of this commit or before, if there is one.</summary>
        public Version? AsOf(ulong commit)
        {
            Version? version = Volatile.Read(ref _newest);
            while (version is not null && version.Commit > commit)
            {
                version = version.Older;
            }

            return version;
        }
    }

    /// <summary>Bytes of keys and values, those that have been replaced included.</summary>
    public long SizeBytes { get; private set; }

    public Node? First => _head.Next(0);

    /// <summary>The node with the first key that is not below this one.</summary>
    public Node? LowerBound(ReadOnlySpan<byte> key)
    {
        Node before = _head;
        for (int level = LevelsMax - 1; level >= 0; level--)
        {
            for (Node? next = before.Next(level); next is not null && next.Key.AsSpan().SequenceCompareTo(key) < 0; next = before.Next(level))
            {
                before = next;
            }
        }

        return before.Next(0);
    }

    /// <summary>Only by the writer.</summary>
    public void Put(ReadOnlySpan<byte> key, byte[]? value, ulong commit)
    {
        SizeBytes += key.Length + (value?.Length ?? 0);
        Node before = _head;
        for (int level = LevelsMax - 1; level >= 0; level--)
        {
            for (Node? next = before.Next(level); next is not null && next.Key.AsSpan().SequenceCompareTo(key) < 0; next = before.Next(level))
            {
                before = next;
            }

            _path[level] = before;
        }

        if (before.Next(0) is { } found && found.Key.AsSpan().SequenceEqual(key))
        {
            found.Add(value, commit);
            return;
        }

        Node node = new(key.ToArray(), RandomLevels());
        node.Add(value, commit);
        for (int level = 0; level < node.Levels; level++)
        {
            node.Link(level, _path[level].Next(level));
            _path[level].Link(level, node);
        }
    }

    // Each level has a quarter of the nodes of the one below. The chance is the same in every run (Marsaglia, 2003).
    private int RandomLevels()
    {
        _random ^= _random << 13;
        _random ^= _random >> 17;
        _random ^= _random << 5;
        return Math.Min(LevelsMax, 1 + (System.Numerics.BitOperations.TrailingZeroCount(_random | 0x80000000) / 2));
    }
}
