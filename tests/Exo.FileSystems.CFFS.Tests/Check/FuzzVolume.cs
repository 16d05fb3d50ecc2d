// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Layout;
using Exo.Simulation.Disks;
using Record = Exo.FileSystems.CFFS.Layout.Record;

namespace Exo.FileSystems.CFFS.Tests.Check;

/// <summary>
/// A volume with everything on it, each file's contents unlike any other's, and what each file depends on: the sectors of its record, of its tree and of the records above it, and its blocks.
/// </summary>
internal sealed class FuzzVolume
{
    public static readonly Lazy<FuzzVolume> Clean = new(() => new FuzzVolume(isClean: true, logBlocks: 0));
    public static readonly Lazy<FuzzVolume> Unclean = new(() => new FuzzVolume(isClean: false, logBlocks: 0));

    /// <summary>As it crashed, with a commit log in which there is what is not in its place yet. Only <see cref="Contents"/>, <see cref="Seed"/> and <see cref="Files"/> are told of it.</summary>
    public static readonly Lazy<FuzzVolume> Logged = new(() => new FuzzVolume(isClean: false, logBlocks: 512));

    private FuzzVolume(bool isClean, int logBlocks)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        using SimulatedBlockDevice disk = new(frames, DiskContents.Zeroes(2048 + logBlocks));
        CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1, LogBlocks = logBlocks });
        Fill(volume);
        Root = volume.Disk.Roots[0].Block.Value;
        if (isClean)
        {
            volume.Dispose();
        }
        else if (logBlocks > 0)
        {
            LeaveInLog(volume);
            volume.Abandon();
        }
        else
        {
            // What is damaged later lies in its place, not in the commit log.
            volume.Sync();
            volume.Sync();
            volume.Disk.Checkpoint();
            volume.Abandon();
        }

        Contents = disk.Snapshot();
        VolumeGuard guard = VolumeGuard.TryParse(Contents[Root].Slice(Superblock.GuardSector * Sector.SizeBytes, Sector.SizeBytes))!;
        Seed = guard.ChecksumSeed;
        if (logBlocks > 0)
        {
            return;
        }

        ReadOnlySpan<byte> builtIns = Contents[Root].Slice(Superblock.RecordSector * Sector.SizeBytes, Sector.SizeBytes);
        Record.TryParse(builtIns, Superblock.ExternalSlot, out Record externals);
        Record.TryParse(builtIns, Superblock.RootSlot, out Record root);
        HashSet<ulong> top = [(Root * Sector.PerBlock) + Superblock.RecordSector];
        CollectDirectory(externals, "", top, [], []);
        CollectDirectory(root, "", top, [], []);
    }

    public DiskContents Contents { get; }

    public ulong Root { get; }

    public ulong Seed { get; }

    /// <summary>What was written, by path (without a slash in front).</summary>
    public Dictionary<string, byte[]> Files { get; } = [];

    /// <summary>Paths of each file with the sectors that hold its own metadata, those of the directories above it, and its data blocks.</summary>
    public Dictionary<string, (HashSet<ulong> Own, HashSet<ulong> Above, HashSet<ulong> Data)> Needs { get; } = [];

    /// <summary>Inode numbers of each file and of the directories above it.</summary>
    public Dictionary<string, HashSet<ulong>> Inodes { get; } = [];

    /// <summary>Inodes with an extended attribute that holds the first 40 bytes of their contents.</summary>
    public HashSet<ulong> WithAttributes { get; } = [];

    /// <summary>All sectors of metadata in use.</summary>
    public List<ulong> Sectors { get; } = [];

    /// <summary>Heads of records, as sector and slot.</summary>
    public List<(ulong Sector, int Slot)> Records { get; } = [];

    private readonly Dictionary<ulong, (HashSet<ulong> Own, HashSet<ulong> Data)> _externals = [];

    private void Fill(CffsVolume volume)
    {
        Random random = new(5);
        void Put(string path, int length)
        {
            byte[] bytes = new byte[length];
            random.NextBytes(bytes);
            volume.WriteAllBytes(path, bytes);
            Files[path] = bytes;
        }

        foreach (string directory in (string[])["a", "a/b", "a/b/c", "a/b/c/d", "e", "e/many", "empty"])
        {
            volume.CreateDirectory(directory);
        }

        foreach (string directory in (string[])["", "a/", "a/b/", "a/b/c/", "a/b/c/d/", "e/"])
        {
            Put($"{directory}inline", 60 + random.Next(100));
            Put($"{directory}small", 3000 + random.Next(3000));
            Put($"{directory}large", 60_000 + random.Next(9000));
            Put($"{directory}{new string('n', 200)}", 150);
        }

        for (int i = 0; i < 150; i++)
        {
            Put($"e/many/file number {i}", 20 + random.Next(i % 10 == 0 ? 9000 : 60));
        }

        for (int i = 0; i < 12; i++)
        {
            volume.CreateHardLink(i % 2 == 0 ? "a/small" : "a/b/inline", $"e/link {i}");
        }

        Files["e/link 0"] = Files["a/small"];
        foreach (string path in Files.Keys.Where(path => path.EndsWith("small", StringComparison.Ordinal) || path.EndsWith("inline", StringComparison.Ordinal)))
        {
            volume.SetExtendedAttribute(path, "user.path", Files[path].AsSpan(0, 40).ToArray());
        }

        volume.CreateSymbolicLink("a/short", "b/c");
        volume.CreateSymbolicLink("a/long", new string('t', 2000));
        byte[] sparse = new byte[5_000_000];
        using CffsFile file = volume.OpenFile("a/sparse", CffsOpenMode.Write | CffsOpenMode.Create);
        for (int i = 0; i < 30; i++)
        {
            byte[] piece = new byte[4096];
            random.NextBytes(piece);
            piece.CopyTo(sparse, i * 160_000 / 4096 * 4096);
            file.Write(i * 160_000 / 4096 * 4096, piece);
        }

        file.SetLength(sparse.Length);
        Files["a/sparse"] = sparse;
        foreach (string path in (string[])["a/large", "a/sparse", "a/b/large"])
        {
            string clone = $"e/clone of {path.Replace('/', ' ')}";
            volume.CloneFile(path, clone);
            byte[] contents = (byte[])Files[path].Clone();
            contents.AsSpan(4096, 900).Fill(7);
            using CffsFile other = volume.OpenFile(clone, CffsOpenMode.Write);
            other.Write(4096, contents.AsSpan(4096, 900));
            Files[clone] = contents;
        }
    }

    /// <summary>Several transactions: names made, removed and moved, files that grow.</summary>
    private void LeaveInLog(CffsVolume volume)
    {
        volume.Sync();
        volume.Disk.Checkpoint();
        Random random = new(6);
        for (int i = 0; i < 12; i++)
        {
            byte[] bytes = new byte[100 + random.Next(12_000)];
            random.NextBytes(bytes);
            volume.WriteAllBytes($"e/late {i}", bytes);
            Files[$"e/late {i}"] = bytes;
            volume.RemoveFile($"e/many/file number {i}");
            Files.Remove($"e/many/file number {i}");
            volume.Rename($"e/many/file number {100 + i}", $"a/b/moved {i}");
            Files.Remove($"e/many/file number {100 + i}", out byte[]? moved);
            Files[$"a/b/moved {i}"] = moved!;
            using (CffsFile file = volume.OpenFile("a/b/c/large", CffsOpenMode.Write))
            {
                file.Append(bytes);
            }

            Files["a/b/c/large"] = [.. Files["a/b/c/large"], .. bytes];
            volume.Sync();
        }

        Assert.True(volume.Disk.BlocksInLog > 20, $"{volume.Disk.BlocksInLog} blocks in the log");
    }

    private void CollectDirectory(in Record directory, string path, HashSet<ulong> own, HashSet<ulong> above, HashSet<ulong> inodes)
    {
        inodes = [.. inodes, directory.Inode];
        HashSet<ulong> mine = [.. own, .. above];
        foreach ((ulong start, uint count) in ExtentsOf(directory, mine))
        {
            for (ulong block = start; block < start + count; block++)
            {
                CollectBlock(directory.Inode, path, block, mine, inodes);
            }
        }
    }

    private void CollectBlock(ulong directory, string path, ulong block, HashSet<ulong> above, HashSet<ulong> inodes)
    {
        for (int index = 0; index < Slot.PerBlock; index++)
        {
            ulong number = (block * Sector.PerBlock) + (ulong)(index / Slot.PerSector);
            ReadOnlySpan<byte> sector = Contents[block].Slice(index / Slot.PerSector * Sector.SizeBytes, Sector.SizeBytes);
            if (index % Slot.PerSector == 0 && !Sector.IsEmpty(sector))
            {
                Sectors.Add(number);
            }

            if (!Record.TryParse(sector, index % Slot.PerSector, out Record record))
            {
                continue;
            }

            Records.Add((number, index % Slot.PerSector));
            byte[] bytes = new byte[record.NameLength];
            Record.ReadContents(sector, index % Slot.PerSector, 0, bytes);
            string name = path.Length == 0 ? System.Text.Encoding.UTF8.GetString(bytes) : $"{path}/{System.Text.Encoding.UTF8.GetString(bytes)}";
            HashSet<ulong> own = [number];
            if (record.Kind == SlotKind.Directory)
            {
                CollectDirectory(record, name, own, above, inodes);
                continue;
            }

            HashSet<ulong> data = [];
            if (record.Kind == SlotKind.ExternalLink)
            {
                own.UnionWith(_externals[record.Inode].Own);
                data = _externals[record.Inode].Data;
            }
            else
            {
                foreach ((ulong start, uint count) in record.IsPacked ? PackOf(sector) : ExtentsOf(record, own))
                {
                    for (ulong at = start; at < start + count; at++)
                    {
                        data.Add(at);
                    }
                }

                if (record.Attributes != 0)
                {
                    data.Add(record.Attributes);
                    WithAttributes.Add(record.Inode);
                }
            }

            if (directory == Superblock.ExternalInode)
            {
                _externals[record.Inode] = (own, data);
            }
            else if (Files.ContainsKey(name))
            {
                Needs[name] = (own, above, data);
                Inodes[name] = [.. inodes, record.Inode];
            }
        }
    }

    private static List<(ulong Start, uint Count)> PackOf(ReadOnlySpan<byte> sector)
    {
        Assert.True(Pack.TryFind(sector, out _, out ulong block));
        return [(block, 1)];
    }

    private List<(ulong Start, uint Count)> ExtentsOf(in Record record, HashSet<ulong> sectors)
    {
        if (record.Depth == 0 || record.Kind is not (SlotKind.File or SlotKind.Directory))
        {
            return record.Kind is SlotKind.File or SlotKind.Directory or SlotKind.SymbolicLink && record.Count > 0 ? [(record.Start, record.Count)] : [];
        }

        List<(ulong, uint)> extents = [];
        for (int i = 0; i < TreeNode.EntriesPerNode; i++)
        {
            ulong sector = (record.Start * Sector.PerBlock) + (ulong)(i / TreeNode.EntriesPerSector);
            TreeEntry entry = TreeEntry.Read(Contents[record.Start][TreeNode.OffsetInBlock(i)..]);
            if (entry.Kind != TreeEntryKind.Free)
            {
                Assert.Equal(1, record.Depth);
                extents.Add((entry.Start, entry.Count));
                if (sectors.Add(sector))
                {
                    Sectors.Add(sector);
                }
            }
        }

        return extents;
    }
}
