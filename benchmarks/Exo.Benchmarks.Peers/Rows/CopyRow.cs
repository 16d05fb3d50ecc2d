// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>
/// A tree copied within one file system and made durable: <see cref="CffsVolume.CopyTree(string, string, CffsVolume?, bool, CffsIdentity?, CffsIdentity?, IProgress{CffsCopyReport}?, CancellationToken)"/> beside
/// <c>cp -r</c> and a sync of ext4 on a loop device. In core the tree has just been read; else all caches are cold.
/// </summary>
internal sealed class CopyRow(string name, CopiedTree tree, bool isCold, bool shares) : IPeerRow
{
    private CffsOpenOptions _open = null!;
    private WorkFolder _folder = null!;
    private string _ext4 = "";
    private bool _isWarm;

    public string Name => name;

    public string Work => $"a tree of {tree.Description}, copied and made durable, {(isCold ? "caches cold" : "in core")}{(shares ? ", large files by sharing" : "")}";

    public string Peer => "cp -r, sync, ext4";

    public string Unit => "s";

    public bool MoreIsBetter => false;

    public string? Missing() => Tool.NotRoot() ?? Tool.Missing("mkfs.ext4", "losetup", "mount", "cp");

    public void Prepare(WorkFolder folder)
    {
        _folder = folder;
        _open = new CffsOpenOptions { Frames = Pool(tree.PoolBytes) };
        _ext4 = folder.MountExt4("copied", tree.ImageBytes);
        Tool.Allocate(folder["copy.img"], tree.ImageBytes);
        using CffsVolume volume = CffsVolume.Create(folder["copy.img"], new CffsCreateOptions { SizeBytes = tree.ImageBytes, Overwrite = true, Open = _open });
        byte[] contents = new byte[tree.LengthsBytes.Max()];
        new Random(1).NextBytes(contents);
        HashSet<string> made = [];
        for (int i = 0; i < tree.LengthsBytes.Count; i++)
        {
            string directory = tree.Directory(i);
            for (int end = directory.IndexOf('/'); ; end = directory.IndexOf('/', end + 1))
            {
                string above = end < 0 ? directory : directory[..end];
                if (made.Add(above))
                {
                    volume.CreateDirectory("/" + above);
                    Directory.CreateDirectory(Path.Combine(_ext4, above));
                }

                if (end < 0)
                {
                    break;
                }
            }

            string path = string.Create(CultureInfo.InvariantCulture, $"{directory}/file{i}");
            volume.WriteAllBytes("/" + path, contents.AsMemory(0, tree.LengthsBytes[i]));
            File.WriteAllBytes(Path.Combine(_ext4, path), contents.AsSpan(0, tree.LengthsBytes[i]));
        }
    }

    public double RunExo()
    {
        // Until the compiler is done with what is measured.
        for (int i = 0; i < tree.WarmupRounds && !_isWarm; i++)
        {
            CopyOnce();
        }

        _isWarm = true;
        return CopyOnce();
    }

    public double RunPeer()
    {
        string source = Path.Combine(_ext4, CopiedTree.Root);
        string copy = Path.Combine(_ext4, "copy");
        Tool.Run("sync");
        Tool.DropCaches();
        if (!isCold)
        {
            Tool.Run("sh", "-c", "find \"$1\" -type f -exec cat {} + >/dev/null", "sh", source);
        }

        try
        {
            return Tool.Seconds(() => Tool.Run("sh", "-ec", "cp -r \"$1\" \"$2\"; sync -f \"$2\"", "sh", source, copy));
        }
        finally
        {
            Directory.Delete(copy, recursive: true);
        }
    }

    public void Dispose()
    {
        _open?.Frames?.Dispose();
    }

    private double CopyOnce()
    {
        using CffsVolume volume = CffsVolume.Open(_folder["copy.img"], _open);
        if (!isCold)
        {
            ForEachFile(volume, "/" + CopiedTree.Root, path => volume.ReadAllBytes(path), _ => { });
        }

        double seconds = Tool.Seconds(() => volume.CopyTree("/" + CopiedTree.Root, "/copy", shareContents: shares));
        ForEachFile(volume, "/copy", path => volume.RemoveFile(path), path => volume.RemoveDirectory(path));
        volume.Sync();
        return seconds;
    }

    /// <summary>Everything below a directory, and it itself last.</summary>
    private static void ForEachFile(CffsVolume volume, string directory, Action<string> file, Action<string> afterwards)
    {
        foreach (CffsDirectoryEntry entry in volume.ReadDirectory(directory))
        {
            string path = $"{directory}/{Encoding.UTF8.GetString(entry.Name.Span)}";
            if (entry.Kind == CffsKind.Directory)
            {
                ForEachFile(volume, path, file, afterwards);
            }
            else
            {
                file(path);
            }
        }

        afterwards(directory);
    }

    /// <summary>Memory that is there when a round begins, as the kernel's is.</summary>
    private static FramePool Pool(long capacityBytes)
    {
        FramePool pool = FramePool.Create(new FramePoolOptions { CapacityBytes = capacityBytes });
        List<FrameNumber> touched = [];
        while (pool.TryAllocate(pool.RootCredential, out FrameNumber frame, zero: true))
        {
            touched.Add(frame);
        }

        touched.ForEach(pool.Release);
        return pool;
    }
}
