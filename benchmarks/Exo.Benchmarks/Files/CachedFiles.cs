// SPDX-License-Identifier: MIT
using BenchmarkDotNet.Attributes;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS;

namespace Exo.Benchmarks.Files;

/// <summary>C-FFS on a memory disk, everything in its cache: what the code costs.</summary>
public class CachedFiles
{
    private readonly byte[] _buffer = new byte[4096];
    private readonly byte[] _small = new byte[100];
    private FramePool _frames = null!;
    private MemoryBlockDevice _device = null!;
    private CffsVolume _volume = null!;
    private CffsFile _file = null!;
    private long _next;

    [GlobalSetup]
    public void Setup()
    {
        _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 128 << 20 });
        _device = new MemoryBlockDevice(_frames, 65536);
        _volume = CffsVolume.Create(_device, new CffsCreateOptions { Seed = 1 });
        _volume.CreateDirectory("a");
        _volume.CreateDirectory("a/b");
        _volume.CreateDirectory("a/b/c");
        _volume.WriteAllBytes("a/b/c/file", new byte[1 << 20]);
        _volume.WriteAllBytes("file", new byte[1 << 20]);
        _file = _volume.OpenFile("a/b/c/file", CffsOpenMode.ReadWrite);
        _volume.Sync();
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _file.Dispose();
        _volume.Dispose();
        _device.Dispose();
        _frames.Dispose();
    }

    [Benchmark]
    public int Read_4_KiB() => _file.Read(_next++ % 256 * 4096, _buffer);

    [Benchmark]
    public void Overwrite_4_KiB() => _file.Write(_next++ % 256 * 4096, _buffer);

    [Benchmark]
    public long Stat_in_the_root() => _volume.Stat("file").Size;

    [Benchmark]
    public long Stat_four_deep() => _volume.Stat("a/b/c/file").Size;

    /// <summary>A tiny file made and removed: two checked transactions of one sector each.</summary>
    [Benchmark]
    public void Create_and_unlink()
    {
        _volume.WriteAllBytes("a/new", _small);
        _volume.RemoveFile("a/new");
    }
}
