// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;
using System.Numerics;
using Exo.Core.Environments;

namespace Exo.Core.PacketFilters;

/// <summary>
/// From a field's value to the node behind it: an immutable hash trie, so that a change copies a path of at most eleven nodes of at
/// most 64 entries and readers keep the version that they began with. The hash is a bijection of the 64-bit value: different values differ in
/// some of its eleven digits, and nobody can make a table degenerate by choosing values.
/// <code>
///   hash:  | digit 0 (6 bits) | digit 1 | ... | digit 10 (4 bits) |      a digit's bit is set in Leaves: a value and its node
///                                                                         or in Forks: a table for the next digit, or in neither
/// </code>
/// </summary>
internal sealed class FilterTable
{
    private readonly ulong _leaves;
    private readonly ulong _forks;
    private readonly (ulong Value, FilterNode Node)[] _nodes;
    private readonly FilterTable[] _tables;

    private FilterTable(ulong leaves, (ulong Value, FilterNode Node)[] nodes, ulong forks, FilterTable[] tables)
    {
        _leaves = leaves;
        _nodes = nodes;
        _forks = forks;
        _tables = tables;
        KnownOnes = KnownZeros = ulong.MaxValue;
        OwnerSummary owner = default;
        foreach ((ulong value, FilterNode node) in nodes)
        {
            owner.Add(node.SoleOwner);
            RankMax = Math.Max(RankMax, node.RankMax);
            KnownOnes &= value;
            KnownZeros &= ~value;
        }

        foreach (FilterTable table in tables)
        {
            owner.Add(table.SoleOwner);
            RankMax = Math.Max(RankMax, table.RankMax);
            KnownOnes &= table.KnownOnes;
            KnownZeros &= table.KnownZeros;
        }

        SoleOwner = owner.Sole;
    }

    /// <summary>The greatest rank of a filter behind any value.</summary>
    public ulong RankMax { get; }

    /// <summary>The owner of every filter behind it; null when there are several.</summary>
    public ExoEnvironment? SoleOwner { get; }

    /// <summary>Bits that are 1 in every value; and those that are 0.</summary>
    private ulong KnownOnes { get; }

    private ulong KnownZeros { get; }

    public static FilterTable Of(ulong value, FilterNode node) => new(Bit(Hash(value)), [(value, node)], 0, []);

    /// <summary>The node behind a value, or null. Allocates nothing.</summary>
    public FilterNode? Find(ulong value)
    {
        FilterTable table = this;
        for (ulong hash = Hash(value); ; hash <<= 6)
        {
            ulong bit = Bit(hash);
            if ((table._leaves & bit) != 0)
            {
                ref readonly (ulong Value, FilterNode Node) leaf = ref table._nodes[Index(table._leaves, bit)];
                return leaf.Value == value ? leaf.Node : null;
            }

            if ((table._forks & bit) == 0)
            {
                return null;
            }

            table = table._tables[Index(table._forks, bit)];
        }
    }

    /// <summary>The value and its node when there is just one.</summary>
    public bool TryGetSole(out ulong value, [NotNullWhen(true)] out FilterNode? node)
    {
        bool isSole = _nodes.Length == 1 && _tables.Length == 0;
        (value, node) = isSole ? _nodes[0] : default;
        return isSole;
    }

    /// <summary>This table with another node behind a value, or with none.</summary>
    /// <returns>Null when nothing is left.</returns>
    public FilterTable? With(ulong value, FilterNode? node) => With(value, node, Hash(value), 0);

    /// <summary>Values in ascending order, for renderings and programs.</summary>
    public List<(ulong Value, FilterNode Node)> ToSortedList()
    {
        List<(ulong Value, FilterNode Node)> all = [];
        Collect(all, 0, 0);
        all.Sort(static (a, b) => a.Value.CompareTo(b.Value));
        return all;
    }

