// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <content>
/// Lost directories. Their slot sectors say whose they are, with a checksum that binds them to their place. Searched are the blocks that nothing leads to: those that the free map calls used,
/// where it can be believed; all of them otherwise, if something was found damaged. (Then what was deleted since the last unmount may come back: into lost+found, never over anything.)
/// </content>
internal sealed partial class VolumeRepair
{
    // What pointers lead to before anything is decided.
    private OwnershipMap _reached = null!;
    private bool _isSalvaging;

    private void Salvage()
    {
        _reached = new OwnershipMap(_xn.BlockCount, _sharesContents);
        foreach (RepairRecord record in _records)
        {
            MarkReached(record);
        }

        if (_free is null && !_hasLoss && report.Before.IsClean)
        {
            return;
        }

        Dictionary<ulong, List<ulong>> found = SearchSlotBlocks(out HashSet<ulong> below);
        if (found.Count == 0)
        {
            return;
        }

        _isSalvaging = true;

        // What belongs to directories that are there; what lies below no other lost directory; then the rest, which has lost its top.
        for (int pass = 0; pass < 3; pass++)
        {
            foreach ((ulong owner, List<ulong> slotBlocks) in found.OrderBy(item => item.Key))
            {
                slotBlocks.RemoveAll(_slotBlocks.Contains);
                if (slotBlocks.Count == 0)
                {
                    continue;
                }

                if (_directories.TryGetValue(owner, out RepairDirectory? directory))
                {
                    // Directories do not shrink, and numbers are not given out twice: a block of a living one was lost, however it was.
                    Attach(directory, slotBlocks);
                }
                else if (pass > 0 && owner >= Superblock.FirstInode && !_byInode.ContainsKey(owner) && (pass == 2 || !below.Contains(owner)))
                {
                    MakeLostDirectory(owner, slotBlocks);
                }
            }
        }

        _isSalvaging = false;
        RemoveStale();
    }

    private void MarkReached(RepairRecord record)
    {
        if (record.IsRemoved)
        {
            return;
        }

        foreach (RepairExtent extent in record.Extents)
        {
            _reached.TryOwn(extent.Start, extent.Count, isContents: false, [], out _);
        }

        foreach (ulong node in record.Nodes)
        {
            _reached.TryOwn(node, isContents: false);
        }

        if (record.OwnsBlocks && record.Now.Attributes != 0)
        {
            _reached.TryOwn(record.Now.Attributes, isContents: false);
        }

        _reached.TryOwn(_superblock, isContents: false);
    }

    /// <summary>Blocks that prove to be slot blocks, by owner; and the directories that lie in them.</summary>
    private Dictionary<ulong, List<ulong>> SearchSlotBlocks(out HashSet<ulong> below)
    {
        Dictionary<ulong, List<ulong>> found = [];
        HashSet<ulong> directories = [];
        List<ulong> batch = [];
        void Search()
        {
            blocks.ReadAll(batch, (index, bytes) =>
            {
                Progressed("lost directories");
                if (!bytes.IsEmpty && LivingOwner(bytes, batch[index], directories) is { } owner)
                {
                    if (!found.TryGetValue(owner, out List<ulong>? list))
                    {
                        found.Add(owner, list = []);
                    }

                    list.Add(batch[index]);
                }
            });
            batch.Clear();
        }

        for (ulong block = _xn.DataStart; block < _xn.BlockCount; block++)
        {
            if (!_reached.IsOwned(block) && !IsFree(block) && (_foreign is null || _foreign.IsFree(block)))
            {
                batch.Add(block);
                if (batch.Count == RawBlocks.BatchBlocks)
                {
                    Search();
                }
            }
        }

        Search();
        below = directories;
        return found;
    }

    /// <summary>Whose slot block this is, if there is a record in it.</summary>
    private ulong? LivingOwner(ReadOnlySpan<byte> block, ulong number, HashSet<ulong> directories)
    {
        if (ProvedOwner(block, number, SectorKind.Slots, 0) is not { } owner || owner is 0 or Superblock.OrphanInode or >= 1UL << 62)
        {
            return null;
        }

        bool isLiving = false;
        for (int index = 0; index < Slot.PerBlock; index++)
        {
            ReadOnlySpan<byte> sector = block.Slice(index / Slot.PerSector * Sector.SizeBytes, Sector.SizeBytes);
            if (BinaryPrimitives.ReadUInt32LittleEndian(sector[Sector.Magic..]) == (uint)SectorKind.Slots && Layout.Record.TryParse(sector, index % Slot.PerSector, out Record record))
            {
                isLiving = true;
                if (record.Kind == SlotKind.Directory)
                {
                    directories.Add(record.Inode);
                }
            }
        }

        return isLiving ? owner : null;
    }

    /// <summary>Gives a directory blocks of its own that it had lost.</summary>
    private void Attach(RepairDirectory directory, List<ulong> slotBlocks)
    {
        Act("salvaged-blocks", $"{slotBlocks.Count} lost blocks are given back to directory {directory.Inode}", directory.Inode, slotBlocks[0]);
        ulong logical = directory.Blocks.Count == 0 ? 0 : directory.Blocks.Max(item => item.Logical) + 1;
        directory.Record.IsMapDirty = true;
        _queue.Enqueue((directory, [.. slotBlocks.Select(block => new RepairExtent(logical++, block, 1, TreeEntryKind.Contents))]));
        int disowned = _disowned.Count;
        WalkQueue();
        for (int i = disowned; i < _disowned.Count; i++)
        {
            Disown(_disowned[i].Record, _disowned[i].Proved);
            WalkQueue();
        }
    }

    private void MakeLostDirectory(ulong inode, List<ulong> slotBlocks)
    {
        Act("salvaged-directory", $"directory {inode} has lost its name: it is put into lost+found", inode, slotBlocks[0]);
        RepairRecord record = new()
        {
            Now = new Record
            {
                Kind = SlotKind.Directory, Inode = inode, Mode = ModeBits.Directory | 0x1C0, AccessTime = _state.LastWriteTime, ModifyTime = _state.LastWriteTime,
                ChangeTime = _state.LastWriteTime, BirthTime = _state.LastWriteTime,
            },
            IsMoved = true, IsSalvaged = true, IsDirty = true, Map = [],
        };
        RepairDirectory directory = new() { Inode = inode, Record = record };
        _records.Add(record);
        _byInode.Add(inode, record);
        _directories.Add(inode, directory);
        _inodeMax = Math.Max(_inodeMax, inode & ~Superblock.SnapshotInodes);
        Attach(directory, slotBlocks);
    }
}
