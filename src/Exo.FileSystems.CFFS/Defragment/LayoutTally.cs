// SPDX-License-Identifier: MIT
using System.Numerics;
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Inodes;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Defragment;

/// <summary>A run of blocks with small files of one directory: of one file, or of those that share the block.</summary>
internal readonly record struct SmallRun(BlockExtent Extent, int Files);

/// <summary>Adds up how files lie on the disk.</summary>
internal sealed class LayoutTally
{
    private const ulong GroupBlocks = BlockAllocator.SmallFileBlocks;

    private long _smallFiles;
    private long _grouped;
    private long _smallRuns;
    private long _largeFiles;
    private long _largeRuns;

    /// <summary>The small files of one directory, in any order; sorts them. Returns in how many runs of blocks they lie together: the requests that read them all.</summary>
    public static int RunsOf(List<SmallRun> small)
    {
        small.Sort(static (a, b) => a.Extent.First.CompareTo(b.Extent.First));
        int runs = small.Count > 0 ? 1 : 0;
        for (int i = 1; i < small.Count; i++)
        {
            runs += small[i].Extent.First == small[i - 1].Extent.End ? 0 : 1;
        }

        return runs;
    }

    /// <summary>In how many runs of the disk a file lies, whatever its extents are.</summary>
    public static int RunsOf(ReadOnlySpan<MappedExtent> extents)
    {
        int runs = extents.Length > 0 ? 1 : 0;
        for (int i = 1; i < extents.Length; i++)
        {
            runs += extents[i].Start == extents[i - 1].End ? 0 : 1;
        }

        return runs;
    }

    /// <summary>The small files of one directory.</summary>
    /// <param name="small">They, sorted.</param>
    /// <param name="runs">In how many runs they lie, or would lie.</param>
    /// <param name="areTogether">They would all lie in groups side by side.</param>
    public void AddDirectory(List<SmallRun> small, int runs, bool areTogether)
    {
        _smallRuns += runs;
        for (int i = 0; i < small.Count; i++)
        {
            bool before = i > 0 && AreNear(small[i - 1], small[i]);
            bool after = i + 1 < small.Count && AreNear(small[i], small[i + 1]);
            bool hasAllNear = small.Count == 1 || small[i].Files > 1;
            _smallFiles += small[i].Files;
            _grouped += areTogether || before || after || hasAllNear ? small[i].Files : 0;
        }
    }

    private static bool AreNear(in SmallRun first, in SmallRun second) =>
        (second.Extent.First.Value / GroupBlocks) - ((first.Extent.End.Value - 1) / GroupBlocks) <= 1;

    public void AddLarge(int runs)
    {
        _largeFiles++;
        _largeRuns += runs;
    }

    public CffsLayout ToLayout(XnVolume disk)
    {
        ulong[] freeRuns = new ulong[40];
        FreeRuns runs = new(disk);
        for (ulong block = 0; block < disk.BlockCount;)
        {
            uint length = runs.LengthAt(block, uint.MaxValue);
            if (length > 0)
            {
                freeRuns[BitOperations.Log2(length)] += length;
            }

            block += Math.Max(length, 1);
        }

        int used = freeRuns.Length;
        while (used > 1 && freeRuns[used - 1] == 0)
        {
            used--;
        }

        return new CffsLayout(
            _smallFiles, _smallFiles == 0 ? 1 : (double)_grouped / _smallFiles, _smallFiles == 0 ? 0 : 100.0 * _smallRuns / _smallFiles,
            _largeFiles, _largeFiles == 0 ? 0 : (double)_largeRuns / _largeFiles, freeRuns[..used]);
    }
}
