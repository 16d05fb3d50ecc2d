// SPDX-License-Identifier: MIT
using System.Numerics;

namespace Exo.FileSystems.CFFS.Verification;

/// <summary>The index of a directory, when it is to be believed: it must lead to every record, or say where it cannot.</summary>
internal sealed class FoundIndex
{
    public const ulong BucketsMax = 1UL << 22;

    private const uint MagicIndex = 0x58444E49;
    private const int EntriesPerSector = 60;
    private const int DepthMax = 22;

    private readonly List<FoundExtent> _extents;
    private readonly uint _incarnation;
    private readonly uint _count;
    private readonly string _path;
    private readonly uint _directories;

    // By bucket: its greatest depth; none when not all of its sectors are valid.
    private readonly int?[] _depths;
    private readonly HashSet<(uint Bucket, uint Hash, uint Address)> _entries = [];
    private uint _directoriesFound;

    private FoundIndex(List<FoundExtent> extents, uint incarnation, uint count, uint directories, string path)
    {
        (_extents, _incarnation, _count, _directories, _path) = (extents, incarnation, count, directories, path);
        _depths = new int?[count];
    }

    public static FoundIndex? Of(ulong inode, string path, List<FoundExtent> buckets, uint directories, uint trust)
    {
        buckets.Sort((a, b) => a.Logical.CompareTo(b.Logical));
        ulong count = 0;
        HashSet<uint> incarnations = [.. buckets.Select(extent => (uint)(extent.Logical >> 32))];
        foreach (FoundExtent extent in buckets)
        {
            if ((uint)extent.Logical != count)
            {
                break;
            }

            count += extent.Count;
        }

        bool isBelieved = incarnations.Count == 1 && count is > 0 and <= BucketsMax && (int)(incarnations.First() - trust) >= 0;
        return isBelieved ? new FoundIndex(buckets, incarnations.First(), (uint)count, directories, path) : null;
    }

    public void Load(CffsImage volume, ulong directory)
    {
        foreach (FoundExtent extent in _extents)
        {
            for (uint i = 0; i < extent.Count && (uint)extent.Logical + i < _count; i++)
            {
                uint bucket = (uint)extent.Logical + i;
                ReadOnlySpan<byte> block = volume.Block(extent.Start + i);
                int depth = 0;
                bool isValid = true;
                for (int s = 0; s < FormatReader.SectorsPerBlock; s++)
                {
                    ReadOnlySpan<byte> sector = block.Sector(s);
                    isValid &= !sector.IsZero() && volume.IsValid(sector, extent.Start + i, s, MagicIndex, directory) && sector.U32(480) == bucket && sector.U32(484) == _incarnation
                        && sector[488] <= DepthMax && bucket >> sector[488] == 0;
                    depth = Math.Max(depth, sector[488]);
                }

                if (!isValid || depth > DepthOf(bucket))
                {
                    continue;
                }

                _depths[bucket] = depth;
                for (int entry = 0; entry < EntriesPerSector * FormatReader.SectorsPerBlock; entry++)
                {
                    ReadOnlySpan<byte> sector = block.Sector(entry / EntriesPerSector);
                    uint address = sector.U32(240 + (entry % EntriesPerSector * 4));
                    if (address != 0)
                    {
                        _entries.Add((bucket, sector.U32(entry % EntriesPerSector * 4), address - 1));
                    }
                }
            }
        }
    }

    public void Verify(in FoundRecord record, uint address, bool wasUnmounted, CffsImage volume, Faults faults)
    {
        _directoriesFound += record.Kind == FoundKind.Directory ? 1u : 0;
        uint bucket = BucketOf(record.NameHash);

        // After a crash recovery makes a bucket that is lost again from the one that it was split from.
        while (_depths[bucket] is null && !wasUnmounted && bucket > 0)
        {
            bucket &= ~(1u << BitOperations.Log2(bucket));
        }

        bool decides = _depths[bucket] is { } depth && (record.NameHash & ((1UL << depth) - 1)) == bucket;
        bool isOfCrash = !wasUnmounted && (int)(record.NameSequence - volume.IndexedSequence) >= 0;
        faults.Expect(!decides || isOfCrash || _entries.Contains((bucket, record.NameHash, address)), $"{_path}/: the index lacks slot {address}, inode {record.Inode}");
    }

    public void VerifyCount(bool wasUnmounted, Faults faults) =>
        faults.Expect(!wasUnmounted || _directoriesFound == _directories, $"{_path}/: counts {_directories} directories and has {_directoriesFound}");

    private uint BucketOf(uint hash)
    {
        int level = BitOperations.Log2(_count);
        uint bucket = hash & (uint)((1UL << (level + 1)) - 1);
        return bucket < _count ? bucket : hash & (uint)((1UL << level) - 1);
    }

    private int DepthOf(uint bucket)
    {
        int level = BitOperations.Log2(_count);
        bool isSplit = bucket < _count - (1u << level) || bucket >= 1u << level;
        return isSplit ? level + 1 : level;
    }
}
