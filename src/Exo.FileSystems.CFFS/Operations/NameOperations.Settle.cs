// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Operations;

/// <content>Stale records that a crash has left: what they own is given up.</content>
internal sealed partial class NameOperations
{
    /// <summary>Clears a record that is known to be dead, with what it owns. Under the directory's lock.</summary>
    public ValueTask RemoveDeadAsync(Inode directory, uint address, IoMode io) => SettleAsync(directory, address, null, null, io);

    /// <summary>As <see cref="RemoveDeadAsync"/>, and a whiteout takes the record's place and name: the rename that left it was cut off before that was durable.</summary>
    public ValueTask FinishWhiteoutAsync(Inode directory, Intent left, IoMode io) => SettleAsync(directory, left.FromAddress, null, left, io);


    /// <summary>
    /// A crash came while an inode moved out to the external table: the table has it, and its directory, from before, too. The table's counts, because other names may point there already;
    /// the directory's becomes a name like them. Under the directory's lock.
    /// </summary>
    public ValueTask FinishExternaliseAsync(Inode directory, uint address, uint tableAddress, IoMode io) => SettleAsync(directory, address, tableAddress, null, io);

    /// <summary>Gives up what a stale record owns; the record goes, or becomes a link to the external table, or a whiteout.</summary>
    private async ValueTask SettleAsync(Inode directory, uint address, uint? tableAddress, Intent? whiteout, IoMode io)
    {
        SlotPlace place = await core.Directories.PlaceAsync(directory, address, io).ConfigureAwait(false);
        try
        {
            await SettleAsync(directory, place, core.Directories.RecordAt(directory, place), tableAddress, whiteout, io).ConfigureAwait(false);
        }
        finally
        {
            core.Cache.Release(place.Frame);
        }
    }

    private async ValueTask SettleAsync(Inode directory, SlotPlace place, Record record, uint? tableAddress, Intent? whiteout, IoMode io)
    {
        // Not through the inode table: the number may belong to a living record elsewhere.
        Inode dead = new(record.Inode)
        {
            Record = record, Container = directory, SlotBlock = place.Block, SlotIndex = place.Index, SlotAddress = place.Address, SlotFrame = place.Frame,
        };
        bool isTwiceOwned = record.Count > 0 && core.IsMultiplyOwned(new BlockNumber(record.Start));
        List<FrameNumber> held = [];
        try
        {
            if (record.Kind != SlotKind.ExternalLink && record.Kind != SlotKind.Special && !isTwiceOwned)
            {
                await core.PrepareFreeAsync(dead, io).ConfigureAwait(false);
                if (record.Kind == SlotKind.Directory)
                {
                    // Only an empty directory is ever replaced.
                    bool isEmpty = await RequireEmptyAsync(dead, io).ConfigureAwait(false);
                    Invariant.Check(isEmpty);
                    held = await HoldBlocksAsync(dead, io).ConfigureAwait(false);
                }
            }

            byte[] name = new byte[record.NameLength];
            Record.ReadContents(core.Directories.SectorOf(place), place.InSector, 0, name);
            lock (core.Metadata)
            {
                core.Edit.Begin();
                StageClear(dead, isTwiceOwned);
                if (tableAddress is { } outside)
                {
                    Record link = LinkRecord(dead, name);
                    link.Start = outside;
                    link.NameSequence = record.NameSequence;
                    core.Directories.Stage(directory, place, link, name, default);
                }
                else if (whiteout is { } left)
                {
                    Record device = NewWhiteout(directory, name, CffsIdentity.Superuser);
                    (device.Inode, device.NameSequence, device.User, device.Group) = (left.OtherInode, left.OtherNameSequence, left.WhiteoutUser, left.WhiteoutGroup);
                    core.Directories.Stage(directory, place, device, name, default);
                }

                core.Edit.Apply();
            }
        }
        finally
        {
            held.ForEach(core.Cache.Release);
            core.MapEdits.ForgetMap(dead);
        }

        if (tableAddress is not null)
        {
            return;
        }

        if (whiteout is not null)
        {
            core.Directories.HandOverName(directory, record.Kind == SlotKind.Directory);
            return;
        }

        core.Directories.ForgetName(directory, record.NameHash, place.Address);
        directory.Directory!.Room.Freed(place.Address / Slot.PerBlock);
    }
}
