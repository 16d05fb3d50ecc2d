// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;

namespace Exo.FileSystems.CFFS.Tests.Crashes.Promise;

/// <summary>What a volume shows after a crash, every byte of it, by inode number.</summary>
internal sealed class FoundTree
{
    // Contents that were seen before are shared, so that many trees fit in memory.
    private static readonly ConcurrentDictionary<byte[], byte[]> s_contents = new(new Bytes());

    public ulong Root { get; private init; }

    public Dictionary<ulong, FoundNode> Nodes { get; } = [];

    public sealed class FoundNode
    {
        public required CffsStat Stat { get; init; }

        public required byte[] Contents { get; init; }

        public SortedDictionary<string, string> Attributes { get; } = new(StringComparer.Ordinal);

        public SortedDictionary<string, ulong> Entries { get; } = new(StringComparer.Ordinal);

        /// <summary>Names that lead to it.</summary>
        public int Names { get; set; }
    }

    public static FoundTree Of(CffsVolume volume)
    {
        FoundTree tree = new() { Root = volume.Stat("").Inode };
        tree.Visit(volume, "");
        return tree;
    }

    /// <summary>Everything as text, to compare two trees.</summary>
    public string Text()
    {
        List<string> lines = [];
        foreach ((ulong inode, FoundNode node) in Nodes.OrderBy(item => item.Key))
        {
            string attributes = string.Join(' ', node.Attributes.Select(item => $"{item.Key}={item.Value}"));
            string entries = string.Join(' ', node.Entries.Select(item => $"{item.Key}={item.Value}"));
            string contents = Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(node.Contents))[..16];
            lines.Add($"{inode}: {node.Stat.Kind} {node.Stat.Permissions:x} links {node.Stat.Links} size {node.Stat.Size} {contents} [{attributes}] [{entries}]");
        }

        return string.Join('\n', lines);
    }

    private FoundNode Visit(CffsVolume volume, string path)
    {
        CffsStat stat = volume.Stat(path, followSymbolicLink: false);
        if (Nodes.TryGetValue(stat.Inode, out FoundNode? known))
        {
            Assert.True(known.Stat.Kind != CffsKind.Directory, $"directory {path} has two names");
            return known;
        }

        FoundNode node = new() { Stat = stat, Contents = ContentsOf(volume, path, stat) };
        Nodes.Add(stat.Inode, node);
        foreach (string name in volume.ListExtendedAttributes(path, followSymbolicLink: false))
        {
            node.Attributes.Add(name, Convert.ToHexString(volume.GetExtendedAttribute(path, name, followSymbolicLink: false)!));
        }

        if (stat.Kind == CffsKind.Directory)
        {
            foreach (CffsDirectoryEntry entry in volume.ReadDirectory(path))
            {
                Assert.True(node.Entries.TryAdd(entry.NameString, entry.Inode), $"{path}/{entry.NameString} is listed twice");
                FoundNode child = Visit(volume, $"{path}/{entry.NameString}");
                Assert.True(child.Stat.Inode == entry.Inode && child.Stat.Kind == entry.Kind, $"{path}/{entry.NameString} is listed as another");
                child.Names++;
            }
        }

        return node;
    }

    private static byte[] ContentsOf(CffsVolume volume, string path, in CffsStat stat)
    {
        byte[] contents = stat.Kind switch
        {
            CffsKind.File => volume.ReadAllBytes(path),
            CffsKind.SymbolicLink => volume.ReadSymbolicLink(path),
            _ => [],
        };
        return s_contents.GetOrAdd(contents, contents);
    }

    private sealed class Bytes : IEqualityComparer<byte[]>
    {
        public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

        public int GetHashCode(byte[] bytes)
        {
            HashCode hash = default;
            hash.AddBytes(bytes);
            return hash.ToHashCode();
        }
    }
}
