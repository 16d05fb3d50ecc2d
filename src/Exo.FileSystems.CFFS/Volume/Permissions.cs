// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Attributes;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Volume;

/// <summary>UNIX permission bits, as POSIX.1 checks them: the owner's bits for the owner, else the group's for members, else the others'; and access control lists, where there are any.</summary>
internal static class Permissions
{
    public const int Read = 4;
    public const int Write = 2;
    public const int Execute = 1;

    public static void Require(Inode inode, CffsIdentity identity, int wanted)
    {
        if (!Allows(inode, identity, wanted) && !(IsListed(inode.Record, identity) && inode.Access is null && AllowsBy(inode.Attributes!.AccessOf(inode), inode.Record, identity, wanted)))
        {
            CffsException.Throw(CffsError.AccessDenied, $"inode {inode.Number}: mode {Convert.ToString(inode.Record.Mode & ModeBits.PermissionMask, 8)} denies user {identity.User}");
        }
    }

    public static void RequireOwner(Inode inode, CffsIdentity identity)
    {
        if (!identity.IsSuperuser && identity.User != inode.Record.User)
        {
            CffsException.Throw(CffsError.NotPermitted, $"inode {inode.Number} belongs to user {inode.Record.User}, not {identity.User}");
        }
    }

    /// <summary>Removing or renaming an entry needs write access to the directory and, where it is sticky, ownership of one of the two.</summary>
    public static void RequireRemoval(Inode directory, Inode entry, CffsIdentity identity) => RequireRemoval(directory, entry.Record, identity);

    /// <summary>As <see cref="RequireRemoval(Inode, Inode, CffsIdentity)"/>, by the record of the entry.</summary>
    public static void RequireRemoval(Inode directory, in Record entry, CffsIdentity identity)
    {
        Require(directory, identity, Write | Execute);
        if ((directory.Record.Mode & ModeBits.Sticky) != 0 && !identity.IsSuperuser
            && identity.User != directory.Record.User && identity.User != entry.User)
        {
            CffsException.Throw(CffsError.NotPermitted, $"directory {directory.Number} is sticky and inode {entry.Inode} belongs to another user");
        }
    }

    /// <summary>Whether an identity may, as far as is known without I/O: false, too, where an access control list may have to be read first (<see cref="Require"/> does).</summary>
    public static bool Allows(Inode inode, CffsIdentity identity, int wanted) =>
        IsListed(inode.Record, identity) ? inode.Access is { } list && AllowsBy(list, inode.Record, identity, wanted) : AllowsByMode(inode.Record, identity, wanted);

    /// <summary>As <see cref="Allows(Inode, CffsIdentity, int)"/>, by the record.</summary>
    public static bool Allows(in Record record, CffsIdentity identity, int wanted) => !IsListed(record, identity) && AllowsByMode(record, identity, wanted);

    /// <summary>Whether an access control list may decide: of what has attributes, for anybody but the owner.</summary>
    private static bool IsListed(in Record record, CffsIdentity identity) => record.Attributes != 0 && !identity.IsSuperuser && identity.User != record.User;

    private static bool AllowsBy(AccessList list, in Record record, CffsIdentity identity, int wanted) =>
        list.IsNone ? AllowsByMode(record, identity, wanted) : list.Allows(identity, record.Group, wanted);

    private static bool AllowsByMode(in Record record, CffsIdentity identity, int wanted)
    {
        if (identity.IsSuperuser)
        {
            return true;
        }

        int shift = identity.User == record.User ? 6 : identity.IsInGroup(record.Group) ? 3 : 0;
        return ((record.Mode >> shift) & wanted) == wanted;
    }
}
