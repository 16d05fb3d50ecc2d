// SPDX-License-Identifier: MIT
using System.Collections.Immutable;

namespace Exo.FileSystems.CFFS.Tests.Crashes.Promise;

/// <summary>One file, directory or symbolic link as a program sees it. A symbolic link's target is its contents.</summary>
internal sealed record PromisedNode(CffsKind Kind)
{
    public byte[] Contents { get; init; } = [];

    public ushort Permissions { get; init; } = 0x1A4;

    /// <summary>The time that was set last; null when something else has changed it since, or nobody set it.</summary>
    public long? ModifyTimeNs { get; init; }

    public ImmutableSortedDictionary<string, string> Attributes { get; init; } = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);

    /// <summary>Of a directory: who has which name.</summary>
    public ImmutableSortedDictionary<string, int> Entries { get; init; } = ImmutableSortedDictionary.Create<string, int>(StringComparer.Ordinal);
}

/// <summary>
/// A file tree as a value: what POSIX says that a program sees after some operations. Nodes have numbers that stay, so that one can be followed through renames. An operation
/// gives the next tree, or null where it fails. It knows nothing about disks.
/// </summary>
internal sealed class PromisedTree
{
    public const int Root = 0;

    private readonly ImmutableDictionary<int, PromisedNode> _nodes;

    private PromisedTree(ImmutableDictionary<int, PromisedNode> nodes, int nextNode)
    {
        _nodes = nodes;
        NodeCount = nextNode;
    }

    public static PromisedTree Empty { get; } =
        new(ImmutableDictionary<int, PromisedNode>.Empty.Add(Root, new PromisedNode(CffsKind.Directory) { Permissions = 0x1ED }), 1);

    /// <summary>Nodes that there ever were; their numbers are smaller.</summary>
    public int NodeCount { get; }

    public bool Has(int node) => _nodes.ContainsKey(node);

    public PromisedNode? Node(int node) => _nodes.GetValueOrDefault(node);

    /// <summary>Every name of every node.</summary>
    public IEnumerable<(int Directory, string Name, int Node)> Names =>
        _nodes.Where(item => item.Value.Kind == CffsKind.Directory).SelectMany(item => item.Value.Entries.Select(entry => (item.Key, entry.Key, entry.Value)));

    public int NamesOf(int node) => Names.Count(name => name.Node == node);

    /// <summary>The node that a name of a directory leads to; null when there is no such name or directory.</summary>
    public int? Entry(int directory, string name) => Node(directory) is { } found && found.Entries.TryGetValue(name, out int node) ? node : null;

    public int? Find(string path)
    {
        int? node = Root;
        foreach (string name in path.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            node = node is { } directory ? Entry(directory, name) : null;
        }

        return node;
    }

    /// <summary>The directories above a node, along every name of it, each with the name that leads on.</summary>
    public IEnumerable<(int Directory, string Name)> PathsTo(int node)
    {
        foreach ((int directory, string name, int named) in Names)
        {
            if (named == node)
            {
                yield return (directory, name);
                foreach ((int, string) above in PathsTo(directory))
                {
                    yield return above;
                }
            }
        }
    }

    /// <summary>One path of a node, or null when it has no name.</summary>
    public string? PathOf(int node)
    {
        if (node == Root)
        {
            return "";
        }

        foreach ((int directory, string name, int named) in Names)
        {
            if (named == node)
            {
                return $"{PathOf(directory)}/{name}";
            }
        }

        return null;
    }

    public PromisedTree? Create(string path, PromisedNode node)
    {
        (int? directory, string name) = Split(path);
        return directory is { } at && Entry(at, name) is null ? Put(at, name, NodeCount, _nodes.Add(NodeCount, node), NodeCount + 1) : null;
    }

    /// <summary>As <see cref="Create"/>, and what is made inherits access control lists; copies do not.</summary>
    public PromisedTree? Make(string path, PromisedNode node) => Create(path, Split(path).Directory is { } directory ? PromisedAccess.Inherited(Node(directory)!, node) : node);

