// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Tests.Crashes.Promise;

namespace Exo.FileSystems.CFFS.Tests.Crashes.Ace;

/// <summary>
/// One operation of a workload: what it does to a tree (null: it fails there, and workloads with it are left out) and to a volume. Both are told its position in the workload, so that the bytes
/// that it writes are nobody else's.
/// </summary>
/// <param name="Text">As it is printed.</param>
/// <param name="Path">What it is about; the new name where it makes one.</param>
/// <param name="Model">On the tree.</param>
/// <param name="Run">On the volume.</param>
internal sealed record AceOperation(string Text, string Path, Func<PromisedTree, int, PromisedTree?> Model, Action<AceVolume, int> Run)
{
    /// <summary>Trees that are seen on the way, where an operation is not one step.</summary>
    public Func<PromisedTree, PromisedTree[]>? OnTheWay { get; init; }

    private const ushort FilePermissions = 0x1A4;

    public override string ToString() => Text;

    public static AceOperation Create(string path) => new(
        $"creat {path}", path,
        (tree, _) => tree.Make(path, new PromisedNode(CffsKind.File)),
        (volume, _) => volume.Volume.OpenFile(path, CffsOpenMode.Write | CffsOpenMode.CreateNew, FilePermissions).Dispose());

    public static AceOperation MakeDirectory(string path) => new(
        $"mkdir {path}", path,
        (tree, _) => tree.Make(path, new PromisedNode(CffsKind.Directory) { Permissions = 0x1ED }),
        (volume, _) => volume.Volume.CreateDirectory(path));

    public static AceOperation SymbolicLink(string path) => new(
        $"symlink {path}", path,
        (tree, at) => tree.Create(path, new PromisedNode(CffsKind.SymbolicLink) { Contents = Bytes(at, 0, 40), Permissions = 0x1FF }),
        (volume, at) => volume.Volume.CreateSymbolicLink(System.Text.Encoding.UTF8.GetBytes(path), Bytes(at, 0, 40)));

    public static AceOperation Unnamed(string path) => new(
        $"tmpfile+link {path}", path,
        (tree, at) => tree.Make(path, new PromisedNode(CffsKind.File) { Contents = Bytes(at, 0, 5000) }),
        (volume, at) => volume.CreateUnnamed(path, Bytes(at, 0, 5000)));

    public static AceOperation Link(string existing, string path) => new(
        $"link {existing} {path}", path,
        (tree, _) => tree.Link(existing, path),
        (volume, _) => volume.Volume.CreateHardLink(existing, path));

    public static AceOperation Unlink(string path) => new(
        $"unlink {path}", path, (tree, _) => tree.Remove(path, isDirectory: false), (volume, _) => volume.Volume.RemoveFile(path));

    public static AceOperation RemoveDirectory(string path) => new(
        $"rmdir {path}", path, (tree, _) => tree.Remove(path, isDirectory: true), (volume, _) => volume.Volume.RemoveDirectory(path));

    public static AceOperation Rename(string from, string to) => new(
        $"rename {from} {to}", to, (tree, _) => tree.Rename(from, to), (volume, _) => volume.Volume.Rename(from, to));

    public static AceOperation Whiteout(string from, string to) => new(
        $"whiteout {from} {to}", to, (tree, _) => tree.RenameWithWhiteout(from, to), (volume, _) => volume.Volume.RenameWithWhiteout(from, to));

    public static AceOperation Exchange(string one, string other) => new(
        $"exchange {one} {other}", other, (tree, _) => tree.Exchange(one, other), (volume, _) => volume.Volume.Exchange(one, other));

    /// <summary>Another value, of so many bytes.</summary>
    public static AceOperation SetAttribute(string path, int length) => new(
        $"setxattr {path} {length}", path,
        (tree, at) => tree.Change(path, node => node.Kind == CffsKind.SymbolicLink ? null : node with { Attributes = node.Attributes.SetItem("user.k", Convert.ToHexString(Bytes(at, 0, length))) }),
        (volume, at) => volume.Volume.SetExtendedAttribute(path, "user.k", Bytes(at, 0, length)));

    public static AceOperation RemoveAttribute(string path) => new(
        $"removexattr {path}", path,
        (tree, _) => tree.Change(path, node => node.Attributes.ContainsKey("user.k") ? node with { Attributes = node.Attributes.Remove("user.k") } : null),
        (volume, _) => volume.Volume.RemoveExtendedAttribute(path, "user.k"));

