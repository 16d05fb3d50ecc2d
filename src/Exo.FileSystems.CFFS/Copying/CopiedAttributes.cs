// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS.Copying;

/// <summary>What a copy has of its original's attributes: permissions, owners, and the times of the last read and change of contents. When it was made, and last changed otherwise, are its own.</summary>
internal readonly record struct CopiedAttributes(ushort Mode, uint User, uint Group, long AccessTime, long ModifyTime)
{
    public static CopiedAttributes Of(in Record record) => new(record.Mode, record.User, record.Group, record.AccessTime, record.ModifyTime);

    public ushort Permissions => (ushort)(Mode & ModeBits.PermissionMask);

    public void ApplyTo(ref Record record)
    {
        record.Mode = (ushort)((record.Mode & ModeBits.TypeMask) | Permissions);
        record.User = User;
        record.Group = Group;
        record.AccessTime = AccessTime;
        record.ModifyTime = ModifyTime;
    }
}
