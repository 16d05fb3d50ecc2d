// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Tests.Crashes;

/// <summary>A tree as a set of inodes, each with the places (directory, name) where it is found, so that trees can be compared across renames of directories.</summary>
internal sealed class TreeSnapshot
{
    public Dictionary<ulong, Entry> Inodes { get; } = [];

    public sealed record Entry(CffsKind Kind, SortedSet<(ulong Directory, string Name)> Names, byte[] Contents, string? Target, string Attributes)
    {
        public bool Equals(Entry? other) => other is not null && Kind == other.Kind && Target == other.Target && Attributes == other.Attributes && Names.SetEquals(other.Names)
            && Contents.AsSpan().SequenceEqual(other.Contents);

        public override int GetHashCode() => HashCode.Combine(Kind, Names.Count, Contents.Length);
    }

    /// <summary>The model's tree. Asks the volume for the numbers of inodes that are new.</summary>
    public static TreeSnapshot Of(TreeModel model, CffsVolume volume)
    {
        TreeSnapshot snapshot = new();
        model.Root.Inode = volume.Stat("").Inode;
        snapshot.Add(model.Root, 0, "", path => volume.Stat(path, followSymbolicLink: false).Inode, "");
        return snapshot;
    }

    /// <summary>The volume's tree, every byte read.</summary>
    public static TreeSnapshot Of(CffsVolume volume)
    {
        TreeSnapshot snapshot = new();
        snapshot.Add(volume, "", 0, "");
        return snapshot;
    }

    /// <summary>What is different in another snapshot, in words; null when nothing is.</summary>
    public string? DifferenceTo(TreeSnapshot other)
    {
        foreach (ulong inode in Inodes.Keys.Union(other.Inodes.Keys))
        {
            Inodes.TryGetValue(inode, out Entry? mine);
            other.Inodes.TryGetValue(inode, out Entry? theirs);
            if (!Equals(mine, theirs))
            {
                return $"inode {inode}: {Text(mine)} became {Text(theirs)}";
            }
        }

        return null;
    }

    private static string Text(Entry? entry) => entry is null
        ? "nothing"
        : $"{entry.Kind} {string.Join(", ", entry.Names)}, {entry.Contents.Length} bytes ({System.IO.Hashing.XxHash3.HashToUInt64(entry.Contents):x}), {entry.Attributes}";

    private void Add(ulong inode, CffsKind kind, ulong directory, string name, byte[] contents, string? target, string attributes)
    {
        if (!Inodes.TryGetValue(inode, out Entry? entry))
        {
            Inodes[inode] = entry = new Entry(kind, [], contents, target, attributes);
        }

        entry.Names.Add((directory, name));
    }

    private void Add(TreeModel.Node node, ulong directory, string name, Func<string, ulong> inodeOf, string path)
    {
        if (node.Inode == 0)
        {
            node.Inode = inodeOf(path);
        }

        CffsKind kind = node.Entries is not null ? CffsKind.Directory : node.Target is not null ? CffsKind.SymbolicLink : CffsKind.File;
        Add(node.Inode, kind, directory, name, node.Contents, node.Target, node.AttributeText);
        foreach ((string child, TreeModel.Node below) in node.Entries ?? [])
        {
            Add(below, node.Inode, child, inodeOf, $"{path}/{child}");
        }
    }

    private void Add(CffsVolume volume, string path, ulong directory, string name)
    {
        CffsStat stat = volume.Stat(path, followSymbolicLink: false);
        byte[] contents = stat.Kind == CffsKind.File ? volume.ReadAllBytes(path) : [];
        string? target = stat.Kind == CffsKind.SymbolicLink ? System.Text.Encoding.UTF8.GetString(volume.ReadSymbolicLink(path)) : null;
        Add(stat.Inode, stat.Kind, directory, name, contents, target, TreeModel.AttributesOf(volume, path));
        if (stat.Kind == CffsKind.Directory)
        {
            foreach (CffsDirectoryEntry entry in volume.ReadDirectory(path))
            {
                Add(volume, $"{path}/{entry.NameString}", stat.Inode, entry.NameString);
            }
        }
    }
}
