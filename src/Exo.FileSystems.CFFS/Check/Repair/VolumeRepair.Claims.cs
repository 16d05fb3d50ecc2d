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

            bool isStale = first.LeadsWhere(second) && second.Now.Count > 0;
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

    /// <summary>A block of extended attributes is whole and says whose it is, or goes.</summary>
    private void DecideAttributes()
    {
        byte[] block = new byte[4096];
        foreach (RepairRecord record in _records.Where(record => record.IsLive && record.OwnsBlocks && record.Now.Attributes != 0))
        {
            ulong number = record.Now.Attributes;
            bool isRead = _edits.TryRead(number, block);
            if (isRead && AttributeBlock.IsValid(block, record.Now.Inode, _guard.ChecksumSeed, number))
            {
                continue;
            }

            record.Now.Attributes = 0;
            record.IsDirty = true;
            if (isRead && AttributeBlock.IsValid(block, record.InodeFound, _guard.ChecksumSeed, number))
            {
                record.Attributes = (byte[])block.Clone();
            }
            else
            {
                Act("attributes", $"inode {record.Now.Inode} loses its extended attributes, whose block is damaged", record.Now.Inode, number);
                _hasLoss = true;
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
        ulong[] disputed = new ulong[(_xn.BlockCount + 63) / 64];
        bool isDisputed = false;
        owners.TryOwn(_superblock, isContents: false);
        foreach (Claim claim in _records.Where(record => record.IsLive).SelectMany(ClaimsOf))
        {
            isDisputed |= !owners.TryOwn(claim.Start, claim.End - claim.Start, claim.IsContents, disputed, out _);
        }

        if (isDisputed)
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
            yield return new Claim(record, AttributesClaim, record.Now.Attributes, record.Now.Attributes + 1, ClaimProved, IsContents: false);
        }
    }

    /// <summary>Sweeps over the claims that touch disputed blocks: between one beginning or end and the next the same claims hold, and the strongest of them counts.</summary>
    private void Settle(ulong[] disputed)
    {
        List<Claim> claims = [.. _records.Where(record => record.IsLive).SelectMany(ClaimsOf).Where(claim => TouchesAny(disputed, claim.Start, claim.End))];
        claims.Sort(static (a, b) => a.Start.CompareTo(b.Start));
        List<ulong> bounds = [_superblock, _superblock + 1];
        foreach (Claim claim in claims)
        {
            bounds.Add(claim.Start);
            bounds.Add(claim.End);
        }

        bounds.Sort();
        Dictionary<RepairRecord, List<(int Extent, ulong Start, ulong End)>> lost = [];
        List<Claim> active = [];
        int next = 0;
        for (int i = 0; i + 1 < bounds.Count; i++)
        {
            (ulong from, ulong to) = (bounds[i], bounds[i + 1]);
            if (from == to)
            {
                continue;
            }

            active.RemoveAll(claim => claim.End <= from);
            for (; next < claims.Count && claims[next].Start <= from; next++)
            {
                active.Add(claims[next]);
            }

            // To the superblock's block nobody has a claim.
            int best = from == _superblock || active.Count == 0 ? -1 : 0;
            for (int a = 1; a < active.Count && best >= 0; a++)
            {
                best = IsStronger(active[a], active[best]) ? a : best;
            }

            for (int a = 0; a < active.Count; a++)
            {
                bool isShared = SharesContents && best >= 0 && active[a].IsContents && active[best].IsContents;
                if (a != best && !isShared)
                {
                    if (!lost.TryGetValue(active[a].Record, out List<(int Extent, ulong Start, ulong End)>? ranges))
                    {
                        lost.Add(active[a].Record, ranges = []);
                    }

                    ranges.Add((active[a].Extent, from, to));
                }
            }
        }

        foreach ((RepairRecord record, List<(int Extent, ulong Start, ulong End)> ranges) in lost)
        {
            Lose(record, ranges);
        }
    }

    private static bool TouchesAny(ulong[] disputed, ulong start, ulong end)
    {
        for (ulong at = start; at < end; at++)
        {
            if ((at & 63) == 0 && end - at >= 64 && disputed[at >> 6] == 0)
            {
                at += 63;
            }
            else if ((disputed[at >> 6] >> (int)(at & 63) & 1) != 0)
            {
                return true;
            }
        }

        return false;
    }

    private static bool IsStronger(in Claim claim, in Claim than) =>
        claim.Strength != than.Strength ? claim.Strength > than.Strength
        : claim.Record.Now.ChangeTime != than.Record.Now.ChangeTime ? claim.Record.Now.ChangeTime > than.Record.Now.ChangeTime
        : claim.Record.Now.Inode < than.Record.Now.Inode;

    private void Lose(RepairRecord record, List<(int Extent, ulong Start, ulong End)> lost)
    {
        long count = lost.Sum(range => (long)(range.End - range.Start));
        Act("block-twice", $"inode {record.Now.Inode} loses {count} blocks to a better claim: there are holes now", record.Now.Inode, lost[0].Start);
        if (lost.RemoveAll(range => range.Extent == AttributesClaim) > 0)
        {
            record.Now.Attributes = 0;
            record.IsDirty = true;
        }

        if (lost.Count == 0)
        {
            return;
        }

        // Ranges come in the order of the sweep: sorted by block within each extent.
        List<RepairExtent> kept = [];
        int index = 0;
        foreach (RepairExtent extent in record.Extents)
        {
            ulong at = extent.Start;
            foreach ((int _, ulong start, ulong end) in lost.Where(range => range.Extent == index).Append((index, extent.Start + extent.Count, extent.Start + extent.Count)))
            {
                if (start > at)
                {
                    kept.Add(new RepairExtent(extent.Logical + (at - extent.Start), at, (uint)(start - at), extent.Kind));
                }

                at = end;
            }

            index++;
        }

        record.Map = kept;
        record.IsMapDirty = true;
        if (record.Now.Kind == SlotKind.Directory && _directories.TryGetValue(record.Now.Inode, out RepairDirectory? directory) && directory.Record == record)
        {
            directory.Blocks.RemoveAll(item => !kept.Exists(extent => item.Block >= extent.Start && item.Block - extent.Start < extent.Count));
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
