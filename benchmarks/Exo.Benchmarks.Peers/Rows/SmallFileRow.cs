// SPDX-License-Identifier: MIT
using Exo.Adapters.Fuse;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>What is done with the small files, and what happens, untimed, before.</summary>
internal enum SmallFileWork
{
    Create,
    ReadCold,
    ReadColdShuffled,
    ReadWarm,
    OverwriteCold,
    Delete,
    CreateDurably,
    CreateDurablyByMany,
    StatCold,
}

/// <summary>
/// One phase of the 1997 papers' small-file work, C-FFS beside ext4 through bare system calls; the same code drives both. C-FFS is in this process, or, where there are
/// mount options, mounted and used through the same calls.
/// </summary>
internal sealed class SmallFileRow(string name, SmallFileWork work, FuseMountOptions? mounted = null) : IPeerRow
{
    private const int DurableFiles = 1000;
    private const int Callers = 16;
    private const int WarmUpOperations = 200_000;

    private static readonly byte[] Contents = new byte[SmallFilePaths.LengthBytes];
    private WorkFolder _folder = null!;
    private string _mount = "";
    private MountedTree? _watched;

    public string Name => name;

    public string Work => work switch
    {
        SmallFileWork.Create => $"{SmallFilePaths.Count} files of 1 KiB made in {SmallFilePaths.Folders} directories, and one sync",
        SmallFileWork.ReadCold => "the same files opened and read with cold caches, in the order of their making",
        SmallFileWork.ReadColdShuffled => "the same, shuffled",
        SmallFileWork.ReadWarm => "the same, a second time",
        SmallFileWork.OverwriteCold => "the same files opened cold and written over, and one sync",
        SmallFileWork.Delete => "the same files and their directories removed, and one sync",
        SmallFileWork.CreateDurably => $"{DurableFiles} files made, each durable before the next",
        SmallFileWork.CreateDurablyByMany => $"the same by {Callers} callers at once, {SmallFilePaths.Count / Callers} files each",
        _ => "the same files asked for their attributes with cold caches",
    };

    public string Peer => "ext4, bare system calls";

    public string Unit => "/s";

    public bool MoreIsBetter => true;

    public string? Missing() => Tool.NotRoot() ?? Tool.Missing("mkfs.ext4", "losetup", "mount") ?? (mounted is null || File.Exists("/dev/fuse") ? null : "no /dev/fuse");

    public void Prepare(WorkFolder folder)
    {
        _folder = folder;
        _mount = folder.MountExt4("small", 1L << 30);

        if (mounted is not null)
        {
            // The same, as far as a row has time for it: each round mounts anew.
            for (int done = 0; done < WarmUpOperations / 2; done += work is SmallFileWork.CreateDurably ? DurableFiles * 10 : SmallFilePaths.Count)
            {
                RunExo();
            }

            return;
        }

        // Until the compiler is done with what is measured: at least 200,000 operations of each kind.
        for (int done = 0; done < WarmUpOperations; done += work is SmallFileWork.CreateDurably ? DurableFiles * 10 : SmallFilePaths.Count)
        {
            using CffsTree warm = new(folder["small.img"]);
            Run(warm, "");
        }
    }

    public double RunExo()
    {
        if (mounted is not null)
        {
            using MountedTree mount = new(_folder["small.img"], _folder["mnt"], mounted);
            _watched = mount;
            return Run(mount, mount.Root);
        }

        using CffsTree tree = new(_folder["small.img"]);
        return Run(tree, "");
    }

    public double RunPeer()
    {
        _watched = null;
        using KernelTree tree = new(_mount);
        return Run(tree, _mount);
    }

    public void Dispose()
    {
    }

    private double Run(IFileTree tree, string root)
    {
        byte[][] folders = SmallFilePaths.FoldersUnder(root);
        byte[][] files = SmallFilePaths.FilesUnder(root);
        foreach (byte[] folder in folders)
        {
            tree.MakeDirectory(folder);
        }

        tree.Sync();
        byte[] buffer = new byte[4096];
        switch (work)
        {
            case SmallFileWork.Create:
                return Rate(files.Length, () => Create(tree, files));
            case SmallFileWork.CreateDurably:
                return Rate(DurableFiles, () => CreateDurably(tree, files.AsSpan(0, DurableFiles)));
            case SmallFileWork.CreateDurablyByMany:
                return Rate(files.Length / Callers * Callers, () => ByMany(tree, files));
            default:
                break;
        }

        Create(tree, files);
        switch (work)
        {
            case SmallFileWork.ReadCold or SmallFileWork.ReadColdShuffled:
                tree.Chill();
                byte[][] order = work == SmallFileWork.ReadCold ? files : SmallFilePaths.Shuffled(files);
                return Rate(files.Length, () => Read(tree, order, buffer));
            case SmallFileWork.ReadWarm:
                tree.Chill();
                Read(tree, files, buffer);
                return Rate(files.Length, () => Read(tree, files, buffer));
            case SmallFileWork.OverwriteCold:
                tree.Chill();
                return Rate(
                    files.Length,
                    () =>
                    {
                        foreach (byte[] file in files)
                        {
                            tree.Overwrite(file, Contents);
                        }

                        tree.Sync();
                    });
            case SmallFileWork.StatCold:
                tree.Chill();
                return Rate(files.Length, () => Stat(tree, files));
            default:
                return Rate(files.Length, () => Delete(tree, files, folders));
        }
    }

    private double Rate(int count, Action action)
    {
        IReadOnlyList<FuseMessageCount> before = _watched?.CountMessages() ?? [];
        double seconds = Tool.Seconds(action);
        if (_watched is not null)
        {
            Console.Error.WriteLine($"  {count / seconds:#,0}/s; messages per file: {_watched.MessagesSince(before, count)}");
        }

        return count / seconds;
    }

    private static void Create(IFileTree tree, byte[][] files)
    {
        foreach (byte[] file in files)
        {
            tree.Create(file, Contents);
        }

        tree.Sync();
    }

    private static void CreateDurably(IFileTree tree, ReadOnlySpan<byte[]> files)
    {
        foreach (byte[] file in files)
        {
            tree.CreateDurably(file, Contents);
        }
    }

    private static void ByMany(IFileTree tree, byte[][] files)
    {
        int each = files.Length / Callers;
        Thread[] threads = [.. Enumerable.Range(0, Callers).Select(c => new Thread(() => CreateDurably(tree, files.AsSpan(c * each, each))))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
    }

    private static void Read(IFileTree tree, byte[][] files, byte[] buffer)
    {
        long bytes = 0;
        foreach (byte[] file in files)
        {
            bytes += tree.Read(file, buffer);
        }

        Expect(bytes);
    }

    private static void Stat(IFileTree tree, byte[][] files)
    {
        long bytes = 0;
        foreach (byte[] file in files)
        {
            bytes += tree.Stat(file);
        }

        Expect(bytes);
    }

    private static void Delete(IFileTree tree, byte[][] files, byte[][] folders)
    {
        foreach (byte[] file in files)
        {
            tree.Delete(file);
        }

        foreach (byte[] folder in folders)
        {
            tree.RemoveDirectory(folder);
        }

        tree.Sync();
    }

    private static void Expect(long bytes)
    {
        if (bytes != (long)SmallFilePaths.Count * SmallFilePaths.LengthBytes)
        {
            throw new InvalidOperationException($"{bytes} bytes");
        }
    }
}
