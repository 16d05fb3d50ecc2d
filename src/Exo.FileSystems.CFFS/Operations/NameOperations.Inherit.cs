// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Attributes;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Operations;

/// <content>
/// Access control lists that new inodes inherit from their directory. The record comes first, with no more for the owning group than the list will leave it; list and final permission bits follow in one change, so that a
/// crash between leaves nothing that somebody may use who must not.
/// </content>
internal sealed partial class NameOperations
{
    /// <summary>What a new inode inherits.</summary>
    /// <param name="Access">Its access list; one that is not extended is its mode.</param>
    /// <param name="Defaults">The directory's default list; none: it inherits nothing.</param>
    /// <param name="FirstMode">The mode of its record until it has the list.</param>
    /// <param name="Mode">Its mode.</param>
    private readonly record struct Inheritance(AccessList Access, AccessList Defaults, ushort FirstMode, ushort Mode)
    {
        public static Inheritance None { get; } = Of(0);

        public static Inheritance Of(ushort mode) => new(AccessList.None, AccessList.None, mode, mode);
    }

    /// <summary>Under the directory's lock. Refuses where there is no room for the list.</summary>
    private async ValueTask<Inheritance> InheritAsync(Inode directory, ushort mode, ushort? umask, IoMode io)
    {
        CffsKind kind = ModeBits.KindOf(mode);
        if (umask is not { } masked || kind == CffsKind.SymbolicLink)
        {
            return Inheritance.Of(mode);
        }

        AccessList defaults = await core.Attributes.DefaultOfAsync(directory, io).ConfigureAwait(false);
        if (defaults.IsNone)
        {
            return Inheritance.Of((ushort)(mode & ~(masked & 0x1FF)));
        }

        AccessList access = defaults.Inherited(ref mode);
        ushort safe = (ushort)((mode & ~0x38) | (access.OwningGroupPermissions << 3));
        if (kind is not (CffsKind.File or CffsKind.Directory))
        {
            // What has no attributes stays with the bits that are safe.
            return Inheritance.Of(safe);
        }

        await core.Space.RequireAsync(1, io).ConfigureAwait(false);
        return new Inheritance(access, defaults, safe, mode);
    }

    /// <summary>Gives a new inode what it inherits; where that cannot be, the name goes again.</summary>
    private async ValueTask GiveAsync(Inode inode, Inode directory, ReadOnlyMemory<byte> name, Inheritance inherited, bool opens, IoMode io)
    {
        try
        {
            await GiveAsync(inode, inherited, io).ConfigureAwait(false);
        }
        catch
        {
            bool isDirectory = inode.IsDirectory;
            if (opens)
            {
                _ = Interlocked.Decrement(ref inode.Opens);
            }

            core.Inodes.Release(inode);
            await RemoveAsync(directory, name, isDirectory, CffsIdentity.Superuser, io).ConfigureAwait(false);
            throw;
        }
    }

    private async ValueTask GiveAsync(Inode inode, Inheritance inherited, IoMode io)
    {
        await inode.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            ushort mode = (ushort)((inode.Record.Mode & ~0x1FF) | (inherited.Mode & 0x1FF));
            await core.Attributes.GiveAsync(inode, inherited.Access, inherited.Defaults, mode, io).ConfigureAwait(false);
        }
        finally
        {
            inode.Lock.Exit();
        }
    }
}
