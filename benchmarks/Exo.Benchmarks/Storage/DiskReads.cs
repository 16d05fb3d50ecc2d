// SPDX-License-Identifier: MIT
using BenchmarkDotNet.Attributes;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Benchmarks.Storage;

/// <summary>One block, synchronously: memory, and an image file past the page cache.</summary>
public class DiskReads
{
    private readonly string _image = Path.Combine(Path.GetTempPath(), $"exo-benchmark-{Environment.ProcessId}.img");
    private readonly BlockRequest[] _batch = new BlockRequest[1];
    private readonly FrameNumber[] _frame = new FrameNumber[1];
    private FramePool _frames = null!;
    private BlockDevice _memory = null!;
    private BlockDevice _file = null!;
    private ulong _next;

    [GlobalSetup]
    public void Setup()
    {
        _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
        _frames.TryAllocate(_frames.RootCredential, out _frame[0]);
        _memory = new MemoryBlockDevice(_frames, 1024);
        File.WriteAllBytes(_image, new byte[1024 * 4096]);
        _file = BlockDevice.Open(_image, _frames, new BlockDeviceOptions());
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _memory.Dispose();
        _file.Dispose();
        _frames.Release(_frame[0]);
        _frames.Dispose();
        File.Delete(_image);
    }

    [Benchmark]
    public void Memory_4_KiB() => Read(_memory);

    [Benchmark]
    public void File_4_KiB() => Read(_file);

    private void Read(BlockDevice device)
    {
        _batch[0] = BlockRequest.Read(new BlockNumber(_next++ * 37 % 1024), _frame);
        device.Execute(_batch);
    }
}
