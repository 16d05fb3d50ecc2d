// SPDX-License-Identifier: MIT
using System.Collections.Immutable;

namespace Exo.FileSystems.CFFS.Tests.Crashes.Promise;

/// <summary>What a call that makes something durable promises to have done when it returns.</summary>
internal enum PersistenceScope
{
    /// <summary><c>sync</c>: everything.</summary>
    All,

    /// <summary><c>fsync</c> of a file: its contents and attributes, all its names and the directories above them.</summary>
    File,

    /// <summary><c>fsync</c> of a directory: its entries and attributes, its own name and the directories above it.</summary>
    Directory,
}

/// <summary>
/// The crash promise (docs/crash-promise.md), as a judge of what a volume shows after a power cut. It is told the trees that a program has seen and what has been made durable when, and
/// nothing of how. Every rule below has the number that it has there.
/// <code>
///   tree 0 ── operation 1 ──► tree 1 ── operation 2 ──► tree 2 ── fsync(x) ── operation 3 ──► tree 3
///   durable                                              x is durable as of tree 2       power fails: which of trees 2, 3 x shows is open; of all else, which of 0 to 3
/// </code>
/// </summary>
internal sealed class CrashPromises(PromisedTree start)
{
    private readonly List<PromisedTree> _trees = [start];
    private readonly List<Point> _persisted = [];
    private readonly List<(int Tree, int Node, (int Directory, string Name) From, (int Directory, string Name) To)> _renames = [];
    private readonly Dictionary<ulong, int> _nodeOfInode = [];

    /// <summary>A call for durability that has returned: as of which tree, for what; Path: the names along which it is reached.</summary>
    private sealed record Point(int Tree, PersistenceScope Scope, int Node, HashSet<(int Directory, string Name)> Path);

    public PromisedTree Last => _trees[^1];

    public int TreeCount => _trees.Count;

    public int PersistedCount => _persisted.Count;

    /// <summary>An operation has given a tree.</summary>
    public void Add(PromisedTree tree)
    {
        foreach ((int directory, string name, int node) in tree.Names)
        {
            // A rename takes a node from one name and gives it another in one step.
            if (Last.Has(node) && Last.Entry(directory, name) != node
                && Last.Names.FirstOrDefault(old => old.Node == node && tree.Entry(old.Directory, old.Name) != node) is { Name: not null } left)
            {
                _renames.Add((_trees.Count, node, (left.Directory, left.Name), (directory, name)));
            }
        }

        _trees.Add(tree);
    }

    public void Persist(PersistenceScope scope, int node) => _persisted.Add(new Point(_trees.Count - 1, scope, node, [.. Last.PathsTo(node)]));

    /// <summary>The volume's number for a node.</summary>
    public void Identify(int node, ulong inode) => _nodeOfInode[inode] = node;

    public bool IsIdentified(int node) => _nodeOfInode.ContainsValue(node);

    /// <summary>What is wrong with a tree that was found when so many operations had begun and so many calls for durability had returned; null when nothing is.</summary>
    public string? Violation(FoundTree found, int begun, int returned)
    {
        List<Point> durable = _persisted[..returned];
        Dictionary<int, FoundTree.FoundNode> nodes = [];
        Dictionary<int, Dictionary<string, int>> entries = [];

        // Rule 1: nothing appears that never existed.
        foreach ((ulong inode, FoundTree.FoundNode node) in found.Nodes)
        {
            if (!_nodeOfInode.TryGetValue(inode, out int number) || FirstTree(number) > begun)
            {
                return $"rule 1: inode {inode} ({node.Stat.Kind}) was never made";
            }

            nodes.Add(number, node);
        }

        foreach ((int number, FoundTree.FoundNode node) in nodes)
        {
            entries.Add(number, node.Entries.ToDictionary(entry => entry.Key, entry => _nodeOfInode.GetValueOrDefault(entry.Value, -1)));
        }

        for (int number = 0; number < _trees[begun].NodeCount; number++)
        {
            string? violation = nodes.TryGetValue(number, out FoundTree.FoundNode? node)
                ? OfNode(number, node, entries[number], durable, begun)
                : OfMissing(number, durable, begun);
            if (violation is not null)
            {
                return violation;
            }
        }

        return OfRenames(entries, durable, begun);
    }

