// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Tests;

/// <summary>A file tree in plain dictionaries: what a volume must look like. Paths are absolute, without a trailing slash; the root is "".</summary>
internal sealed class TreeModel
{
    public sealed class Node
    {
        public SortedDictionary<string, Node>? Entries { get; init; }

        public byte[] Contents { get; set; } = [];

        public string? Target { get; init; }

        public int Links { get; set; } = 1;

        public SortedDictionary<string, byte[]> Attributes { get; } = new(StringComparer.Ordinal);

        /// <summary>The attributes as text, to compare them.</summary>
        public string AttributeText => Text(Attributes);

        /// <summary>The volume's number for it, once a test has asked.</summary>
        public ulong Inode { get; set; }
    }

    public static string Text(IEnumerable<KeyValuePair<string, byte[]>> attributes) =>
        string.Join(' ', attributes.OrderBy(item => item.Key, StringComparer.Ordinal).Select(item => $"{item.Key}={Convert.ToHexString(item.Value)}"));

    /// <summary>The attributes that a volume holds, as text.</summary>
    public static string AttributesOf(CffsVolume volume, string path) =>
        Text(volume.ListExtendedAttributes(path, followSymbolicLink: false)
            .Select(name => KeyValuePair.Create(name, volume.GetExtendedAttribute(path, name, followSymbolicLink: false)!)));

    public Node Root { get; } = new() { Entries = new(StringComparer.Ordinal) };

    public List<string> Paths(Func<Node, bool> which)
    {
        List<string> paths = [];
        Visit(Root, "", (path, node) =>
        {
            if (which(node))
            {
                paths.Add(path);
            }
        });
        return paths;
    }

    public Node Find(string path)
    {
        Node node = Root;
        foreach (string name in path.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            node = node.Entries![name];
        }

        return node;
    }

    public (Node Parent, string Name) Split(string path)
    {
        int cut = path.LastIndexOf('/');
        return (Find(path[..cut]), path[(cut + 1)..]);
    }

    public bool Has(string path)
    {
        (Node parent, string name) = Split(path);
        return parent.Entries!.ContainsKey(name);
    }

    /// <summary>Asserts that a volume holds exactly this tree, below a directory.</summary>
    public void AssertEquals(CffsVolume volume, string below = "") => AssertDirectory(volume, below, Root);

    private static void AssertDirectory(CffsVolume volume, string path, Node directory)
    {
        IReadOnlyList<CffsDirectoryEntry> entries = volume.ReadDirectory(path);
        Assert.Equal(directory.Entries!.Keys, entries.Select(entry => entry.NameString).Order(StringComparer.Ordinal));
        Assert.Equal(2u + (uint)directory.Entries.Values.Count(node => node.Entries is not null), volume.Stat(path).Links);
        foreach ((string name, Node node) in directory.Entries)
        {
            string child = $"{path}/{name}";
            CffsStat stat = volume.Stat(child, followSymbolicLink: false);
            Assert.Equal(node.AttributeText, AttributesOf(volume, child));
            if (node.Entries is not null)
            {
                Assert.Equal(CffsKind.Directory, stat.Kind);
                AssertDirectory(volume, child, node);
            }
            else if (node.Target is not null)
            {
                Assert.Equal(node.Target, System.Text.Encoding.UTF8.GetString(volume.ReadSymbolicLink(child)));
            }
            else
            {
                Assert.Equal(node.Contents.Length, stat.Size);
                Assert.Equal((uint)node.Links, stat.Links);
                Assert.True(node.Contents.AsSpan().SequenceEqual(volume.ReadAllBytes(child)), $"{child} has other contents");
            }
        }
    }

    private static void Visit(Node node, string path, Action<string, Node> action)
    {
        action(path, node);
        foreach ((string name, Node child) in node.Entries ?? [])
        {
            Visit(child, $"{path}/{name}", action);
        }
    }
}
