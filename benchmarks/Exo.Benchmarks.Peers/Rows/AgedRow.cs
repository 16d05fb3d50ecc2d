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
/// A volume that months of making, appending and removing have filled to 80 %, beside a fresh one of the same size, on the same work (S19): the ratio is what age costs. The churn is seeded and made in this
/// process: 200 directories, lengths from a hundred bytes to some mebibytes, most of them small, each volume's worth of space written several times over.
/// </summary>
internal sealed class AgedRow(string name, AgedWork work) : IPeerRow
{
    private const long ImageBytes = 512L << 20;
    private const int Directories = 200;
    private const double FullTo = 0.80;
    private const int Files = 4000;

    private static readonly byte[] Small = new byte[1024];
    private static readonly byte[] Large = new byte[16 << 20];
    private WorkFolder _folder = null!;

    public string Name => name;

    public string Work => work switch
    {
        AgedWork.Create => $"{Files} files of 1 KiB made in 20 new directories, and one sync",
        AgedWork.ReadCold => "these files read, cold",
        AgedWork.Overwrite => "these files written over, cold, and one sync",
        AgedWork.Delete => "these files removed, and one sync",
        _ => "a file of 16 MiB written, synced and read cold",
    };

    public string Peer => "the same on a fresh volume";

    public string Unit => "/s";

    public bool MoreIsBetter => true;

    public string? Missing() => null;

    public void Prepare(WorkFolder folder)
    {
        _folder = folder;
        CffsVolume.Create(folder["fresh.img"], new CffsCreateOptions { SizeBytes = ImageBytes, Seed = 1 }).Dispose();
        using (CffsVolume volume = CffsVolume.Create(folder["aged.img"], new CffsCreateOptions { SizeBytes = ImageBytes, Seed = 1 }))
        {
            Age(volume, 7);
            CffsLayout layout = volume.Defragment(dryRun: true).Before;
            Console.Error.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"aged: {layout.SmallFiles} small files, {layout.SmallFilesGrouped:P0} near another, {layout.RequestsPer100SmallFiles:0} requests for 100; {layout.LargeFiles} large ones in {layout.RunsPerLargeFile:0.0} runs; free blocks by run length {string.Join(' ', layout.FreeBlocksByRunLength)}"));
        }

        RunExo();
    }

    public double RunExo() => Run("aged.img");

    public double RunPeer() => Run("fresh.img");

    public void Dispose()
    {
    }

    /// <summary>Several volumes' worth of churn, the last of it at the level where it stays.</summary>
    internal static void Age(CffsVolume volume, int seed)
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
            bool isFull = space.FreeBlocks + space.WillFreeBlocks < (1 - FullTo) * space.TotalBlocks;
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

    private double Run(string image)
    {
        string copy = _folder["work.img"];
        File.Copy(_folder[image], copy, overwrite: true);
        string[] paths = [.. Enumerable.Range(0, Files).Select(i => $"/new{i % 20}/f{i}")];
        double seconds = 0;
        using (CffsVolume volume = CffsVolume.Open(copy))
        {
            for (int i = 0; i < 20; i++)
            {
                volume.CreateDirectory($"/new{i}");
            }

            volume.Sync();
            seconds = work == AgedWork.Large
                ? Tool.Seconds(() =>
                {
                    volume.WriteAllBytes("/large", Large);
                    volume.Sync();
                })
                : Tool.Seconds(() =>
                {
                    foreach (string path in paths)
                    {
                        volume.WriteAllBytes(path, Small);
                    }

                    volume.Sync();
                });
        }

        if (work == AgedWork.Create)
        {
            return Files / seconds;
        }

        using CffsVolume again = CffsVolume.Open(copy);
        byte[] buffer = new byte[1 << 20];
        switch (work)
        {
            case AgedWork.Large:
                return 1 / (seconds + Tool.Seconds(() =>
                {
                    using CffsFile file = again.OpenFile("/large");
                    for (long at = 0; at < Large.Length; at += buffer.Length)
                    {
                        file.Read(at, buffer);
                    }
                }));
            case AgedWork.ReadCold:
                return Files / Tool.Seconds(() => Array.ForEach(paths, path => again.ReadAllBytes(path)));
            case AgedWork.Overwrite:
                return Files / Tool.Seconds(() =>
                {
                    foreach (string path in paths)
                    {
                        using CffsFile file = again.OpenFile(path, CffsOpenMode.Write);
                        file.Write(0, Small.AsMemory());
                    }

                    again.Sync();
                });
            default:
                return Files / Tool.Seconds(() =>
                {
                    Array.ForEach(paths, path => again.RemoveFile(path));
                    again.Sync();
                });
        }
    }
}
