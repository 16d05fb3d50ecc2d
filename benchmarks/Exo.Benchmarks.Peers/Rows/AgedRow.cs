// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.FileSystems.CFFS;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>What is timed on the aged volume.</summary>
internal enum AgedWork
{
    Create,
    ReadCold,
    Overwrite,
    Delete,
    Large,
}

/// <summary>
/// A volume that months of making, appending and removing have filled, beside a fresh one of the same size, on the same work (S19): the ratio is what age costs. The churn is seeded and made in this
/// process: 200 directories, lengths from a hundred bytes to some mebibytes, most of them small, several times as much as the volume is large.
/// </summary>
internal sealed class AgedRow(string name, AgedWork work, int percentFull = 80, bool defragmented = false) : IPeerRow
{
    private const long ImageBytes = 512L << 20;
    private const int Directories = 200;
    private const int WarmUps = 10;

    private static readonly byte[] Small = new byte[SmallFilePaths.LengthBytes];
    private static readonly byte[] Large = new byte[16 << 20];
    private static readonly byte[] LargePath = "/large\0"u8.ToArray();

    private readonly byte[][] _folders = SmallFilePaths.FoldersUnder("");
    private readonly byte[][] _files = SmallFilePaths.FilesUnder("");
    private WorkFolder _folder = null!;

    public string Name => name;

    public string Work => work switch
    {
        AgedWork.Create => $"{SmallFilePaths.Count} files of 1 KiB made in {SmallFilePaths.Folders} new directories, and one sync",
        AgedWork.ReadCold => "these files opened and read, cold",
        AgedWork.Overwrite => "these files opened cold and written over, and one sync",
        AgedWork.Delete => "these files and their directories removed, and one sync",
        _ => "a file of 16 MiB written, synced and read cold",
    };

    public string Peer => "the same on a fresh volume";

    public string Unit => "/s";

    public bool MoreIsBetter => true;

    public string? Missing() => null;

    public void Prepare(WorkFolder folder)
    {
        _folder = folder;
        Tool.Allocate(folder["work.img"], ImageBytes);
        CffsCreateOptions options = new() { SizeBytes = ImageBytes, Seed = 1 };
        CffsVolume.Create(folder["fresh.img"], options).Dispose();
        using (CffsVolume volume = CffsVolume.Create(folder["aged.img"], options))
        {
            Age(volume, 7, percentFull);
            Tell("aged", volume.Defragment(dryRun: true).Before);
            if (defragmented)
            {
                Tell("defragmented", volume.Defragment().After);
            }
        }

        for (int i = 0; i < WarmUps; i++)
        {
            RunExo();
            RunPeer();
        }
    }

    public double RunExo() => Run("aged.img");

    public double RunPeer() => Run("fresh.img");

    public void Dispose()
    {
    }

    /// <summary>Several volumes' worth of churn, most of it at the level where it stays.</summary>
    private static void Age(CffsVolume volume, int seed, int percentFull)
    {
        Random random = new(seed);
        List<string> files = [];
        byte[] contents = new byte[8 << 20];
        for (int d = 0; d < Directories; d++)
        {
            volume.CreateDirectory($"/d{d}");
        }

        long written = 0;
        for (int made = 0; written < 4 * ImageBytes; made++)
        {
            CffsSpace space = volume.GetSpace();
            bool isFull = 100 * (space.FreeBlocks + space.WillFreeBlocks) < (ulong)(100 - percentFull) * space.TotalBlocks;
            int choice = random.Next(100);
            if (files.Count > 0 && (isFull || choice < 30))
            {
                int at = random.Next(files.Count);
                volume.RemoveFile(files[at]);
                files[at] = files[^1];
                files.RemoveAt(files.Count - 1);
            }
            else if (files.Count > 0 && choice < 45)
            {
                using CffsFile file = volume.OpenFile(files[random.Next(files.Count)], CffsOpenMode.Write);
                int more = random.Next(1, 20_000);
                file.Append(contents.AsMemory(0, more));
                written += more;
            }
            else
            {
                string path = $"/d{random.Next(Directories)}/f{made}";
                int length = LengthOf(random);
                volume.WriteAllBytes(path, contents.AsMemory(0, length));
                files.Add(path);
                written += length;
            }

            if (made % 500 == 0)
            {
                volume.Sync();
            }
        }

        volume.Sync();
    }

    private static int LengthOf(Random random) => random.Next(100) switch
    {
        < 15 => random.Next(100, 400),
        < 60 => random.Next(400, 8_000),
        < 85 => random.Next(8_000, 60_000),
        < 97 => random.Next(60_000, 500_000),
        _ => random.Next(500_000, 8_000_000),
    };

    private static void Tell(string what, CffsLayout layout) => Console.Error.WriteLine(string.Create(
        CultureInfo.InvariantCulture,
        $"{what}: {layout.SmallFiles} small files, {layout.SmallFilesGrouped:P0} near another, {layout.RequestsPer100SmallFiles:0} requests for 100; {layout.LargeFiles} large ones in {layout.RunsPerLargeFile:0.0} runs; free blocks by run length {string.Join(' ', layout.FreeBlocksByRunLength)}"));

    private double Run(string image)
    {
        // Into the same blocks of the same file each time: how that lies on the disk is no part of what is measured.
        using (FileStream from = File.OpenRead(_folder[image]))
        using (FileStream to = new(_folder["work.img"], FileMode.Open, FileAccess.Write))
        {
            from.CopyTo(to, 1 << 20);
            to.Flush(flushToDisk: true);
        }

        using CffsTree tree = CffsTree.Existing(_folder["work.img"]);
        byte[] buffer = new byte[1 << 20];
        if (work == AgedWork.Large)
        {
            double written = Tool.Seconds(() =>
            {
                tree.Create(LargePath, Large);
                tree.Sync();
            });
            tree.Chill();
            return 1 / (written + Tool.Seconds(() => tree.ReadThrough(LargePath, buffer)));
        }

        Array.ForEach(_folders, tree.MakeDirectory);
        tree.Sync();
        double seconds = Tool.Seconds(() =>
        {
            Array.ForEach(_files, file => tree.Create(file, Small));
            tree.Sync();
        });
        if (work != AgedWork.Create)
        {
            tree.Chill();
            seconds = Tool.Seconds(() => Use(tree, buffer));
        }

        return _files.Length / seconds;
    }

    private void Use(CffsTree tree, byte[] buffer)
    {
        switch (work)
        {
            case AgedWork.ReadCold:
                Array.ForEach(_files, file => tree.Read(file, buffer));
                break;
            case AgedWork.Overwrite:
                Array.ForEach(_files, file => tree.Overwrite(file, Small));
                tree.Sync();
                break;
            default:
                Array.ForEach(_files, tree.Delete);
                Array.ForEach(_folders, tree.RemoveDirectory);
                tree.Sync();
                break;
        }
    }
}
