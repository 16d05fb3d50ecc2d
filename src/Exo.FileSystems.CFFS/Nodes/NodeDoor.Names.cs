// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;

namespace Exo.FileSystems.CFFS.Nodes;

/// <content>Names below a directory's inode.</content>
internal sealed partial class NodeDoor
{
    /// <summary>Makes an inode with a name, or finds the one that has it where <paramref name="exclusive"/> is false.</summary>
    public (Inode Inode, bool Created) Create(
        Inode directory, ReadOnlyMemory<byte> name, ushort mode, ulong device, ReadOnlyMemory<byte> target, bool exclusive, uint user, uint group, ushort umask = 0)
    {
        if (target.Length > 4095)
        {
            CffsException.Throw(CffsError.NameTooLong, "a symbolic link's target has 1 to 4095 bytes");
        }

        return core.Names.CreateWithContentsAsync(directory, name, mode, device, target, exclusive, CffsIdentity.Trusted(user, group), IoMode.Sync, umask).Take();
    }

    public void Link(Inode inode, Inode directory, ReadOnlyMemory<byte> name) =>
        core.Names.LinkAsync(inode, directory, name, CffsIdentity.Superuser, IoMode.Sync).Take();

    public void Rename(Inode from, ReadOnlyMemory<byte> fromName, Inode to, ReadOnlyMemory<byte> toName, bool mayReplace) =>
        core.Names.RenameAsync(from, fromName, to, toName, mayReplace, whiteoutOwner: null, CffsIdentity.Superuser, IoMode.Sync).Take();

    /// <summary>A rename that leaves a whiteout, in one step.</summary>
    public void RenameWithWhiteout(Inode from, ReadOnlyMemory<byte> fromName, Inode to, ReadOnlyMemory<byte> toName, bool mayReplace, uint user, uint group) =>
        core.Names.RenameAsync(from, fromName, to, toName, mayReplace, CffsIdentity.Trusted(user, group), CffsIdentity.Superuser, IoMode.Sync).Take();

    /// <summary>Two names change places, in one step.</summary>
    public void Exchange(Inode from, ReadOnlyMemory<byte> fromName, Inode to, ReadOnlyMemory<byte> toName) =>
        core.Names.ExchangeAsync(from, fromName, to, toName, CffsIdentity.Superuser, IoMode.Sync).Take();

    /// <summary>A file without a name, opened: the handle holds the inode, too. <see cref="Link"/> gives it a name.</summary>
    public Inode CreateUnnamed(Inode directory, ushort mode, uint user, uint group, ushort umask = 0) =>
        core.Names.CreateUnnamedAsync(directory, mode, CffsIdentity.Trusted(user, group), IoMode.Sync, umask).Take();

    public void Remove(Inode directory, ReadOnlyMemory<byte> name, bool isDirectory) =>
        core.Names.RemoveAsync(directory, name, isDirectory, CffsIdentity.Superuser, IoMode.Sync).Take();

    public byte[] ReadLink(Inode inode) => core.Files.ReadLinkAsync(inode, IoMode.Sync).Take();
}