    /// <summary>Rules 2 to 7, on what is there.</summary>
    private string? OfNode(int number, FoundTree.FoundNode node, Dictionary<string, int> entries, List<Point> durable, int begun)
    {
        int from = DurableNode(number, durable);
        List<PromisedNode> versions = [.. Enumerable.Range(from, begun - from + 1).Select(tree => _trees[tree].Node(number)).OfType<PromisedNode>()];
        if (versions.Count == 0)
        {
            return $"rule 2: node {number} is there, and its removal was durable";
        }

        // Rule 3: kind and target are never other than they were made.
        if (versions[0].Kind != node.Stat.Kind || (node.Stat.Kind == CffsKind.SymbolicLink && !node.Contents.AsSpan().SequenceEqual(versions[0].Contents)))
        {
            return $"rule 3: node {number} is a {node.Stat.Kind}, or has another target";
        }

        // Rule 4: attributes are as they were at some time since they were durable.
        if (!versions.Any(version => version.Permissions == node.Stat.Permissions))
        {
            return $"rule 4: node {number} has permissions {node.Stat.Permissions:x}";
        }

        // Access is what both say together: the bits of one version beside the list of another would let in whom neither does.
        string? access = node.Attributes.GetValueOrDefault(PromisedAccess.Access);
        if (!versions.Any(version => version.Permissions == node.Stat.Permissions && version.Attributes.GetValueOrDefault(PromisedAccess.Access) == access))
        {
            return $"rule 4: node {number} has permissions {node.Stat.Permissions:x} beside the access control list {access ?? "of nobody"}";
        }

        if (versions.All(version => version.ModifyTimeNs is not null) && !versions.Any(version => version.ModifyTimeNs == node.Stat.ModifyTimeNs))
        {
            return $"rule 4: node {number} was modified at {node.Stat.ModifyTimeNs}, not at {string.Join(" or ", versions.Select(version => version.ModifyTimeNs))}";
        }

        foreach (string name in versions.SelectMany(version => version.Attributes.Keys).Concat(node.Attributes.Keys).Distinct())
        {
            string? value = node.Attributes.GetValueOrDefault(name);
            if (!versions.Any(version => version.Attributes.GetValueOrDefault(name) == value))
            {
                return $"rule 4: node {number} has {name} = {value ?? "nothing"}";
            }
        }

        // Rule 5: a byte is one that the file had there since it was durable, or zero where it was beyond the end then.
        if (node.Stat.Kind == CffsKind.File && OfContents(number, node.Contents, versions) is { } contents)
        {
            return contents;
        }

        // Rule 6: as many links as names.
        int links = node.Stat.Kind == CffsKind.Directory ? 2 + entries.Values.Count(child => _trees[begun].NodeCount > child && child >= 0 && KindOf(child) == CffsKind.Directory) : node.Names;
        if (node.Stat.Links != links)
        {
            return $"rule 6: node {number} says {node.Stat.Links} links and has {links}";
        }

        // Rule 7: a name leads where it led at some time since it was durable.
        foreach (string name in _trees[..(begun + 1)].SelectMany(tree => tree.Node(number)?.Entries.Keys ?? []).Concat(entries.Keys).Distinct())
        {
            int since = DurableEntry(number, name, durable);
            int? child = entries.TryGetValue(name, out int there) ? there : null;
            if (!Enumerable.Range(since, begun - since + 1).Any(tree => _trees[tree].Entry(number, name) == child))
            {
                return $"rule 7: {name} in directory {number} is {Display(child)}, and was {string.Join(", ", _trees[since..(begun + 1)].Select(tree => Display(tree.Entry(number, name))))}";
            }
        }

        return null;
    }

    private static string? OfContents(int number, byte[] contents, List<PromisedNode> versions)
    {
        if (versions.Any(version => version.Contents.AsSpan().SequenceEqual(contents)))
        {
            return null;
        }

        if (!versions.Any(version => version.Contents.Length == contents.Length))
        {
            return $"rule 5: node {number} has {contents.Length} bytes, and had {string.Join(", ", versions.Select(version => version.Contents.Length))}";
        }

        for (int i = 0; i < contents.Length; i++)
        {
            bool isAllowed = false;
            foreach (PromisedNode version in versions)
            {
                isAllowed |= i < version.Contents.Length ? version.Contents[i] == contents[i] : contents[i] == 0;
            }

            if (!isAllowed)
            {
                return $"rule 5: byte {i} of node {number} is {contents[i]:x2}, and was {string.Join(", ", versions.Select(version => i < version.Contents.Length ? $"{version.Contents[i]:x2}" : "-"))}";
            }
        }

        return null;
    }

