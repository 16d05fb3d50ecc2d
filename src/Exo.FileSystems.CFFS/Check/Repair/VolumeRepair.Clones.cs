// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <content>
/// Of what was found by search, with no free map to say what was deleted: records whose blocks have been given to others since, which are stale, and clones, which share theirs with files that are there. Nothing on the disk tells one
/// from the other for certain. A clone has its blocks at the same places as the other file, and is as long, or was changed later than it, or is a snapshot's copy (they have one BirthTime).
/// </content>
internal sealed partial class VolumeRepair
{
    /// <summary>Contents that a pointer leads to.</summary>
    private readonly record struct ReachedContents(ulong Start, ulong End, ulong Logical, RepairRecord Record);

    private void RemoveStale()
    {
        List<RepairRecord> doubtful = _free is not null ? [] : [.. _records.Where(record => record.IsSalvaged && record.IsLive && record.Now.Kind != SlotKind.Directory && TouchesReached(record))];
        if (doubtful.Count == 0)
        {
            return;
        }

        List<ReachedContents> contents = ContentsUnder(doubtful);

        // The furthest end of any that begin at or before this one.
        ulong[] furthest = new ulong[contents.Count];
        for (int i = 0; i < furthest.Length; i++)
        {
            furthest[i] = Math.Max(contents[i].End, i > 0 ? furthest[i - 1] : 0);
        }

        foreach (RepairRecord record in doubtful)
        {
            if (record.Now.Kind == SlotKind.Pack)
            {
                // Packs are never shared.
                LosePack(record);
            }
            else if (!record.Extents.All(extent => IsShared(record, extent, contents, furthest)))
            {
                Remove(record, "stale", "it was found without a way to it, and its blocks are another's");
            }
        }
    }

    private bool TouchesReached(RepairRecord record) => record.Extents.Any(extent => _reached.IsAnyOwned(extent.Start, extent.Count));

    /// <summary>Extents of files that are there, where they touch blocks of those in doubt: sorted by block.</summary>
    private List<ReachedContents> ContentsUnder(List<RepairRecord> doubtful)
    {
        if (!_sharesContents)
        {
            return [];
        }

        OwnershipMap wanted = new(_xn.BlockCount, sharesContents: true);
        foreach (RepairExtent extent in doubtful.SelectMany(record => record.Extents))
        {
            wanted.TryOwn(extent.Start, extent.Count, isContents: true, [], out _);
        }

        List<ReachedContents> contents = [];
        foreach (RepairRecord record in _records.Where(record => record.IsLive && !record.IsSalvaged && record.Now.Kind == SlotKind.File))
        {
            contents.AddRange(record.Extents.Where(extent => wanted.IsAnyOwned(extent.Start, extent.Count))
                .Select(extent => new ReachedContents(extent.Start, extent.Start + extent.Count, extent.Logical, record)));
        }

        contents.Sort(static (a, b) => a.Start.CompareTo(b.Start));
        return contents;
    }

    /// <summary>Whether each block of an extent is nobody else's, or also a file's that the record is a clone of.</summary>
    private bool IsShared(RepairRecord record, in RepairExtent extent, List<ReachedContents> contents, ulong[] furthest)
    {
        ulong end = extent.Start + extent.Count;
        List<(ulong Start, ulong End)> shared = [];
        int low = 0;
        for (int high = contents.Count; low < high;)
        {
            int middle = (low + high) / 2;
            (low, high) = contents[middle].Start < end ? (middle + 1, high) : (low, middle);
        }

        for (int i = low - 1; i >= 0 && furthest[i] > extent.Start; i--)
        {
            ReachedContents other = contents[i];
            if (other.End > extent.Start && unchecked(other.Logical - other.Start) == unchecked(extent.Logical - extent.Start) && IsClone(record, other.Record))
            {
                shared.Add((Math.Max(other.Start, extent.Start), Math.Min(other.End, end)));
            }
        }

        shared.Sort();
        ulong at = extent.Start;
        foreach ((ulong from, ulong to) in shared.Append((end, end)))
        {
            if (from > at && _reached.IsAnyOwned(at, from - at))
            {
                return false;
            }

            at = Math.Max(at, to);
        }

        return true;
    }

    private static bool IsClone(RepairRecord record, RepairRecord other) =>
        record.Now.Kind == SlotKind.File && (record.Now.Size == other.Now.Size || record.WasBornAs(other) || record.Now.ChangeTime > other.Now.ChangeTime);
}
