// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Exo.FileSystems.CFFS.Tests.Crashes.Promise;

/// <summary>
/// Access control lists as acl(5) describes them, by entries and without any of the file system's code: what something new inherits, what chmod and setfacl make of a list. Lists are extended attributes,
/// permission bits are the node's.
/// </summary>
internal static class PromisedAccess
{
    public const string Access = "system.posix_acl_access";
    public const string Default = "system.posix_acl_default";

    private const int Owner = 1;
    private const int NamedUser = 2;
    private const int OwningGroup = 4;
    private const int NamedGroup = 8;
    private const int Mask = 16;
    private const int Other = 32;

    /// <summary>One entry of a list.</summary>
    public readonly record struct Entry(int Tag, int Permissions, uint Number);

    /// <summary>A list with an entry for a user and one for a group, and so with a mask.</summary>
    public static Entry[] Of(int owner, int user, int owningGroup, int group, int mask, int other) =>
    [
        new(Owner, owner, uint.MaxValue), new(NamedUser, user, 1001), new(OwningGroup, owningGroup, uint.MaxValue), new(NamedGroup, group, 2000), new(Mask, mask, uint.MaxValue),
        new(Other, other, uint.MaxValue),
    ];

    /// <summary>A list that says what permission bits can.</summary>
    public static Entry[] Of(int owner, int owningGroup, int other) => [new(Owner, owner, uint.MaxValue), new(OwningGroup, owningGroup, uint.MaxValue), new(Other, other, uint.MaxValue)];

    /// <summary>As the attribute has it; no entries: a header alone, which takes the list away.</summary>
    public static byte[] Bytes(Entry[] list)
    {
        byte[] bytes = new byte[4 + (8 * list.Length)];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, 2);
        for (int i = 0; i < list.Length; i++)
        {
            Span<byte> at = bytes.AsSpan(4 + (8 * i));
            BinaryPrimitives.WriteUInt16LittleEndian(at, (ushort)list[i].Tag);
            BinaryPrimitives.WriteUInt16LittleEndian(at[2..], (ushort)list[i].Permissions);
            BinaryPrimitives.WriteUInt32LittleEndian(at[4..], list[i].Number);
        }

        return bytes;
    }

    /// <summary>Something new in a directory: what it asks for, as the directory's default list leaves it.</summary>
    public static PromisedNode Inherited(PromisedNode directory, PromisedNode made)
    {
        if (made.Kind == CffsKind.SymbolicLink || !directory.Attributes.TryGetValue(Default, out string? defaults))
        {
            return made;
        }

        PromisedNode next = WithList(made, Masked(Parse(defaults), (asked, entry) => asked & entry, made.Permissions));
        return made.Kind == CffsKind.Directory ? next with { Attributes = next.Attributes.SetItem(Default, defaults) } : next;
    }

    /// <summary>chmod.</summary>
    public static PromisedNode WithPermissions(PromisedNode node, ushort permissions) =>
        node.Attributes.TryGetValue(Access, out string? list) ? WithList(node, Masked(Parse(list), (asked, _) => asked, permissions)) : node with { Permissions = permissions };

    /// <summary>setfacl: bits and list are one; a list of bits alone is none.</summary>
    public static PromisedNode WithList(PromisedNode node, Entry[] list) => node with
    {
        Permissions = (ushort)((Of(list, Owner) << 6) | (Of(list, GroupClass(list)) << 3) | Of(list, Other)),
        Attributes = list.Length > 3 ? node.Attributes.SetItem(Access, Convert.ToHexString(Bytes(list))) : node.Attributes.Remove(Access),
    };

    /// <summary>setfacl -d.</summary>
    public static PromisedNode WithDefault(PromisedNode node, Entry[] list) =>
        node with { Attributes = list.Length > 0 ? node.Attributes.SetItem(Default, Convert.ToHexString(Bytes(list))) : node.Attributes.Remove(Default) };

    private static int GroupClass(Entry[] list) => list.Any(entry => entry.Tag == Mask) ? Mask : OwningGroup;

    private static int Of(Entry[] list, int tag) => list.Single(entry => entry.Tag == tag).Permissions;

    private static Entry[] Masked(Entry[] list, Func<int, int, int> bits, int permissions)
    {
        int group = GroupClass(list);
        return
        [
            .. list.Select(entry => entry.Tag == Owner ? entry with { Permissions = bits((permissions >> 6) & 7, entry.Permissions) }
                : entry.Tag == group ? entry with { Permissions = bits((permissions >> 3) & 7, entry.Permissions) }
                : entry.Tag == Other ? entry with { Permissions = bits(permissions & 7, entry.Permissions) } : entry),
        ];
    }

    private static Entry[] Parse(string hex)
    {
        byte[] bytes = Convert.FromHexString(hex);
        return
        [
            .. Enumerable.Range(0, (bytes.Length - 4) / 8).Select(i => new Entry(
                BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(4 + (8 * i))), BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(6 + (8 * i))),
                BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(8 + (8 * i))))),
        ];
    }
}
