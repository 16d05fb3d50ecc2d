// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <content>Whose is what: of several claims to a block the strongest counts; the others lose it, which leaves a hole, and keep their size.</content>
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

    private void DecideClaims()
    {
        foreach (RepairDirectory directory in _directories.Values.Where(directory => directory.Record.IsMapDirty))
        {
            // Its index is derived, and made anew when it is needed.
            directory.Record.Map = Runs(directory.Blocks);
        }

        OwnershipMap owners = new(_xn.BlockCount, _sharesContents);
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
            NumberFromZero(directory);
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
                bool isContents = record.Now.Kind is SlotKind.File or SlotKind.SymbolicLink or SlotKind.Pack;
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
                bool isShared = _sharesContents && best >= 0 && active[a].IsContents && active[best].IsContents;
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
        if (record.Now.Kind == SlotKind.Pack)
        {
            LosePack(record);
            return;
        }

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
    private static void NumberFromZero(RepairDirectory directory)
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
