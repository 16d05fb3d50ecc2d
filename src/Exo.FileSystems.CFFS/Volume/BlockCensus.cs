// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Volume;

/// <summary>Walks the whole file system and says of every block of the disk what it holds.</summary>
internal static class BlockCensus
{
    public static async ValueTask<IReadOnlyList<CffsBlockRun>> TakeAsync(VolumeCore core, IoMode io)
    {
        byte[] kinds = new byte[core.Disk.BlockCount];
        Array.Fill(kinds, (byte)CffsBlockKind.Other);
        for (ulong block = 0; block < core.Disk.BlockCount; block++)
        {
            if ((core.Disk.FreeMap[(int)(block >> 6)] >> (int)(block & 63) & 1) != 0)
            {
                kinds[block] = (byte)CffsBlockKind.Free;
            }
        }

        XnLayoutInfo layout = core.Disk.Layout;
        Mark(kinds, layout.Superblocks, CffsBlockKind.XnSuperblock);
        Mark(kinds, layout.Templates, CffsBlockKind.XnTemplates);
        Mark(kinds, layout.Roots, CffsBlockKind.XnRoots);
        Mark(kinds, layout.FreeMap, CffsBlockKind.XnFreeMap);
        Mark(kinds, layout.Log, CffsBlockKind.XnLog);
        Mark(kinds, new BlockExtent(core.RootBlock, 1), CffsBlockKind.Superblock);
        Mark(kinds, core.LogExtent, CffsBlockKind.Log);
        Stack<Inode> directories = new();
        foreach (Inode builtIn in (Inode[])[core.Root, core.Orphans, core.Externals])
        {
            core.Inodes.Hold(builtIn);
            directories.Push(builtIn);
        }

        while (directories.TryPop(out Inode? directory))
        {
            await directory.Lock.EnterAsync(io).ConfigureAwait(false);
            try
            {
                await core.Directories.EnsureLoadedAsync(directory, io).ConfigureAwait(false);
                MarkMap(kinds, directory, CffsBlockKind.Slots);
                if (directory.Container is null && directory.Record.Attributes != 0)
                {
                    // The root's: no slot of a directory has its record.
                    Mark(kinds, new BlockExtent(new BlockNumber(directory.Record.Attributes), 1), CffsBlockKind.Attributes);
                }

                for (ulong logical = directory.Map.NextMapped(0); logical != ulong.MaxValue; logical = directory.Map.NextMapped(logical + 1))
                {
                    await VisitBlockAsync(core, directory, logical, kinds, directories, io).ConfigureAwait(false);
                }
            }
            finally
            {
                directory.Lock.Exit();
                core.Inodes.Release(directory);
            }
        }

        List<CffsBlockRun> runs = [];
        for (ulong at = 0; at < (ulong)kinds.Length;)
        {
            ulong end = at + 1;
            while (end < (ulong)kinds.Length && kinds[end] == kinds[at])
            {
                end++;
            }

            runs.Add(new CffsBlockRun((CffsBlockKind)kinds[at], new BlockExtent(new BlockNumber(at), (uint)(end - at))));
            at = end;
        }

        return runs;
    }

    private static async ValueTask VisitBlockAsync(VolumeCore core, Inode directory, ulong logical, byte[] kinds, Stack<Inode> directories, IoMode io)
    {
        for (uint index = 0; index < Slot.PerBlock; index++)
        {
            SlotPlace place = await core.Directories.PlaceAsync(directory, (uint)(logical * Slot.PerBlock) + index, io).ConfigureAwait(false);
            if (place.InSector == 0 && Pack.TryFind(core.Directories.SectorOf(place), out _, out ulong pack))
            {
                Mark(kinds, new BlockExtent(new BlockNumber(pack), 1), CffsBlockKind.Data);
            }

            if (!Record.TryParse(core.Directories.SectorOf(place), place.InSector, out Record record))
            {
                core.Cache.Release(place.Frame);
                continue;
            }

            if (record.Kind is not (SlotKind.ExternalLink or SlotKind.Log) && record.Attributes != 0)
            {
                Mark(kinds, new BlockExtent(new BlockNumber(record.Attributes), 1), CffsBlockKind.Attributes);
            }

            if (record.Kind == SlotKind.Directory)
            {
                directories.Push(await core.GetInodeAsync(directory, place, io).ConfigureAwait(false));
            }
            else if (record.HasTree && record.Kind == SlotKind.File)
            {
                Inode file = await core.GetInodeAsync(directory, place, io).ConfigureAwait(false);
                await file.Lock.EnterAsync(io).ConfigureAwait(false);
                await core.Maps.EnsureAsync(file, io).ConfigureAwait(false);
                MarkMap(kinds, file, CffsBlockKind.Data);
                file.Lock.Exit();
                core.Inodes.Release(file);
            }
            else
            {
                core.Cache.Release(place.Frame);
                if (record.Kind is SlotKind.File or SlotKind.SymbolicLink && record.Count > 0)
                {
                    Mark(kinds, new BlockExtent(new BlockNumber(record.Start), record.Count), CffsBlockKind.Data);
                }
            }
        }
    }

    private static void MarkMap(byte[] kinds, Inode inode, CffsBlockKind kind)
    {
        foreach (MappedExtent extent in inode.Map.Extents)
        {
            Mark(kinds, new BlockExtent(new BlockNumber(extent.Start), extent.Count), kind);
        }

        for (int e = 0; inode.Map.HasIndex && e < inode.Map.Index.Count; e++)
        {
            Mark(kinds, new BlockExtent(new BlockNumber(inode.Map.Index[e].Start), inode.Map.Index[e].Count), CffsBlockKind.Index);
        }

        foreach (MappedNode node in inode.Map.Nodes)
        {
            Mark(kinds, new BlockExtent(node.Block, 1), CffsBlockKind.Tree);
        }
    }

    private static void Mark(byte[] kinds, in BlockExtent extent, CffsBlockKind kind)
    {
        foreach (ref byte block in kinds.AsSpan((int)extent.First.Value, (int)extent.Count))
        {
            // What is met a second time as contents has several owners.
            block = kind == CffsBlockKind.Data && block is (byte)CffsBlockKind.Data or (byte)CffsBlockKind.SharedData ? (byte)CffsBlockKind.SharedData : (byte)kind;
        }
    }
}
