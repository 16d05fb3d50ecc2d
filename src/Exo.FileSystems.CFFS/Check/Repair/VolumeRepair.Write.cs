// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <content>From what is decided to sectors: maps in fresh nodes, attributes, records.</content>
internal sealed partial class VolumeRepair
{
    private readonly HashSet<ulong> _taken = [];
    private OwnershipMap? _kept;
    private ulong _takeFrom;
    private uint _sequence;

    /// <summary>
    /// A block that nothing owns: first of those that nothing has owned, so that a power cut in the middle of the repair leaves everything to the next; then of those that have been given up.
    /// Null: the disk is full.
    /// </summary>
    private ulong? Take(uint count = 1)
    {
        if (_kept is null)
        {
            _kept = new OwnershipMap(_xn.BlockCount, _sharesContents);
            _kept.TryOwn(_superblock, isContents: false);
            foreach (Claim claim in _records.Where(record => record.IsLive).SelectMany(ClaimsOf))
            {
                _kept.TryOwn(claim.Start, claim.End - claim.Start, isContents: false, [], out _);
            }

            _takeFrom = _xn.DataStart;
        }

        for (int pass = 0; pass < 3; pass++)
        {
            uint run = 0;
            for (ulong block = pass == 0 && count == 1 ? _takeFrom : _xn.DataStart; block < _xn.BlockCount; block++)
            {
                bool isFree = !_kept.IsOwned(block) && !_taken.Contains(block) && (_foreign is null || _foreign.IsFree(block))
                    && (pass == 2 || !_reached.IsOwned(block)) && (pass > 0 || _free is null || IsFree(block));
                run = isFree ? run + 1 : 0;
                if (run == count)
                {
                    ulong first = block + 1 - count;
                    for (uint i = 0; i < count; i++)
                    {
                        _taken.Add(first + i);
                    }

                    _takeFrom = pass == 0 && count == 1 ? block + 1 : _takeFrom;
                    return first;
                }
            }
        }

        return null;
    }

    private byte[] InlineOf(RepairRecord record)
    {
        byte[] inline = new byte[record.Now.InlineLength];
        if (inline.Length > 0)
        {
            byte[] block = new byte[4096];
            _edits.TryRead(record.Block, block);
            Layout.Record.ReadContents(SectorOf(block, record), record.Index % Slot.PerSector, record.NameLengthFound, inline);
        }

        return inline;
    }

    private void RewriteMaps()
    {
        foreach (RepairRecord record in _records.Where(record => record is { IsLive: true, IsMapDirty: true }))
        {
            if (record == _log)
            {
                RewriteLog();
                continue;
            }

            List<RepairExtent> extents = [.. record.Map!.OrderBy(extent => extent.Logical)];
            record.IsDirty = true;
            if (record.Now.Kind == SlotKind.Directory)
            {
                record.Now.Size = extents.Count == 0 ? 0 : (extents[^1].Logical + extents[^1].Count) * 4096;
            }

            if (!TryBuild(record, extents))
            {
                Act("no-space", $"inode {record.Now.Inode} loses extents: the disk has no room for a tree of them", record.Now.Inode, record.Block);
                TryBuild(record, extents.Count > 0 && extents[0] is { Logical: 0, Kind: TreeEntryKind.Contents } ? extents[..1] : []);
            }
        }
    }

    private bool TryBuild(RepairRecord record, List<RepairExtent> extents)
    {
        ref Record now = ref record.Now;
        if (extents.Count == 0 || (extents.Count == 1 && extents[0] is { Logical: 0, Kind: TreeEntryKind.Contents }))
        {
            now.Depth = 0;
            now.Start = extents.Count == 0 ? 0 : extents[0].Start;
            now.Count = extents.Count == 0 ? 0 : extents[0].Count;
            return true;
        }

        List<TreeEntry> level = [.. extents.Select(extent => new TreeEntry(extent.Logical, extent.Start, extent.Count, extent.Kind))];
        byte depth = 0;
        do
        {
            depth++;
            List<TreeEntry> above = [];
            for (int from = 0; from < level.Count; from += TreeNode.EntriesPerNode)
            {
                if (depth > TreeNode.DepthMax || Take() is not { } node)
                {
                    return false;
                }

                StageNode(node, now.Inode, depth, level[from..Math.Min(level.Count, from + TreeNode.EntriesPerNode)]);
                above.Add(new TreeEntry(0, node, 1, TreeEntryKind.Node));
            }

            level = above;
        }
        while (level.Count > 1);

        now.Depth = depth;
        now.Start = level[0].Start;
        now.Count = 1;
        return true;
    }