    /// <summary>
    /// Adds the nodes whose values agree with a partly known one. Tables that cannot hold any, and those that the caller does not want, are passed by.
    /// </summary>
    public void Collect(List<(ulong Value, FilterNode Node)> into, ulong knownMask, ulong known, Func<ExoEnvironment?, bool>? isWanted = null)
    {
        if ((KnownOnes & knownMask & ~known) != 0 || (KnownZeros & known) != 0 || isWanted?.Invoke(SoleOwner) == false)
        {
            return;
        }

        foreach ((ulong value, FilterNode node) in _nodes)
        {
            if (((value ^ known) & knownMask) == 0)
            {
                into.Add((value, node));
            }
        }

        foreach (FilterTable table in _tables)
        {
            table.Collect(into, knownMask, known, isWanted);
        }
    }

    private FilterTable? With(ulong value, FilterNode? node, ulong hash, int depth)
    {
        Invariant.Check(depth < 11);
        ulong bit = Bit(hash);
        int leaf = Index(_leaves, bit);
        int fork = Index(_forks, bit);
        if ((_forks & bit) != 0)
        {
            FilterTable below = _tables[fork].With(value, node, hash << 6, depth + 1)!;
            Invariant.Check(below is not null);

            // One value alone needs no table of its own: the shape depends on what is in it and not on its history.
            return below._tables.Length == 0 && below._nodes.Length == 1
                ? new FilterTable(_leaves | bit, Inserted(_nodes, leaf, below._nodes[0]), _forks & ~bit, Removed(_tables, fork))
                : new FilterTable(_leaves, _nodes, _forks, Replaced(_tables, fork, below));
        }

        if ((_leaves & bit) == 0)
        {
            return node is null ? this : new FilterTable(_leaves | bit, Inserted(_nodes, leaf, (value, node)), _forks, _tables);
        }

        if (_nodes[leaf].Value != value)
        {
            if (node is null)
            {
                return this;
            }

            (ulong Value, FilterNode Node) other = _nodes[leaf];
            ulong otherHash = Hash(other.Value) << (6 * (depth + 1));
            FilterTable pair = new FilterTable(Bit(otherHash), [other], 0, []).With(value, node, hash << 6, depth + 1)!;
            return new FilterTable(_leaves & ~bit, Removed(_nodes, leaf), _forks | bit, Inserted(_tables, fork, pair));
        }

        return node is not null ? new FilterTable(_leaves, Replaced(_nodes, leaf, (value, node)), _forks, _tables)
            : _nodes.Length == 1 && _tables.Length == 0 ? null
            : new FilterTable(_leaves & ~bit, Removed(_nodes, leaf), _forks, _tables);
    }

    private static ulong Bit(ulong hash) => 1UL << (int)(hash >> 58);

    private static int Index(ulong map, ulong bit) => BitOperations.PopCount(map & (bit - 1));

    // The finalizer of MurmurHash3: multiplications by odd numbers and shifted exclusive ors can each be undone.
    private static ulong Hash(ulong value)
    {
        value ^= value >> 33;
        value *= 0xff51afd7ed558ccd;
        value ^= value >> 33;
        value *= 0xc4ceb9fe1a85ec53;
        return value ^ (value >> 33);
    }

    private static T[] Inserted<T>(T[] all, int index, T item) => [.. all.AsSpan(0, index), item, .. all.AsSpan(index)];

    private static T[] Removed<T>(T[] all, int index) => [.. all.AsSpan(0, index), .. all.AsSpan(index + 1)];

    private static T[] Replaced<T>(T[] all, int index, T item)
    {
        T[] copy = [.. all];
        copy[index] = item;
        return copy;
    }
}

/// <summary>Whether many filters have one owner.</summary>
internal struct OwnerSummary
{
    private bool isMixed;
    private ExoEnvironment? first;

    public readonly ExoEnvironment? Sole => isMixed ? null : first;

    /// <summary>Adds a filter's owner, or the sole owner of a group; null stands for a group with several.</summary>
    public void Add(ExoEnvironment? owner)
    {
        isMixed |= owner is null || (first is not null && !ReferenceEquals(first, owner));
        first ??= owner;
    }
}
