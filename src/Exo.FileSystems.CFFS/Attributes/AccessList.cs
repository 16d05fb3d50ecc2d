// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Exo.FileSystems.CFFS.Attributes;

/// <summary>
/// An access control list as POSIX.1e (draft 17) has it, in the bytes that Linux gives to user space (version 2, little-endian):
/// <code>
/// | version 4 | entries of | tag 2 | permissions 2 | user or group 4 | ... |
/// </code>
/// The entries are in the order of their tags, named ones in that of their numbers. Immutable.
/// </summary>
internal sealed class AccessList
{
    public static readonly byte[] AccessName = "system.posix_acl_access"u8.ToArray();
    public static readonly byte[] DefaultName = "system.posix_acl_default"u8.ToArray();

    private const uint Version = 2;
    private const int HeaderBytes = 4;
    private const int EntryBytes = 8;
    private const ushort Owner = 1;
    private const ushort NamedUser = 2;
    private const ushort OwningGroup = 4;
    private const ushort NamedGroup = 8;
    private const ushort Mask = 16;
    private const ushort Other = 32;
    private const uint NoNumber = uint.MaxValue;

    private readonly Entry[] _entries;

    private AccessList(Entry[] entries) => _entries = entries;

    /// <summary>No list at all.</summary>
    public static AccessList None { get; } = new([]);

    public bool IsNone => _entries.Length == 0;

    /// <summary>It says more than permission bits can.</summary>
    public bool IsExtended => _entries.Length > 3;

    /// <summary>The nine permission bits that belong to it: the group's are the mask where there is one.</summary>
    public ushort Permissions => (ushort)((Of(Owner) << 6) | (GroupClass() << 3) | Of(Other));

    /// <summary>What the owning group may, as the mask leaves it.</summary>
    public ushort OwningGroupPermissions => (ushort)(Of(OwningGroup) & GroupClass());

    /// <summary>Whether a name is that of one of the two attributes.</summary>
    public static bool IsName(ReadOnlySpan<byte> name) => name.SequenceEqual(AccessName) || name.SequenceEqual(DefaultName);

    /// <summary>Reads a list; a header alone is <see cref="None"/>. False for what is none, or contradicts itself.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, out AccessList list)
    {
        list = None;
        if (bytes.Length < HeaderBytes || (bytes.Length - HeaderBytes) % EntryBytes != 0 || BinaryPrimitives.ReadUInt32LittleEndian(bytes) != Version)
        {
            return false;
        }

        Entry[] entries = new Entry[(bytes.Length - HeaderBytes) / EntryBytes];
        int seen = 0;
        for (int i = 0; i < entries.Length; i++)
        {
            ReadOnlySpan<byte> at = bytes[(HeaderBytes + (i * EntryBytes))..];
            ushort tag = BinaryPrimitives.ReadUInt16LittleEndian(at);
            bool isNamed = tag is NamedUser or NamedGroup;
            entries[i] = new Entry(tag, BinaryPrimitives.ReadUInt16LittleEndian(at[2..]), isNamed ? BinaryPrimitives.ReadUInt32LittleEndian(at[4..]) : NoNumber);
            Entry before = i > 0 ? entries[i - 1] : default;
            if (tag is not (Owner or NamedUser or OwningGroup or NamedGroup or Mask or Other)
                || entries[i].Permissions > 7
                || tag < before.Tag
                || (tag == before.Tag && !(isNamed && entries[i].Number > before.Number))
                || (isNamed && entries[i].Number == NoNumber))
            {
                return false;
            }

            seen |= tag;
        }

        const int Always = Owner | OwningGroup | Other;
        bool isWhole = entries.Length == 0 || ((seen & Always) == Always && ((seen & (NamedUser | NamedGroup)) == 0 || (seen & Mask) != 0));
        list = isWhole ? new AccessList(entries) : None;
        return isWhole;
    }

    public byte[] ToBytes()
    {
        byte[] bytes = new byte[HeaderBytes + (_entries.Length * EntryBytes)];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Version);
        for (int i = 0; i < _entries.Length; i++)
        {
            Span<byte> at = bytes.AsSpan(HeaderBytes + (i * EntryBytes));
            BinaryPrimitives.WriteUInt16LittleEndian(at, _entries[i].Tag);
            BinaryPrimitives.WriteUInt16LittleEndian(at[2..], _entries[i].Permissions);
            BinaryPrimitives.WriteUInt32LittleEndian(at[4..], _entries[i].Number);
        }

        return bytes;
    }

    /// <summary>The list after chmod: the group's bits go to the mask where there is one, else to the owning group.</summary>
    public AccessList WithPermissions(ushort permissions) => With((entry, bits) => bits, permissions);

    /// <summary>
    /// The list of something new that has this as default list and is made with some permissions: neither has more than the other. The permissions are those of the new list afterwards.
    /// </summary>
    public AccessList Inherited(ref ushort mode)
    {
        AccessList masked = With((entry, bits) => (ushort)(entry.Permissions & bits), mode);
        mode = (ushort)((mode & ~0x1FF) | masked.Permissions);
        return masked;
    }

    /// <summary>Whether somebody who is not the owner may: the entry for his user, else those for his groups, else that for others (POSIX.1e, 23.1.5).</summary>
    public bool Allows(CffsIdentity identity, uint owningGroup, int wanted)
    {
        int mask = GroupClass();
        bool isInGroup = false;
        foreach (Entry entry in _entries)
        {
            bool grants = (entry.Permissions & mask & wanted) == wanted;
            switch (entry.Tag)
            {
                case NamedUser when entry.Number == identity.User:
                    return grants;
                case OwningGroup when identity.IsInGroup(owningGroup):
                case NamedGroup when identity.IsInGroup(entry.Number):
                    if (grants)
                    {
                        return true;
                    }

                    isInGroup = true;
                    break;
            }
        }

        return !isInGroup && (Of(Other) & wanted) == wanted;
    }

    private AccessList With(Func<Entry, ushort, ushort> change, ushort permissions)
    {
        ushort groupTag = Array.Exists(_entries, static entry => entry.Tag == Mask) ? Mask : OwningGroup;
        return new AccessList(Array.ConvertAll(_entries, entry => entry.Tag switch
        {
            Owner => entry with { Permissions = change(entry, (ushort)((permissions >> 6) & 7)) },
            Other => entry with { Permissions = change(entry, (ushort)(permissions & 7)) },
            _ when entry.Tag == groupTag => entry with { Permissions = change(entry, (ushort)((permissions >> 3) & 7)) },
            _ => entry,
        }));
    }

    private ushort Of(ushort tag) => Array.Find(_entries, entry => entry.Tag == tag).Permissions;

    private ushort GroupClass() => Array.Exists(_entries, static entry => entry.Tag == Mask) ? Of(Mask) : Of(OwningGroup);

    private readonly record struct Entry(ushort Tag, ushort Permissions, uint Number);
}