    public static AceOperation ChangeMode(string path) => new(
        $"chmod {path}", path,
        (tree, at) => tree.Change(path, node => node.Kind == CffsKind.SymbolicLink ? null : node with { Permissions = (ushort)(0x180 + at) }),
        (volume, at) => volume.Volume.SetAttributes(path, new CffsAttributeChange { Permissions = (ushort)(0x180 + at) }));

    /// <summary>chmod of what may have a list: it follows.</summary>
    public static AceOperation ChangeMode(string path, ushort permissions) => new(
        $"chmod {Convert.ToString(permissions, 8)} {path}", path,
        (tree, _) => tree.Change(path, node => node.Kind == CffsKind.SymbolicLink ? null : PromisedAccess.WithPermissions(node, permissions)),
        (volume, _) => volume.Volume.SetAttributes(path, new CffsAttributeChange { Permissions = permissions }));

    /// <summary>setfacl.</summary>
    public static AceOperation SetAccess(string path, PromisedAccess.Entry[] list) => new(
        $"setfacl {path} {Entries(list)}", path,
        (tree, _) => tree.Change(path, node => node.Kind == CffsKind.SymbolicLink ? null : PromisedAccess.WithList(node, list)),
        (volume, _) => volume.Volume.SetExtendedAttribute(path, PromisedAccess.Access, PromisedAccess.Bytes(list)));

    /// <summary>setfacl -d; no entries: -k.</summary>
    public static AceOperation SetDefault(string path, PromisedAccess.Entry[] list) => new(
        $"setfacl -d {path} {Entries(list)}", path,
        (tree, _) => tree.Change(path, node => node.Kind == CffsKind.Directory ? PromisedAccess.WithDefault(node, list) : null),
        (volume, _) => volume.Volume.SetExtendedAttribute(path, PromisedAccess.Default, PromisedAccess.Bytes(list)));

    public static AceOperation SetTime(string path) => new(
        $"utimens {path}", path,
        (tree, at) => tree.Change(path, node => node.Kind == CffsKind.SymbolicLink ? null : node with { ModifyTimeNs = 1_000_000_007 * (at + 1L) }),
        (volume, at) => volume.Volume.SetAttributes(path, new CffsAttributeChange { ModifyTimeNs = 1_000_000_007 * (at + 1L) }));

    public static AceOperation Truncate(string path, int length) => new(
        $"truncate {path} {length}", path,
        (tree, _) => tree.Rewrite(path, old => Resized(old, length)),
        (volume, _) => volume.SetLength(path, length));

    /// <summary>Writes at an offset; -1 appends.</summary>
    public static AceOperation Write(string path, int offset, int length) => new(
        offset < 0 ? $"append {path} {length}" : $"write {path} {offset}+{length}", path,
        (tree, at) => tree.Rewrite(path, old => Overwritten(old, offset < 0 ? old.Length : offset, length, at)),
        (volume, at) =>
        {
            int begin = offset < 0 ? (int)volume.Volume.Stat(path).Size : offset;
            volume.Write(path, begin, Bytes(at, begin, length));
        });

    public static AceOperation Allocate(string path, int offset, int length, bool keepSize) => new(
        $"fallocate{(keepSize ? " keep-size" : "")} {path} {offset}+{length}", path,
        (tree, _) => tree.Rewrite(path, old => keepSize ? old : Resized(old, Math.Max(old.Length, offset + length))),
        (volume, _) => volume.Allocate(path, offset, length, keepSize));

    public static AceOperation Punch(string path, int offset, int length) => new(
        $"punch {path} {offset}+{length}", path,
        (tree, _) => tree.Rewrite(path, old => Zeroed(old, offset, length)),
        (volume, _) => volume.Punch(path, offset, length));

    public static AceOperation Zero(string path, int offset, int length) => new(
        $"zero-range {path} {offset}+{length}", path,
        (tree, _) => tree.Rewrite(path, old => Zeroed(Resized(old, Math.Max(old.Length, offset + length)), offset, length)),
        (volume, _) => volume.Zero(path, offset, length));

