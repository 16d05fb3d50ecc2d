// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS;

namespace Exo.Benchmarks.Peers.Machine;

/// <summary>C-FFS in this process, on an image file.</summary>
internal sealed class CffsTree(string image, long sizeBytes = 1L << 30, long cacheBytes = 256L << 20) : IFileTree
{
    private readonly CffsOpenOptions _options = new() { CacheBytes = cacheBytes };
    private CffsVolume _volume = CffsVolume.Create(image, new CffsCreateOptions { SizeBytes = sizeBytes, Overwrite = true, Open = new CffsOpenOptions { CacheBytes = cacheBytes } });

    public void MakeDirectory(byte[] path) => _volume.CreateDirectory(Path(path));

    public void Create(byte[] path, byte[] contents) => _volume.WriteAllBytes(Path(path), contents);

    public void CreateDurably(byte[] path, byte[] contents)
    {
        using CffsFile file = _volume.OpenFile(Path(path), CffsOpenMode.Write | CffsOpenMode.Create);
        file.Write(0, contents.AsSpan());
        file.Sync();
    }

    public void Overwrite(byte[] path, byte[] contents)
    {
        using CffsFile file = _volume.OpenFile(Path(path), CffsOpenMode.Write);
        file.Write(0, contents.AsSpan());
    }

    public int Read(byte[] path, byte[] buffer)
    {
        using CffsFile file = _volume.OpenFile(Path(path));
        return file.Read(0, buffer);
    }

    public long Stat(byte[] path) => _volume.Stat(Path(path)).Size;

    public (long Entries, long Bytes) Walk(byte[] path)
    {
        using CffsDirectory directory = _volume.OpenDirectory(Path(path));
        using CffsDirectoryReader entries = directory.Read();
        long count = 0;
        long bytes = 0;
        while (entries.Next())
        {
            count++;
            bytes += entries.Stat().Size;
        }

        return (count, bytes);
    }

    public void Delete(byte[] path) => _volume.RemoveFile(Path(path));

    public void RemoveDirectory(byte[] path) => _volume.RemoveDirectory(Path(path));

    public void Sync() => _volume.Sync();

    public void Chill()
    {
        _volume.Dispose();
        Tool.DropCaches();
        _volume = CffsVolume.Open(image, _options);
    }

    public void Dispose()
    {
        _volume.Dispose();
        File.Delete(image);
    }

    private static ReadOnlyMemory<byte> Path(byte[] path) => path.AsMemory(0, path.Length - 1);
}
