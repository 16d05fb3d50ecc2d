// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <content>
/// Who is who, and whose is what. Of several claims to a block the strongest counts; the others lose it, which leaves a hole, and keep their size.
/// </content>
internal sealed partial class VolumeRepair
{
    // Claims, strongest last. Ties: the record changed last (a record that should have gone when its blocks were given to another is the older one), then the smaller inode number.
    private const int ClaimBeyondSize = 0;
    private const int ClaimSalvaged = 1;
    private const int ClaimWithinSize = 2;
    private const int ClaimProved = 3;
    private const int ClaimBuiltIn = 4;

    private const int NodeClaim = -1;
    private const int AttributesClaim = -2;

    private readonly record struct Claim(RepairRecord Record, int Extent, ulong Start, ulong End, int Strength, bool IsContents);

    private ulong NewInode() => ++_inodeMax;

    /// <summary>One number, one inode.</summary>
    private void DecideInodes()
    {
        foreach (RepairRecord second in _duplicates)
        {
            if (second.IsRemoved)
            {
                continue;
            }

            RepairRecord? first = _byInode.GetValueOrDefault(second.Now.Inode);
            if (second.Now.Inode < Superblock.FirstInode || first is null)
            {
                Renumber(second);
                continue;
            }

            bool isStale = first.LeadsWhere(second) ? second.Now.Count > 0 : _free is null;
            if (isStale && second.IsSalvaged && !first.IsSalvaged)
            {
                Remove(second, "stale", "it was found without a way to it, and its inode has another record");
            }
            else if (isStale && first.IsSalvaged && !second.IsSalvaged && first.Now.Kind != SlotKind.Directory)
            {
                _byInode[second.Now.Inode] = second;
                Remove(first, "stale", "it was found without a way to it, and its inode has another record");
            }
            else if ((_isUnclean || first.LeadsWhere(second)) && (first.Owner == Superblock.ExternalInode) != (second.Owner == Superblock.ExternalInode))
            {
                // It was moving out to the external table when the crash came: the table's record counts, and the directory's becomes a name of it.
                (RepairRecord outside, RepairRecord inside) = first.Owner == Superblock.ExternalInode ? (first, second) : (second, first);
                _byInode[outside.Now.Inode] = outside;
                BecomeLink(inside);
            }
            else if (_moving.Contains(second.Now.Inode) || (first.LeadsWhere(second) && second.Now.Count > 0))
            {
                (RepairRecord later, RepairRecord earlier) = (int)(second.Now.NameSequence - first.Now.NameSequence) > 0 ? (second, first) : (first, second);
                _byInode[later.Now.Inode] = later;
                Remove(earlier, "duplicate-inode", "the inode is found twice, and this is the earlier name");
            }
            else
            {
                Renumber(second);
            }
        }
    }

    private void Renumber(RepairRecord record)
    {
        ulong number = NewInode();
        Act("inode-number", $"inode {record.Now.Inode} is found twice or cannot be: one gets the number {number}", record.Now.Inode, record.Block);
        record.Now.Inode = number;
        record.IsDirty = true;

        // The trailers of its tree nodes say whose they are.
        record.IsMapDirty |= record.Now.Depth > 0;
        _byInode[number] = record;
    }

    private void BecomeLink(RepairRecord record)
    {
        Act("unfinished-move", $"a record of inode {record.Now.Inode} becomes a name of its record in the external table", record.Now.Inode, record.Block);
        record.Now = new Record
        {
            Kind = SlotKind.ExternalLink, NameLength = record.Now.NameLength, NameHash = record.Now.NameHash, NameSequence = record.Now.NameSequence, Inode = record.Now.Inode, Mode = record.Now.Mode,
        };
        record.Map = null;
        record.Nodes.Clear();
        record.IsMapDirty = false;
        record.IsDirty = true;
        _links.Add(record);
    }

    private void DecideClaims()
    {
        foreach (RepairDirectory directory in _directories.Values.Where(directory => directory.Record.IsMapDirty))
        {
            // Its index is derived, and made anew when it is needed.
            directory.Record.Map = Runs(directory.Blocks);
        }

        OwnershipMap owners = new(_xn.BlockCount, SharesContents);
        HashSet<ulong> disputed = [];
        owners.TryOwn(_superblock, isContents: false);
        foreach (Claim claim in _records.Where(record => record.IsLive).SelectMany(ClaimsOf))
        {
            for (ulong block = claim.Start; block < claim.End; block++)
            {
                if (!owners.TryOwn(block, claim.IsContents))
                {
                    disputed.Add(block);
                }
            }
        }

        if (disputed.Count > 0)
        {
            Settle(disputed);
        }

        foreach (RepairDirectory directory in _directories.Values.Where(directory => directory.Record.IsMapDirty))
        {
            Renumber(directory);
        }
    }

