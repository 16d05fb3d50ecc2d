// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>
/// A tree copied within one file system and made durable: <see cref="CffsVolume.CopyTree(string, string, CffsVolume?, bool, IProgress{CffsCopyReport}?, CancellationToken)"/> beside
/// <c>cp -r</c> and a sync of ext4 on a loop device. In core the tree has just been read; else all caches are cold.
/// </summary>
internal sealed class CopyRow(string name, bool isCold, bool shares) : IPeerRow
{
    private const int Files = 4000;
    private const int FilesPerFolder = 40;
    private const int LargestBytes = 200_000;
    private const long ImageBytes = 2L << 30;

    private static readonly CffsOpenOptions Open = new() { Frames = Pool() };
    private WorkFolder _folder = null!;
    private string _ext4 = "";
    private bool _isWarm;

    public string Name => name;

    public string Work => $"a tree of {Files} files of up to 200 kB, half of them below 4 KiB (some 200 MB), copied and made durable, {(isCold ? "caches cold" : "in core")}{(shares ? ", large files by sharing" : "")}";

    public string Peer => "cp -r, sync, ext4";

    public string Unit => "s";

    public bool MoreIsBetter => false;

    public string? Missing() => Tool.NotRoot() ?? Tool.Missing("mkfs.ext4", "losetup", "mount", "cp");

    public void Prepare(WorkFolder folder)
    {
        _folder = folder;
        _ext4 = folder.MountExt4("copied", ImageBytes);
        Tool.Allocate(folder["copy.img"], ImageBytes);
        Random random = new(1);
        byte[] contents = new byte[LargestBytes];
        random.NextBytes(contents);
        using CffsVolume volume = CffsVolume.Create(folder["copy.img"], new CffsCreateOptions { SizeBytes = ImageBytes, Overwrite = true, Open = Open });
        volume.CreateDirectory("/tree");
        Directory.CreateDirectory(Path.Combine(_ext4, "tree"));
        for (int i = 0; i < Files; i++)
        {
            string directory = string.Create(CultureInfo.InvariantCulture, $"tree/d{i / FilesPerFolder:d3}");
            if (i % FilesPerFolder == 0)
            {
                volume.CreateDirectory("/" + directory);
                Directory.CreateDirectory(Path.Combine(_ext4, directory));
            }

            int length = i % 2 == 0 ? random.Next(4096) : random.Next(LargestBytes);
            string path = string.Create(CultureInfo.InvariantCulture, $"{directory}/file{i}");
            volume.WriteAllBytes("/" + path, contents.AsMemory(0, length));
            File.WriteAllBytes(Path.Combine(_ext4, path), contents[..length]);
        }
    }

    public double RunExo()
    {
        if (!_isWarm)
        {
            // Until the compiler is done with what is measured.
            _isWarm = true;
            for (int i = 0; i < 8; i++)
            {
                CopyOnce();
            }
        }

        return CopyOnce();
    }

    public double RunPeer()
    {
        string tree = Path.Combine(_ext4, "tree");
        string copy = Path.Combine(_ext4, "copy");
        Tool.Run("sync");
        Tool.DropCaches();
        if (!isCold)
        {
            Tool.Run("sh", "-c", "find \"$1\" -type f -exec cat {} + >/dev/null", "sh", tree);
        }

        try
        {
            return Tool.Seconds(() => Tool.Run("sh", "-ec", "cp -r \"$1\" \"$2\"; sync -f \"$2\"", "sh", tree, copy));
        }
        finally
        {
            Directory.Delete(copy, recursive: true);
        }
    }

    public void Dispose()
    {
    }

    private double CopyOnce()
    {
        using CffsVolume volume = CffsVolume.Open(_folder["copy.img"], Open);
        if (!isCold)
        {
            foreach (CffsDirectoryEntry folder in volume.ReadDirectory("/tree"))
            {
                string below = "/tree/" + Encoding.UTF8.GetString(folder.Name.Span);
                foreach (CffsDirectoryEntry file in volume.ReadDirectory(below))
                {
                    volume.ReadAllBytes($"{below}/{Encoding.UTF8.GetString(file.Name.Span)}");
                }
            }
        }

        double seconds = Tool.Seconds(() => volume.CopyTree("/tree", "/copy", shareContents: shares));
        foreach (CffsDirectoryEntry folder in volume.ReadDirectory("/copy"))
        {
            string below = "/copy/" + Encoding.UTF8.GetString(folder.Name.Span);
            foreach (CffsDirectoryEntry file in volume.ReadDirectory(below))
            {
                volume.RemoveFile($"{below}/{Encoding.UTF8.GetString(file.Name.Span)}");
            }

            volume.RemoveDirectory(below);
        }

        volume.RemoveDirectory("/copy");
        volume.Sync();
        return seconds;
    }

    /// <summary>Memory that is there when a round begins, as the kernel's is.</summary>
    private static FramePool Pool()
    {
        FramePool pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 768L << 20 });
        List<FrameNumber> touched = [];
        while (pool.TryAllocate(pool.RootCredential, out FrameNumber frame, zero: true))
        {
            touched.Add(frame);
        }

        touched.ForEach(pool.Release);
        return pool;
    }
}
