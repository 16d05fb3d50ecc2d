// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Adapters.Fuse;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>The unmodified <c>fs_mark</c>: files of 1 KiB, each made, written, made durable with fsync and closed. C-FFS mounted by this process, ext4 on a loop device.</summary>
internal sealed class FsMarkRow(string name, FuseMountOptions options, int threads) : IPeerRow
{
    private const int Files = 4000;
    private const int WarmUps = 5;

    private WorkFolder _folder = null!;
    private string _ext4 = "";

    public string Name => name;

    public string Work => $"fs_mark: {Files} files of 1 KiB in 100 directories by {threads} threads, fsync after each";

    public string Peer => "ext4";

    public string Unit => "/s";

    public bool MoreIsBetter => true;

    public string? Missing() => Tool.NotRoot() ?? Tool.Missing("fs_mark", "mkfs.ext4", "losetup", "mount") ?? (File.Exists("/dev/fuse") ? null : "no /dev/fuse");

    public void Prepare(WorkFolder folder)
    {
        _folder = folder;
        _ext4 = folder.MountExt4("marked", 1L << 30);
        Tool.Allocate(folder["mark.img"], 1L << 30);
    }

    public double RunExo()
    {
        using MountedTree mount = new(_folder["mark.img"], _folder["mnt"], options);

        // Until the compiler is done with what serves.
        for (int i = 0; i < WarmUps; i++)
        {
            Mark(mount.Root);
        }

        return Mark(mount.Root);
    }

    public double RunPeer()
    {
        Mark(_ext4);
        return Mark(_ext4);
    }

    public void Dispose()
    {
    }

    private double Mark(string root)
    {
        string directory = Directory.CreateDirectory(Path.Combine(root, "mark")).FullName;
        try
        {
            string said = Tool.Run(
                "fs_mark", "-d", directory, "-D", "100", "-N", "100", "-s", "1024", "-S", "1", "-k", "-t", threads.ToString(CultureInfo.InvariantCulture),
                "-n", (Files / threads).ToString(CultureInfo.InvariantCulture), "-l", _folder["fs_mark.log"]);

            // FSUse%  Count  Size  Files/sec  App Overhead
            string[] last = said.TrimEnd().Split('\n')[^1].Split(' ', StringSplitOptions.RemoveEmptyEntries);
            return double.Parse(last[3], CultureInfo.InvariantCulture);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }
}
