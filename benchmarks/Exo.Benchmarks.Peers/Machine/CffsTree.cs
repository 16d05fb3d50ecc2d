// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.FileSystems.CFFS;

namespace Exo.Benchmarks.Peers.Machine;

/// <summary>
/// C-FFS in this process, on an image file whose blocks are allocated, as the peer's are. Its cache is a frame pool that lives as long as the process: like the kernel's, its memory is there when a
/// round begins.
/// </summary>
internal sealed class CffsTree : IFileTree
{
    private static readonly Dictionary<long, FramePool> Pools = [];

    private readonly string _image;
    private readonly CffsOpenOptions _options;
    private CffsVolume _volume;

    public CffsTree(string image, long sizeBytes = 1L << 30, long cacheBytes = 256L << 20, bool groups = true, bool packs = true, int? logBlocks = null)
    {
        _image = image;
        _options = new CffsOpenOptions { Frames = PoolOf(cacheBytes), Groups = groups, Packs = packs };
        Tool.Allocate(image, sizeBytes);
        _volume = CffsVolume.Create(image, new CffsCreateOptions { SizeBytes = sizeBytes, Overwrite = true, Open = _options, LogBlocks = logBlocks });
    }

    private CffsTree(string image, CffsOpenOptions options)
    {
        _image = image;
        _options = options;
        _volume = CffsVolume.Open(image, options);
    }

    /// <summary>What is on an image, as it is.</summary>
    public static CffsTree Existing(string image, long cacheBytes = 256L << 20) => new(image, new CffsOpenOptions { Frames = PoolOf(cacheBytes) });

    /// <summary>Moves a file's inode out of its directory, as a second link does, and takes that link away again.</summary>
    public void MoveInodeOut(byte[] path)
    {
        byte[] second = [.. Path(path).Span, (byte)'~'];
        _volume.CreateHardLink(Path(path), second);
        _volume.RemoveFile(second);
    }

    public void MakeDirectory(byte[] path) => _volume.CreateDirectory(Path(path));

    public void Create(byte[] path, byte[] contents) => _volume.WriteAllBytes(Path(path), contents);

    public void CreateDurably(byte[] path, byte[] contents)
    {
        using CffsFile file = _volume.OpenFile(Path(path), CffsOpenMode.Write | CffsOpenMode.Create);
        file.Write(0, contents.AsSpan());
        file.Sync();
    }

    public void AppendDurably(byte[] path, long at, byte[] contents)
    {
        using CffsFile file = _volume.OpenFile(Path(path), CffsOpenMode.Write);
        file.Write(at, contents.AsSpan());
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

    /// <summary>Reads a file from its beginning to its end, a buffer at a time.</summary>
    public void ReadThrough(byte[] path, byte[] buffer)
    {
        using CffsFile file = _volume.OpenFile(Path(path));
        for (long at = 0; file.Read(at, buffer) is > 0 and int read; at += read)
        {
        }
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
        // The image is read directly: nothing of it is in any other cache.
        _volume.Dispose();
        _volume = CffsVolume.Open(_image, _options);
    }

    public void Dispose() => _volume.Dispose();

    private static FramePool PoolOf(long cacheBytes)
    {
        if (!Pools.TryGetValue(cacheBytes, out FramePool? pool))
        {
            pool = FramePool.Create(new FramePoolOptions { CapacityBytes = cacheBytes });
            Pools.Add(cacheBytes, pool);
            List<FrameNumber> touched = [];
            while (pool.TryAllocate(pool.RootCredential, out FrameNumber frame, zero: true))
            {
                touched.Add(frame);
            }

            touched.ForEach(pool.Release);
        }

        return pool;
    }

    private static ReadOnlyMemory<byte> Path(byte[] path) => path.AsMemory(0, path.Length - 1);
}
