// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Attributes;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Operations;

/// <content>
/// Access control lists that new inodes inherit from their directory. They come with the record, in one transaction: a crash leaves both or neither. A directory without its default list would
/// give all that is made in it later to others than the list says.
/// </content>
internal sealed partial class NameOperations
{
    /// <summary>What a new inode inherits.</summary>
    /// <param name="Mode">Its mode.</param>
    /// <param name="Lists">Its access control lists, as the block of its attributes has them; null: it has none.</param>
    private readonly record struct Inheritance(ushort Mode, InheritedLists? Lists);

    /// <summary>Under the directory's lock. Refuses where there is no room for the lists.</summary>
    private async ValueTask<Inheritance> InheritAsync(Inode directory, ushort mode, ushort? umask, IoMode io)
    {
        CffsKind kind = ModeBits.KindOf(mode);
        if (umask is not { } masked || kind == CffsKind.SymbolicLink)
        {
            return new Inheritance(mode, null);
        }

        AccessList defaults = await core.Attributes.DefaultOfAsync(directory, io).ConfigureAwait(false);
        if (defaults.IsNone)
        {
            return new Inheritance((ushort)(mode & ~(masked & 0x1FF)), null);
        }

        AccessList access = defaults.Inherited(ref mode);
        if (kind is not (CffsKind.File or CffsKind.Directory))
        {
            // What has no attributes has no more for the owning group than the list would leave it.
            return new Inheritance((ushort)((mode & ~0x38) | (access.OwningGroupPermissions << 3)), null);
        }

        InheritedLists? lists = InheritedLists.Of(access, kind == CffsKind.Directory ? defaults : AccessList.None);
        if (lists is not null)
        {
            await core.Space.RequireAsync(1, io).ConfigureAwait(false);
        }

        return new Inheritance(mode, lists);
    }

    /// <summary>Room for a record and, where it has lists, a frame for them: both are the caller's.</summary>
    private async ValueTask<(SlotPlace Place, FrameNumber Lists)> MakeRoomAsync(Inode directory, Record record, InheritedLists? lists, IoMode io)
    {
        FrameNumber frame = lists is null ? default : await core.Cache.TakeFrameAsync(io).ConfigureAwait(false);
        try
        {
            return (await core.Directories.MakeRoomAsync(directory, record.Slots, default, io).ConfigureAwait(false), frame);
        }
        catch
        {
            if (lists is not null)
            {
                core.Cache.Release(frame);
            }

            throw;
        }
    }
}