    private IEnumerable<Claim> ClaimsOf(RepairRecord record)
    {
        if (!record.OwnsBlocks)
        {
            yield break;
        }

        int index = 0;
        int weakest = record.Owner == 0 && record.Now.Kind == SlotKind.Log ? ClaimBuiltIn : record.IsSalvaged ? ClaimSalvaged : ClaimWithinSize;
        ulong sizeBlocks = (record.Now.Size + 4095) / 4096;
        foreach (RepairExtent extent in record.Extents)
        {
            if (record.Now.Kind == SlotKind.Directory && extent.Kind == TreeEntryKind.Contents)
            {
                // The walk has seen to it that they are: each block says whose it is, or is empty.
                yield return new Claim(record, index, extent.Start, extent.Start + extent.Count, ClaimProved, IsContents: false);
            }
            else
            {
                ulong within = weakest == ClaimBuiltIn || record.Now.Kind == SlotKind.Directory ? extent.Count : Math.Min(extent.Count, sizeBlocks > extent.Logical ? sizeBlocks - extent.Logical : 0);
                bool isContents = record.Now.Kind is SlotKind.File or SlotKind.SymbolicLink;
                if (within > 0)
                {
                    yield return new Claim(record, index, extent.Start, extent.Start + within, weakest, isContents);
                }

                if (within < extent.Count)
                {
                    yield return new Claim(record, index, extent.Start + within, extent.Start + extent.Count, ClaimBeyondSize, isContents);
                }
            }

            index++;
        }

        foreach (ulong node in record.IsMapDirty ? [] : record.Nodes)
        {
            yield return new Claim(record, NodeClaim, node, node + 1, ClaimProved, IsContents: false);
        }

        if (record.Now.Attributes != 0)
        {
            yield return new Claim(record, AttributesClaim, record.Now.Attributes, record.Now.Attributes + 1, weakest, IsContents: false);
        }
    }

    private void Settle(HashSet<ulong> disputed)
    {
        // Each disputed block with its best claim. To the superblock's block nobody has one.
        Dictionary<ulong, Claim> best = [];
        List<Claim> claims = [];
        foreach (Claim claim in _records.Where(record => record.IsLive).SelectMany(ClaimsOf))
        {
            bool isTouched = false;
            for (ulong block = claim.Start; block < claim.End; block++)
            {
                if (disputed.Contains(block))
                {
                    isTouched = true;
                    if (!best.TryGetValue(block, out Claim other) || IsStronger(claim, other))
                    {
                        best[block] = claim;
                    }
                }
            }

            if (isTouched)
            {
                claims.Add(claim);
            }
        }

        foreach (IGrouping<RepairRecord, Claim> mine in claims.GroupBy(claim => claim.Record))
        {
            RepairRecord record = mine.Key;
            List<RepairExtent> extents = [.. record.Extents];
            Dictionary<int, HashSet<ulong>> lost = [];
            foreach (Claim claim in mine)
            {
                for (ulong block = claim.Start; block < claim.End; block++)
                {
                    if (disputed.Contains(block) && (best[block] != claim || block == _superblock))
                    {
                        if (!lost.TryGetValue(claim.Extent, out HashSet<ulong>? set))
                        {
                            lost.Add(claim.Extent, set = []);
                        }

                        set.Add(block);
                    }
                }
            }

            if (lost.Count > 0)
            {
                Lose(record, extents, lost);
            }
        }
    }

    private static bool IsStronger(in Claim claim, in Claim than) =>
        claim.Strength != than.Strength ? claim.Strength > than.Strength
        : claim.Record.Now.ChangeTime != than.Record.Now.ChangeTime ? claim.Record.Now.ChangeTime > than.Record.Now.ChangeTime
        : claim.Record.Now.Inode < than.Record.Now.Inode;

    private void Lose(RepairRecord record, List<RepairExtent> extents, Dictionary<int, HashSet<ulong>> lost)
    {
        long count = lost.Sum(item => item.Value.Count);
        Act("block-twice", $"inode {record.Now.Inode} loses {count} blocks to a better claim: there are holes now", record.Now.Inode, lost.First().Value.Min());
        if (lost.ContainsKey(AttributesClaim))
        {
            record.Now.Attributes = 0;
            record.IsDirty = true;
        }

        if (!lost.Keys.Any(extent => extent != AttributesClaim))
        {
            return;
        }

        List<RepairExtent> kept = [];
        for (int i = 0; i < extents.Count; i++)
        {
            if (!lost.TryGetValue(i, out HashSet<ulong>? gone))
            {
                kept.Add(extents[i]);
                continue;
            }

            uint from = 0;
            for (uint at = 0; at <= extents[i].Count; at++)
            {
                if (at == extents[i].Count || gone.Contains(extents[i].Start + at))
                {
                    if (at > from)
                    {
                        kept.Add(new RepairExtent(extents[i].Logical + from, extents[i].Start + from, at - from, extents[i].Kind));
                    }

                    from = at + 1;
                }
            }
        }

        record.Map = kept;
        record.IsMapDirty = true;
        if (record.Now.Kind == SlotKind.Directory && _directories.TryGetValue(record.Now.Inode, out RepairDirectory? directory) && directory.Record == record)
        {
            HashSet<ulong> left = [.. kept.SelectMany(extent => Enumerable.Range(0, (int)extent.Count).Select(i => extent.Start + (ulong)i))];
            directory.Blocks.RemoveAll(item => !left.Contains(item.Block));
        }
    }

    /// <summary>A directory's blocks, in the order that they have, from logical block 0 on: slot addresses mean nothing beyond a mount, except to names of external inodes, which are mended later.</summary>
    private static void Renumber(RepairDirectory directory)
    {
        directory.Blocks.Sort();
        for (int i = 0; i < directory.Blocks.Count; i++)
        {
            directory.Blocks[i] = ((ulong)i, directory.Blocks[i].Block);
        }

        directory.Record.Map = Runs(directory.Blocks);
    }

    private static List<RepairExtent> Runs(List<(ulong Logical, ulong Block)> blocks)
    {
        List<RepairExtent> runs = [];
        foreach ((ulong logical, ulong block) in blocks.Order())
        {
            if (runs.Count > 0 && runs[^1] is var last && last.Logical + last.Count == logical && last.Start + last.Count == block)
            {
                runs[^1] = last with { Count = last.Count + 1 };
            }
            else
            {
                runs.Add(new RepairExtent(logical, block, 1, TreeEntryKind.Contents));
            }
        }

        return runs;
    }
}
