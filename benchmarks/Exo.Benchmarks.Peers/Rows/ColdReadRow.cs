// SPDX-License-Identifier: MIT
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.FileSystems.CFFS;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>Every file of a tree read with nothing in any cache, by the same program in the same order: through C-FFS, and through the kernel's file system.</summary>
internal sealed class ColdReadRow : IPeerRow
{
    private readonly byte[] _buffer = new byte[64 << 10];
    private string _image = "";
    private string _tree = "";

    public string Name => "read-cold";

    public string Work => $"{SmallFiles.Count} files of {SmallFiles.LengthBytes} bytes listed, opened and read, cold";

    public string Peer => "ext4, the same loop";

    public string Unit => "s";

    public bool MoreIsBetter => false;

    public string? Missing() => Tool.NotRoot() ?? Tool.Missing("mkfs.ext4", "losetup", "mount", "cp");

    public void Prepare(WorkFolder folder)
    {
        string source = SmallFiles.Make(folder["source"]);
        _image = folder["read.img"];
        Tool.Run("dotnet", Tool.Exo("mkfs", _image, "--size", "1G"));
        Tool.Run("dotnet", Tool.Exo("import", _image, source));
        _tree = Path.Combine(folder.MountExt4("read", 1L << 30), "tree");
        Tool.Run("cp", "-r", source, _tree);
    }

    public double RunExo()
    {
        Tool.DropCaches();
        long bytes = 0;
        double seconds = Tool.Seconds(() =>
        {
            using CffsVolume volume = CffsVolume.Open(_image, new CffsOpenOptions { ReadOnly = true, CacheBytes = 512L << 20 });
            foreach (CffsDirectoryEntry directory in volume.ReadDirectory("/"))
            {
                string path = directory.NameString;
                foreach (CffsDirectoryEntry entry in volume.ReadDirectory(path))
                {
                    using CffsFile file = volume.OpenFile($"{path}/{entry.NameString}");
                    bytes += file.Read(0, _buffer);
                }
            }
        });
        return Checked(bytes, seconds);
    }

    public double RunPeer()
    {
        Tool.DropCaches();
        long bytes = 0;
        double seconds = Tool.Seconds(() =>
        {
            foreach (string directory in Directory.GetDirectories(_tree))
            {
                foreach (string path in Directory.GetFiles(directory))
                {
                    using Microsoft.Win32.SafeHandles.SafeFileHandle file = File.OpenHandle(path);
                    bytes += RandomAccess.Read(file, _buffer, 0);
                }
            }
        });
        return Checked(bytes, seconds);
    }

    public void Dispose()
    {
    }

    private static double Checked(long bytes, double seconds) =>
        bytes == (long)SmallFiles.Count * SmallFiles.LengthBytes ? seconds : throw new InvalidOperationException($"read {bytes} bytes");
}