    private void StageNode(ulong node, ulong inode, byte depth, List<TreeEntry> entries)
    {
        _edits.Fresh(node);
        for (int s = 0; s * TreeNode.EntriesPerSector < entries.Count; s++)
        {
            int first = s * TreeNode.EntriesPerSector;
            _edits.Change(node, s, SectorKind.Tree, inode, RepairStep.New, sector =>
            {
                for (int i = first; i < Math.Min(entries.Count, first + TreeNode.EntriesPerSector); i++)
                {
                    entries[i].Emit(sector[((i - first) * TreeEntry.SizeBytes)..]);
                }

                sector[TreeNode.Level] = depth;
            });
        }
    }

    private void RewriteAttributes()
    {
        foreach (RepairRecord record in _records.Where(record => record is { IsLive: true, Attributes: not null }))
        {
            if (Take() is not { } block)
            {
                Act("no-space", $"inode {record.Now.Inode} loses its extended attributes: the disk has no room for a copy of them", record.Now.Inode, record.Block);
                continue;
            }

            byte[] bytes = record.Attributes!;
            AttributeBlock.Seal(bytes, BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(AttributeBlock.EntryBytes)), record.Now.Inode, _guard.ChecksumSeed, block);
            _edits.Replace(block, bytes, RepairStep.New);
            record.Now.Attributes = block;
        }
    }

    private void RewriteLog()
    {
        if (Take(Intent.LogBlocks) is not { } first)
        {
            throw new CffsException(CffsError.NoSpace, $"the disk has no {Intent.LogBlocks} blocks in a row for the intent log");
        }

        for (uint i = 0; i < Intent.LogBlocks; i++)
        {
            _edits.Fresh(first + i);
        }

        Act("log", $"the intent log is made anew", Superblock.LogInode, first);
        _log.Now.Start = first;
        _log.Now.Count = Intent.LogBlocks;
        _log.Now.Depth = 0;
        _log.Now.Size = Intent.LogBlocks * 4096;
        _log.IsDirty = true;
    }

    private void StageRecords()
    {
        Dictionary<RepairRecord, (RepairRecord Record, RepairDirectory Directory, ulong Block, int Index, byte[] Name, byte[] Inline)> puts = _puts.ToDictionary(put => put.Record);
        foreach (RepairRecord record in _records)
        {
            bool isPut = puts.TryGetValue(record, out (RepairRecord Record, RepairDirectory Directory, ulong Block, int Index, byte[] Name, byte[] Inline) put);
            if (record.Block != 0 && (isPut || (record.IsDirty && record.IsRemoved)))
            {
                ClearSlots(record);
            }

            if (isPut && record.IsLive)
            {
                Emit(record, put.Block, put.Index, put.Directory.Inode, put.Name, put.Inline, RepairStep.New);
            }
            else if (record.IsDirty && record.IsLive && record.Block != 0)
            {
                byte[] name = record.NewName ?? NameOf(record);
                byte[] inline = InlineOf(record);
                if (record.Owner != 0)
                {
                    ClearSlots(record);
                }

                record.Now.NameLength = (byte)name.Length;
                record.Now.NameHash = record.Owner is 0 || name.Length == 0 ? 0 : record.Now.NameHash;
                record.Now.Slots = (byte)Slot.SlotsFor(name.Length + inline.Length);
                Emit(record, record.Block, record.Index, record.Owner, name, inline, RepairStep.Old);
            }
        }
    }

    private void ClearSlots(RepairRecord record)
    {
        int from = record.Index % Slot.PerSector * Slot.SizeBytes;
        _edits.Change(record.Block, record.Index / Slot.PerSector, SectorKind.Slots, record.Owner, RepairStep.Old, sector => sector.Slice(from, record.SlotsFound * Slot.SizeBytes).Clear());
    }

    private void Emit(RepairRecord record, ulong block, int index, ulong owner, byte[] name, byte[] inline, RepairStep step)
    {
        int inSector = index % Slot.PerSector;
        _edits.Change(block, index / Slot.PerSector, SectorKind.Slots, owner, step, sector => Directories.DirectoryStore.StageInto(sector, inSector, record.Now, name, inline));
    }
}