    /// <summary>Rule 8: what was durable and had a name all the time since has one. A name gained makes up for a name lost.</summary>
    private string? OfMissing(int number, List<Point> durable, int begun)
    {
        int? since = DurablePresence(number, durable);
        return since is { } tree && Enumerable.Range(tree, begun - tree + 1).All(t => _trees[t].Has(number))
            ? $"rule 8: node {number} ({_trees[tree].PathOf(number)}) was durable and is gone"
            : null;
    }

    /// <summary>
    /// Rule 9: a rename is seen whole or not at all: never both names, never neither. With rule 7 that is rule 10: an exchange is two renames whose names are never absent, so that one of them
    /// cannot be seen without the other.
    /// </summary>
    private string? OfRenames(Dictionary<int, Dictionary<string, int>> entries, List<Point> durable, int begun)
    {
        foreach ((int number, Dictionary<string, int> _) in entries)
        {
            int names = entries.Values.SelectMany(directory => directory.Values).Count(child => child == number);
            int most = _trees[..(begun + 1)].Max(tree => tree.NamesOf(number));
            if (names > most)
            {
                return $"rule 9: node {number} has {names} names and never had more than {most}";
            }
        }

        foreach ((int tree, int node, (int Directory, string Name) from, (int Directory, string Name) to) in _renames)
        {
            int since = DurableEntry(from.Directory, from.Name, durable);
            if (tree > begun || since >= tree || _trees[since].Entry(from.Directory, from.Name) != node
                || Changes(from, since, begun) != 1 || Changes(to, since, begun) != 1)
            {
                continue;
            }

            bool old = Leads(from);
            bool next = Leads(to);
            if (old == next)
            {
                return $"rule 9: node {node}, renamed from {from} to {to}, has {(old ? "both names" : "neither name")}";
            }

            bool Leads((int Directory, string Name) name) =>
                entries.TryGetValue(name.Directory, out Dictionary<string, int>? directory) && directory.TryGetValue(name.Name, out int there) && there == node;
        }

        return null;
    }

    private int Changes((int Directory, string Name) name, int since, int begun) =>
        Enumerable.Range(since + 1, begun - since).Count(tree => _trees[tree].Entry(name.Directory, name.Name) != _trees[tree - 1].Entry(name.Directory, name.Name));

    private CffsKind? KindOf(int node) => _trees.Select(tree => tree.Node(node)).OfType<PromisedNode>().FirstOrDefault()?.Kind;

    private int FirstTree(int node) => _trees.FindIndex(tree => tree.Has(node)) is var first and >= 0 ? first : int.MaxValue;

    private static string Display(int? node) => node is { } number ? $"node {number}" : "nothing";

    /// <summary>The last tree as of which a node's own state is durable.</summary>
    private static int DurableNode(int node, List<Point> durable) =>
        durable.Where(point => point.Scope == PersistenceScope.All || point.Node == node).Select(point => point.Tree).DefaultIfEmpty(0).Max();

    /// <summary>The last tree as of which a name is durable.</summary>
    private static int DurableEntry(int directory, string name, List<Point> durable) =>
        durable.Where(point => point.Scope == PersistenceScope.All
                || (point.Scope == PersistenceScope.Directory && point.Node == directory)
                || point.Path.Contains((directory, name)))
            .Select(point => point.Tree).DefaultIfEmpty(0).Max();

    /// <summary>The last tree as of which it is durable that a node is there; null when it never was.</summary>
    private int? DurablePresence(int node, List<Point> durable)
    {
        int? since = start.Has(node) ? 0 : null;
        foreach (Point point in durable)
        {
            PromisedTree tree = _trees[point.Tree];
            if (tree.Has(node) && (point.Scope == PersistenceScope.All || point.Node == node || point.Path.Any(name => name.Directory == node)
                || (point.Scope == PersistenceScope.Directory && tree.Node(point.Node)!.Entries.ContainsValue(node))))
            {
                since = Math.Max(since ?? 0, point.Tree);
            }
        }

        return since;
    }
}
