// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Paths;

namespace Exo.FileSystems.CFFS.Operations;

/// <content>Two names change places (<c>RENAME_EXCHANGE</c>).</content>
internal sealed partial class NameOperations
{
    /// <summary>
    /// Exchanges two names by three renames, each durable before the next. Whoever keeps others from looking meanwhile, as a kernel does, sees one step; a crash may leave
    /// one of the two inodes under a name of its own beside the first name (<c>.exchange-</c> and its inode number): nothing is lost by it.
    /// </summary>
    public async ValueTask ExchangeAsync(
        Inode from, ReadOnlyMemory<byte> fromName, Inode to, ReadOnlyMemory<byte> toName, CffsIdentity identity, IoMode io)
    {
        Inode first = await RequireInodeAsync(from, fromName, identity, io).ConfigureAwait(false);
        Inode? second = null;
        try
        {
            second = await RequireInodeAsync(to, toName, identity, io).ConfigureAwait(false);
            if (first == second)
            {
                return;
            }

            if (IsAtOrAbove(first, to) || IsAtOrAbove(second, from))
            {
                throw new CffsException(CffsError.Invalid, "a directory cannot move below itself");
            }

            byte[] aside = Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $".exchange-{first.Number:x}"));
            await RenameAsync(from, fromName, from, aside, mayReplace: false, identity, io).ConfigureAwait(false);
            try
            {
                await RenameAsync(to, toName, from, fromName, mayReplace: false, identity, io).ConfigureAwait(false);
            }
            catch
            {
                await RenameAsync(from, aside, from, fromName, mayReplace: false, identity, io).ConfigureAwait(false);
                throw;
            }

            try
            {
                await RenameAsync(from, aside, to, toName, mayReplace: false, identity, io).ConfigureAwait(false);
            }
            catch
            {
                await RenameAsync(from, fromName, to, toName, mayReplace: false, identity, io).ConfigureAwait(false);
                await RenameAsync(from, aside, from, fromName, mayReplace: false, identity, io).ConfigureAwait(false);
                throw;
            }
        }
        finally
        {
            core.Inodes.Release(first);
            if (second is not null)
            {
                core.Inodes.Release(second);
            }
        }
    }

    private async ValueTask<Inode> RequireInodeAsync(Inode directory, ReadOnlyMemory<byte> name, CffsIdentity identity, IoMode io) =>
        await core.Paths.StepAsync(directory, name, identity, io).ConfigureAwait(false)
            ?? throw new CffsException(CffsError.NotFound, $"'{PathName.Display(name)}' not found");

    private static bool IsAtOrAbove(Inode inode, Inode directory)
    {
        for (Inode? above = directory; above is not null; above = above.Container)
        {
            if (above == inode)
            {
                return true;
            }
        }

        return false;
    }
}
