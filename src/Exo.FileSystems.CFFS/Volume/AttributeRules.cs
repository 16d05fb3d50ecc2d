// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Volume;

/// <summary>Who may change which attribute (POSIX chmod, chown, utimensat, truncate), and what changes with it.</summary>
internal static class AttributeRules
{
    public static void Check(Inode inode, in CffsAttributeChange change, CffsIdentity identity)
    {
        if (identity.IsSuperuser)
        {
            return;
        }

        if (change.Permissions is not null || change.AccessTimeNs is not null || change.ModifyTimeNs is not null)
        {
            Permissions.RequireOwner(inode, identity);
        }

        if (change.User is { } user && (user != inode.Record.User || identity.User != user))
        {
            CffsException.Throw(CffsError.NotPermitted, "only the superuser gives files away");
        }

        if (change.Group is { } group)
        {
            Permissions.RequireOwner(inode, identity);
            if (!identity.IsInGroup(group))
            {
                CffsException.Throw(CffsError.NotPermitted, $"user {identity.User} is not in group {group}");
            }
        }

        if (change.Size is not null)
        {
            Permissions.Require(inode, identity, Permissions.Write);
        }
    }

    public static void Apply(ref Record record, in CffsAttributeChange change, CffsIdentity identity, long now)
    {
        record.User = change.User ?? record.User;
        record.Group = change.Group ?? record.Group;
        if (change.Permissions is { } permissions)
        {
            record.Mode = (ushort)((record.Mode & ModeBits.TypeMask) | (permissions & ModeBits.PermissionMask));
            if (!identity.IsSuperuser && !identity.IsInGroup(record.Group))
            {
                record.Mode &= unchecked((ushort)~ModeBits.SetGroup);
            }
        }
        else if (!identity.IsSuperuser && record.Kind != SlotKind.Directory && (change.User is not null || change.Group is not null || change.Size is not null))
        {
            record.Mode = ModeBits.WithoutSetId(record.Mode);
        }

        record.AccessTime = change.AccessTimeNs ?? record.AccessTime;
        record.ModifyTime = change.ModifyTimeNs ?? record.ModifyTime;
        record.ChangeTime = now;
    }
}
