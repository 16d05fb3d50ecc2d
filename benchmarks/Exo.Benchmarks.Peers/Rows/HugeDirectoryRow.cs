// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>What is asked of the directory.</summary>
internal enum HugeDirectoryWork
{
    StatCold,
    StatWarm,
    WalkCold,
}

/// <summary>A directory of a million files: random names asked for their attributes, and all of it walked; C-FFS in this process beside ext4 through bare system calls.</summary>
internal sealed class HugeDirectoryRow(string name, HugeDirectoryWork work) : IPeerRow
{
    private const int Files = 1_000_000;
    private const int Asked = 20_000;
    private const int Passes = 10;
    private const long CacheBytes = 512L << 20;
    private CffsTree? _exo;
    private KernelTree? _peer;
    private byte[][] _exoNames = [];
    private byte[][] _peerNames = [];
    private byte[] _peerFolder = [];

    public string Name => name;

    public string Work => work switch
    {
        HugeDirectoryWork.StatCold => $"{Asked} random names of a directory of {Files} asked for their attributes, with cold caches",
        HugeDirectoryWork.StatWarm => "the same, with all of them in core",
        _ => $"a directory of {Files} listed with the attributes of all, with cold caches",
    };

    public string Peer => "ext4, bare system calls";

    public string Unit => "/s";

    public bool MoreIsBetter => true;

    public string? Missing() => Tool.NotRoot() ?? Tool.Missing("mkfs.ext4", "losetup", "mount");

    public void Prepare(WorkFolder folder)
    {
        string mount = folder.MountExt4("huge", 3L << 30, Files + 1000);
        _exo = new CffsTree(folder["huge.img"], 1L << 30, CacheBytes);
        _peer = new KernelTree(mount);
        _peerFolder = Encoding.UTF8.GetBytes($"{mount}/d\0");
        Make(_exo, "/d\0"u8.ToArray(), "/d");
        Make(_peer, _peerFolder, $"{mount}/d");
        int[] chosen = [.. Enumerable.Range(0, Files)];
        new Random(1).Shuffle(chosen);
        _exoNames = [.. chosen.Take(Asked).Select(i => PathOf("/d", i))];
        _peerNames = [.. chosen.Take(Asked).Select(i => PathOf($"{mount}/d", i))];
        for (int pass = 0; pass < Passes; pass++)
        {
            // For the compiler.
            Stat(_exo, _exoNames);
        }
    }

    public double RunExo()
    {
        long before = WorkingSet();
        double rate = Run(_exo!, _exoNames, "/d\0"u8.ToArray());
        if (work == HugeDirectoryWork.WalkCold)
        {
            Console.Error.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"{name}: {(WorkingSet() - before) >> 20} MiB more than before it, cache of {CacheBytes >> 20} MiB, {GC.GetTotalMemory(false) >> 20} MiB of objects"));
        }

        return rate;
    }

    public double RunPeer() => Run(_peer!, _peerNames, _peerFolder);

    public void Dispose()
    {
        _exo?.Dispose();
        _peer?.Dispose();
    }

    private double Run(IFileTree tree, byte[][] names, byte[] folder)
    {
        tree.Chill();
        if (work == HugeDirectoryWork.WalkCold)
        {
            long entries = 0;
            double seconds = Tool.Seconds(() => (entries, _) = tree.Walk(folder));
            return entries == Files ? entries / seconds : throw new InvalidOperationException($"{entries} entries");
        }

        if (work == HugeDirectoryWork.StatWarm)
        {
            // Until the compiler is done with what is measured, and long enough to be measured.
            for (int pass = 0; pass < Passes; pass++)
            {
                Stat(tree, names);
            }

            return (long)Passes * names.Length / Tool.Seconds(() =>
            {
                for (int pass = 0; pass < Passes; pass++)
                {
                    Stat(tree, names);
                }
            });
        }

        return names.Length / Tool.Seconds(() => Stat(tree, names));
    }

    private static void Stat(IFileTree tree, byte[][] names)
    {
        foreach (byte[] path in names)
        {
            if (tree.Stat(path) != 0)
            {
                throw new InvalidOperationException("the file is not empty");
            }
        }
    }

    private static void Make(IFileTree tree, byte[] folder, string path)
    {
        tree.MakeDirectory(folder);
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < Files; i++)
        {
            tree.Create(PathOf(path, i), []);
        }

        tree.Sync();
        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{path}: made in {Stopwatch.GetElapsedTime(start).TotalSeconds:0.0} s"));
    }

    private static byte[] PathOf(string folder, int file) => Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{folder}/message-{file * 7919L % Files:0000000}\0"));

    private static long WorkingSet()
    {
        using Process process = Process.GetCurrentProcess();
        return process.WorkingSet64;
    }
}