    public PromisedTree? Link(string existing, string path)
    {
        (int? directory, string name) = Split(path);
        return Find(existing) is { } node && Node(node)!.Kind != CffsKind.Directory && directory is { } at && Entry(at, name) is null
            ? Put(at, name, node, _nodes, NodeCount)
            : null;
    }

    /// <summary>unlink and rmdir.</summary>
    public PromisedTree? Remove(string path, bool isDirectory)
    {
        (int? directory, string name) = Split(path);
        if (directory is not { } at || Entry(at, name) is not { } node || (Node(node)!.Kind == CffsKind.Directory) != isDirectory || Node(node)!.Entries.Count > 0)
        {
            return null;
        }

        return Drop(at, name).Forget(node);
    }

    public PromisedTree? Rename(string from, string to)
    {
        (int? fromDirectory, string fromName) = Split(from);
        (int? toDirectory, string toName) = Split(to);
        if (fromDirectory is not { } source || toDirectory is not { } target || Entry(source, fromName) is not { } node || IsAtOrAbove(node, target))
        {
            return null;
        }

        int? replaced = Entry(target, toName);
        if (replaced == node
            || (replaced is { } there && ((Node(there)!.Kind == CffsKind.Directory) != (Node(node)!.Kind == CffsKind.Directory) || Node(there)!.Entries.Count > 0)))
        {
            return null;
        }

        PromisedTree moved = Drop(source, fromName).Put(target, toName, node);
        return replaced is { } gone ? moved.Forget(gone) : moved;
    }

    public PromisedTree? RenameWithWhiteout(string from, string to) =>
        Rename(from, to)?.Create(from, new PromisedNode(CffsKind.CharacterDevice) { Permissions = 0 });

    public PromisedTree? Exchange(string one, string other)
    {
        (int? oneDirectory, string oneName) = Split(one);
        (int? otherDirectory, string otherName) = Split(other);
        return oneDirectory is { } a && otherDirectory is { } b && Entry(a, oneName) is { } first && Entry(b, otherName) is { } second && first != second
            && !IsAtOrAbove(first, b) && !IsAtOrAbove(second, a)
            ? Put(a, oneName, second).Put(b, otherName, first)
            : null;
    }

    public PromisedTree? Change(string path, Func<PromisedNode, PromisedNode?> change) =>
        Find(path) is { } node && change(Node(node)!) is { } changed ? new PromisedTree(_nodes.SetItem(node, changed), NodeCount) : null;

    /// <summary>Changes a file's contents, and with them its times.</summary>
    public PromisedTree? Rewrite(string path, Func<byte[], byte[]> rewrite) =>
        Change(path, node => node.Kind == CffsKind.File ? node with { Contents = rewrite(node.Contents), ModifyTimeNs = null } : null);

    private (int? Directory, string Name) Split(string path)
    {
        int cut = path.LastIndexOf('/');
        int? directory = Find(cut < 0 ? "" : path[..cut]);
        return (directory is { } at && Node(at)!.Kind == CffsKind.Directory ? directory : null, path[(cut + 1)..]);
    }

    private bool IsAtOrAbove(int node, int directory) => node == directory || PathsTo(directory).Any(above => above.Directory == node);

    private PromisedTree Put(int directory, string name, int node) => Put(directory, name, node, _nodes, NodeCount);

    private static PromisedTree Put(int directory, string name, int node, ImmutableDictionary<int, PromisedNode> nodes, int nextNode)
    {
        PromisedNode at = nodes[directory];
        return new PromisedTree(nodes.SetItem(directory, at with { Entries = at.Entries.SetItem(name, node), ModifyTimeNs = null }), nextNode);
    }

    private PromisedTree Drop(int directory, string name)
    {
        PromisedNode at = _nodes[directory];
        return new PromisedTree(_nodes.SetItem(directory, at with { Entries = at.Entries.Remove(name), ModifyTimeNs = null }), NodeCount);
    }

    /// <summary>A node whose last name has gone is gone: nothing has it open.</summary>
    private PromisedTree Forget(int node) => NamesOf(node) > 0 ? this : new PromisedTree(_nodes.Remove(node), NodeCount);
}
