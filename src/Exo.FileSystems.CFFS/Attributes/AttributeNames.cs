// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS.Attributes;

/// <summary>The namespaces of extended attributes and who may do what in them: xattr(7).</summary>
internal static class AttributeNames
{
    /// <summary>Refuses names of no namespace that is kept here.</summary>
    public static void Check(ReadOnlySpan<byte> name)
    {
        if (name.Length > AttributeBlock.NameBytesMax)
        {
            throw new CffsException(CffsError.NameTooLong, $"an attribute name of {name.Length} bytes is longer than 255");
        }

        int dot = name.IndexOf((byte)'.');
        bool isKnown = dot > 0 && NamespaceOf(name) != AttributeNamespace.None;
        if (!isKnown || dot == name.Length - 1 || name.Contains((byte)0))
        {
            throw new CffsException(isKnown ? CffsError.Invalid : CffsError.NotSupported, "extended attributes are user.*, trusted.*, security.*, and access control lists");
        }
    }

    public static AttributeNamespace NamespaceOf(ReadOnlySpan<byte> name) =>
        name.StartsWith("user."u8) ? AttributeNamespace.User
        : name.StartsWith("trusted."u8) ? AttributeNamespace.Trusted
        : name.StartsWith("security."u8) ? AttributeNamespace.Security
        : AccessList.IsName(name) ? AttributeNamespace.AccessLists
        : AttributeNamespace.None;

    /// <summary>Whether an identity sees an attribute at all.</summary>
    public static bool IsVisible(ReadOnlySpan<byte> name, CffsIdentity identity) => NamespaceOf(name) != AttributeNamespace.Trusted || identity.IsSuperuser;

    /// <summary>Reading a user attribute needs read access to the file.</summary>
    public static void RequireRead(Inode inode, ReadOnlySpan<byte> name, CffsIdentity identity)
    {
        if (NamespaceOf(name) == AttributeNamespace.User)
        {
            Permissions.Require(inode, identity, Permissions.Read);
        }
    }

    /// <summary>Writing a user attribute needs write access, a file or directory, and in a sticky directory its owner; access control lists are the owner's; the others are the superuser's.</summary>
    public static void RequireWrite(Inode inode, ReadOnlySpan<byte> name, CffsIdentity identity)
    {
        if (NamespaceOf(name) == AttributeNamespace.AccessLists)
        {
            Permissions.RequireOwner(inode, identity);
            return;
        }

        if (NamespaceOf(name) != AttributeNamespace.User)
        {
            if (!identity.IsSuperuser)
            {
                throw new CffsException(CffsError.NotPermitted, "only the superuser changes trusted.* and security.*");
            }

            return;
        }

        if (inode.Record.Kind is not (SlotKind.File or SlotKind.Directory))
        {
            throw new CffsException(CffsError.NotPermitted, "user.* is for files and directories");
        }

        if (inode.IsDirectory && (inode.Record.Mode & ModeBits.Sticky) != 0)
        {
            Permissions.RequireOwner(inode, identity);
        }

        Permissions.Require(inode, identity, Permissions.Write);
    }
}

/// <summary>What an attribute's name begins with.</summary>
internal enum AttributeNamespace
{
    None,
    User,
    Trusted,
    Security,

    /// <summary>The two names of <c>system.</c> that are kept: access control lists.</summary>
    AccessLists,
}
