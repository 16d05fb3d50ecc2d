// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS.Files;

/// <summary>Contents of files and symbolic links. Methods run under the inode's lock unless they say otherwise.</summary>
internal sealed partial class FileStore(VolumeCore core)
{
    /// <summary>Blocks moved in one step of a long read or write: 1 MiB.</summary>
    public const int StepBlocks = 256;

    private const int BlockBytes = 4096;
    private const long SizeMax = 1L << 46;

    /// <summary>The target of a symbolic link. Takes the inode's lock.</summary>
    public async ValueTask<byte[]> ReadLinkAsync(Inode inode, IoMode mode)
    {
        await inode.Lock.EnterAsync(mode).ConfigureAwait(false);
        try
        {
            if (inode.Record.Kind != SlotKind.SymbolicLink || inode.Record.Size > BlockBytes)
            {
                throw new CffsException(CffsError.Invalid, "no symbolic link");
            }

            byte[] target = new byte[inode.Record.Size];
            int read = await ReadAsync(inode, 0, target, mode).ConfigureAwait(false);
            return read == target.Length ? target : throw new CffsException(CffsError.Corrupt, $"symbolic link {inode.Number} is cut short");
        }
        finally
        {
            inode.Lock.Exit();
        }
    }

    /// <summary>Notes a read in a record of which no inode is in memory. If it cannot be noted, it is not. Under the lock of its directory.</summary>
    public void NoteAccess(Inode directory, in SlotPlace place, Record record)
    {
        lock (core.Metadata)
        {
            if (core.IsWriting)
            {
                record.AccessTime = core.Now();
                core.Edit.Begin();
                record.Emit(core.Edit.Sector(place.Block, place.Frame, place.SectorIndex, SectorKind.Slots, directory.Number), place.InSector);
                _ = core.Edit.TryApply();
            }
        }
    }

    /// <summary>Notes a read for the access time, when that is older than the last change: <c>relatime</c>, but for its once a day, which would cost each read a look at a clock.</summary>
    /// <param name="inode">What was read, under its lock.</param>
    /// <param name="movesTime">False: the time stays (<c>noatime</c>); what is read ahead still learns of the use.</param>
    public void Accessed(Inode inode, bool movesTime = true)
    {
        if (inode.Container is { HasContentsAhead: true } directory)
        {
            ContentsUsed(directory);
        }

        if (!movesTime || !WantsAccessTime(inode.Record))
        {
            return;
        }

        lock (core.Metadata)
        {
            if (!inode.IsRemoved && core.IsWriting)
            {
                inode.Record.AccessTime = core.Now();
                core.Committer.AddDirty(inode);
            }
        }
    }

    /// <summary>Whether a read is to be noted as <see cref="Accessed"/> says.</summary>
    public bool WantsAccessTime(in Record record) =>
        !core.IsReadOnly && (record.Inode & Superblock.SnapshotInodes) == 0 && (record.AccessTime <= record.ModifyTime || record.AccessTime <= record.ChangeTime);
}
