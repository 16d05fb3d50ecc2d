// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS;
using Exo.Storage.XN;

namespace Exo.Cli.Map;

/// <summary>
/// A volume as a grid of cells, row after row. On a small one a cell is a block; on a larger one as many blocks, a power of two, as make the rows fit.
/// </summary>
internal sealed class BlockMap
{
    private BlockMap(int columns, ulong blockCount, uint blocksPerCell, MapCell[] cells, List<MapDirectory> directories, ulong[] blocksByKind)
    {
        Columns = columns;
        BlockCount = blockCount;
        BlocksPerCell = blocksPerCell;
        Cells = cells;
        Directories = directories;
        BlocksByKind = blocksByKind;
    }

    public int Columns { get; }

    public int Rows => (Cells.Count + Columns - 1) / Columns;

    public ulong BlockCount { get; }

    public uint BlocksPerCell { get; }

    public IReadOnlyList<MapCell> Cells { get; }

    /// <summary>The directories with blocks of files, those with most first.</summary>
    public IReadOnlyList<MapDirectory> Directories { get; }

    /// <summary>How many blocks of each kind there are, in the order of <see cref="BlockKinds.All"/>.</summary>
    public IReadOnlyList<ulong> BlocksByKind { get; }

    public static BlockMap Read(CffsVolume volume, int columns, int rowsMax)
    {
        IReadOnlyList<CffsBlockRun> runs = volume.MapBlocks();
        ulong blockCount = volume.Disk.BlockCount;
        uint blocksPerCell = 1;
        while (CellsOf(blockCount, blocksPerCell) > columns * rowsMax)
        {
            blocksPerCell *= 2;
        }

        CellTally tally = new(CellsOf(blockCount, blocksPerCell), blocksPerCell);
        ulong[] blocksByKind = new ulong[BlockKinds.All.Length];
        foreach (CffsBlockRun run in runs)
        {
            blocksByKind[BlockKinds.Rank(run.Kind)] += run.Extent.Count;
            if (run.Kind != CffsBlockKind.Free)
            {
                tally.Add(run.Extent, run.Kind, -1, 1);
            }
        }

        List<string> paths = [];
        Dictionary<int, ulong> blocks = [];
        DataOwners.Walk(volume, paths, (directory, extent) =>
        {
            tally.Add(extent, CffsBlockKind.Data, -1, -1);
            tally.Add(extent, CffsBlockKind.Data, directory, 1);
            blocks[directory] = blocks.GetValueOrDefault(directory) + extent.Count;
        });

        int[] largestFirst = [.. blocks.Keys.OrderByDescending(directory => blocks[directory]).ThenBy(directory => paths[directory], StringComparer.Ordinal)];
        int[] place = new int[paths.Count];
        for (int i = 0; i < largestFirst.Length; i++)
        {
            place[largestFirst[i]] = i;
        }

        return new BlockMap(
            columns, blockCount, blocksPerCell, tally.Cells(place), [.. largestFirst.Select(directory => new MapDirectory(paths[directory], blocks[directory]))], blocksByKind);
    }

    private static int CellsOf(ulong blocks, uint blocksPerCell) => (int)Math.Min(int.MaxValue, (blocks + blocksPerCell - 1) / blocksPerCell);

    /// <summary>What blocks of each cell are, counted.</summary>
    private sealed class CellTally(int cells, uint blocksPerCell)
    {
        private readonly Dictionary<(CffsBlockKind Kind, int Directory), int>?[] counts = new Dictionary<(CffsBlockKind, int), int>?[cells];

        public void Add(BlockExtent extent, CffsBlockKind kind, int directory, int sign)
        {
            ulong end = extent.First.Value + extent.Count;
            for (ulong at = extent.First.Value; at < end;)
            {
                ulong cell = at / blocksPerCell;
                ulong next = Math.Min(end, (cell + 1) * blocksPerCell);
                Dictionary<(CffsBlockKind, int), int> count = counts[cell] ??= [];
                count[(kind, directory)] = count.GetValueOrDefault((kind, directory)) + (sign * (int)(next - at));
                at = next;
            }
        }

        public MapCell[] Cells(int[] place)
        {
            MapCell[] result = new MapCell[counts.Length];
            for (int i = 0; i < result.Length; i++)
            {
                result[i] = counts[i] is { } count && count.Values.Sum() is > 0 and var used ? Cell(count, used, place) : new MapCell(CffsBlockKind.Free, -1, 0);
            }

            return result;
        }

        // Of equally many the rarer kind, then the larger directory.
        private MapCell Cell(Dictionary<(CffsBlockKind Kind, int Directory), int> count, int used, int[] place)
        {
            (CffsBlockKind kind, int directory) = count
                .OrderByDescending(pair => pair.Value).ThenBy(pair => BlockKinds.Rank(pair.Key.Kind)).ThenBy(pair => pair.Key.Directory < 0 ? int.MaxValue : place[pair.Key.Directory])
                .First().Key;
            return new MapCell(kind, directory < 0 ? -1 : place[directory], (int)(((4L * used) + blocksPerCell - 1) / blocksPerCell));
        }
    }
}
