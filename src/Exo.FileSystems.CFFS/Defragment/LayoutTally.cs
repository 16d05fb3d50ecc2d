// SPDX-License-Identifier: MIT
using System.Numerics;
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Inodes;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Defragment;

/// <summary>Adds up how files lie on the disk.</summary>
internal sealed class LayoutTally
{
    private const ulong GroupBlocks = BlockAllocator.SmallFileBlocks;

    private long _smallFiles;
    private long _grouped;
    private long _smallRuns;
    private long _largeFiles;
    private long _largeRuns;

    /// <summary>The small files of one directory, each one run of blocks, in any order. Returns in how many runs they lie together: the requests that read them all.</summary>
    public static int RunsOf(List<BlockExtent> files)
    {
        files.Sort(static (a, b) => a.First.CompareTo(b.First));
        int runs = files.Count > 0 ? 1 : 0;
        for (int i = 1; i < files.Count; i++)
        {
            runs += files[i].First == files[i - 1].End ? 0 : 1;
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

    /// <summary>The small files of one directory; sorts them.</summary>
    /// <param name="files">Their blocks.</param>
    /// <param name="runs">In how many runs they lie, or would lie.</param>
    /// <param name="areTogether">They would all lie in groups side by side.</param>
    public void AddDirectory(List<BlockExtent> files, int runs, bool areTogether)
    {
        _smallFiles += files.Count;
        _smallRuns += runs;
        for (int i = 0; i < files.Count; i++)
        {
            bool before = i > 0 && (files[i].First.Value / GroupBlocks) - ((files[i - 1].End.Value - 1) / GroupBlocks) <= 1;
            bool after = i + 1 < files.Count && (files[i + 1].First.Value / GroupBlocks) - ((files[i].End.Value - 1) / GroupBlocks) <= 1;
            _grouped += areTogether || before || after || files.Count == 1 ? 1 : 0;
        }
    }

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
