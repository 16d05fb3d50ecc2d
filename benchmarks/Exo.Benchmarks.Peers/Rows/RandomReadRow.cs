// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Text.Json;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>Random 4 KiB reads of one image file, always 32 under way, past the page cache.</summary>
internal sealed class RandomReadRow : IPeerRow
{
    private const int Depth = 32;
    private const int Seconds = 3;
    private const long ImageBytes = 1L << 30;

    private string _image = "";

    public string Name => "disk-random-read";

    public string Work => $"4 KiB reads at random places of a {ImageBytes >> 20} MiB image, {Depth} under way, O_DIRECT";

    public string Peer => "fio, io_uring";

    public string Unit => "reads/s";

    public bool MoreIsBetter => true;

    public string? Missing() => Tool.Missing("fio");

    public void Prepare(WorkFolder folder)
    {
        _image = folder["disk.img"];
        using FileStream file = File.Create(_image);
        byte[] chunk = new byte[1 << 20];
        for (long at = 0; at < ImageBytes; at += chunk.Length)
        {
            Random.Shared.NextBytes(chunk);
            file.Write(chunk);
        }

        file.Flush(flushToDisk: true);
    }

    public double RunExo()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
        using BlockDevice device = BlockDevice.Open(_image, frames, new BlockDeviceOptions { ReadOnly = true, RegisterFrames = true });
        using BlockQueue queue = device.OpenQueue(Depth);
        ReadOnlyMemory<FrameNumber>[] vectors = new ReadOnlyMemory<FrameNumber>[Depth];
        for (int i = 0; i < Depth; i++)
        {
            if (!frames.TryAllocate(frames.RootCredential, out FrameNumber frame))
            {
                throw new InvalidOperationException("no frame");
            }

            vectors[i] = new[] { frame };
        }

        Random random = new(1);
        long blockCount = (long)device.Geometry.BlockCount;
        BlockCompletion[] done = new BlockCompletion[Depth];
        long reads = 0;
        int count = Depth;
        for (int i = 0; i < Depth; i++)
        {
            done[i] = new BlockCompletion((ulong)i, 0);
        }

        long start = Stopwatch.GetTimestamp();
        long end = start + (Seconds * Stopwatch.Frequency);
        while (Stopwatch.GetTimestamp() < end)
        {
            for (int i = 0; i < count; i++)
            {
                ulong slot = done[i].Cookie;
                queue.TrySubmit(BlockRequest.Read(new BlockNumber((ulong)random.NextInt64(blockCount)), vectors[slot]), slot);
            }

            count = queue.Reap(done);
            reads += count;
        }

        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return reads / seconds;
    }

    public double RunPeer()
    {
        string output = Tool.Run(
            "fio", "--name=read", $"--filename={_image}", "--rw=randread", "--bs=4k", $"--iodepth={Depth}", "--ioengine=io_uring", "--direct=1", "--registerfiles", "--fixedbufs",
            $"--runtime={Seconds}", "--time_based", "--readonly", "--output-format=json");
        using JsonDocument result = JsonDocument.Parse(output[output.IndexOf('{', StringComparison.Ordinal)..]);
        JsonElement job = result.RootElement.GetProperty("jobs")[0];
        return job.GetProperty("read").GetProperty("iops").GetDouble();
    }

    public void Dispose()
    {
    }
}