    /// <summary>A new file that shares another's blocks. On the way it is there and empty.</summary>
    public static AceOperation CloneFile(string existing, string path) => new(
        $"clone {existing} {path}", path,
        (tree, _) => Cloned(tree, existing, path, isDone: true),
        (volume, _) => volume.Volume.CloneFile(existing, path))
    {
        OnTheWay = tree => [Cloned(tree, existing, path, isDone: false)!],
    };

    /// <summary>Blocks of one file take the place of another's.</summary>
    public static AceOperation CloneRange(string from, int fromOffset, string to, int toOffset, int length) => new(
        $"clone-range {from} {fromOffset}+{length} {to} {toOffset}", to,
        (tree, _) => Contents(tree, from) is { } source && source.Length >= fromOffset + length
            && (length % 4096 == 0 || (source.Length == fromOffset + length && Contents(tree, to) is { } target && target.Length <= toOffset + length))
            ? tree.Rewrite(to, old => [.. Resized(old, toOffset), .. source.AsSpan(fromOffset, length), .. old.AsSpan(Math.Min(old.Length, toOffset + length))])
            : null,
        (volume, _) => volume.CloneRange(from, fromOffset, to, toOffset, length));

    /// <summary>A writable copy of a directory and all below it, or a snapshot: there whole, or not at all.</summary>
    public static AceOperation CopyTree(string directory, string path, bool isSnapshot) => new(
        $"{(isSnapshot ? "snapshot" : "copy-tree")} {directory} {path}", path,
        (tree, _) => CopiedTree(tree, directory, path),
        (volume, _) =>
        {
            if (isSnapshot)
            {
                volume.Volume.CreateSnapshot(directory, path);
            }
            else
            {
                volume.Volume.CopyTree(directory, path);
            }
        });

    private static string Entries(PromisedAccess.Entry[] list) => string.Join(',', list.Select(entry => $"{entry.Tag}:{entry.Permissions}"));

    private static byte[]? Contents(PromisedTree tree, string path) => tree.Find(path) is { } node && tree.Node(node) is { Kind: CffsKind.File } file ? file.Contents : null;

    private static PromisedTree? Cloned(PromisedTree tree, string existing, string path, bool isDone) => tree.Find(existing) is { } node && tree.Node(node) is { Kind: CffsKind.File } file
        ? tree.Make(path, new PromisedNode(CffsKind.File) { Permissions = file.Permissions, Contents = isDone ? file.Contents : [] })
        : null;

    private static PromisedTree? CopiedTree(PromisedTree tree, string directory, string path)
    {
        if (tree.Find(directory) is not { } root || tree.Node(root)!.Kind != CffsKind.Directory)
        {
            return null;
        }

        PromisedTree? copy = tree;
        Dictionary<int, string> known = [];
        Copy(root, path);
        return copy;

        void Copy(int node, string to)
        {
            PromisedNode original = tree.Node(node)!;
            if (original.Kind != CffsKind.Directory && known.TryGetValue(node, out string? first))
            {
                copy = copy?.Link(first, to);
                return;
            }

            known[node] = to;
            copy = copy?.Create(to, original with { Entries = original.Entries.Clear(), ModifyTimeNs = null });
            foreach ((string name, int child) in original.Entries)
            {
                Copy(child, $"{to}/{name}");
            }
        }
    }

    /// <summary>Bytes that tell who wrote them, and where: never zero, and no two positions of a workload write the same.</summary>
    public static byte[] Bytes(int at, int offset, int length)
    {
        byte[] bytes = new byte[length];
        for (int i = 0; i < length; i++)
        {
            int place = offset + i;
            bytes[i] = (byte)(1 + (((place * 131) + ((place >> 8) * 17) + (at * 23)) % 255));
        }

        return bytes;
    }

    private static byte[] Resized(byte[] old, int length)
    {
        byte[] next = new byte[length];
        old.AsSpan(0, Math.Min(length, old.Length)).CopyTo(next);
        return next;
    }

    private static byte[] Overwritten(byte[] old, int offset, int length, int at)
    {
        byte[] next = Resized(old, Math.Max(old.Length, offset + length));
        Bytes(at, offset, length).CopyTo(next.AsSpan(offset));
        return next;
    }

    private static byte[] Zeroed(byte[] old, int offset, int length)
    {
        byte[] next = [.. old];
        int begin = Math.Min(offset, next.Length);
        next.AsSpan(begin, Math.Min(length, next.Length - begin)).Clear();
        return next;
    }
}
