// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS.Operations;

/// <content>Trees that grow where nobody sees them: <see cref="ShowAsync"/> gives one its name, <see cref="DropTreeAsync"/> takes it away, and so does the mount after a crash.</content>
internal sealed partial class NameOperations
{
    /// <summary>A new, empty directory of the orphan directory, held.</summary>
    public async ValueTask<Inode> CreateHiddenAsync(IoMode io)
    {
        await core.BeginWritingAsync(io).ConfigureAwait(false);
        await core.Space.RequireAsync(1, io).ConfigureAwait(false);
        await core.Orphans.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            await core.Directories.EnsureLoadedAsync(core.Orphans, io).ConfigureAwait(false);
            Record record = NewRecord(core.Orphans, default, ModeBits.Directory | 0x1C0, 0, CffsIdentity.Superuser);
            byte[] name = OrphanName(record.Inode);
            record.NameLength = (byte)name.Length;
            record.NameHash = NameHash.Compute(name, core.Guard.HashSeed);
            return await InsertAsync(core.Orphans, record, name, default, io).ConfigureAwait(false);
        }
        finally
        {
            core.Orphans.Lock.Exit();
        }
    }
}
