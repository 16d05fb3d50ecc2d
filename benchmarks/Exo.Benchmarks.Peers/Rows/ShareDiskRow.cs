// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>
/// Two library OSes on a thread each that want all of one disk, with shares of it, beside one of them that has the shared disk to itself. What each got of its share goes to standard error, beside the figures.
/// </summary>
/// <param name="name">On the command line.</param>
/// <param name="first">The weight of the first, who asks for small pieces.</param>
/// <param name="second">The weight of the second, who asks for large ones.</param>
internal sealed class ShareDiskRow(string name, int first, int second) : IPeerRow
{
    private const int Seconds = 3;
    private const int Depth = 32;
    private const int SmallBlocks = 16;
    private const int LargeBlocks = 64;
    private const long BytesUnderWayMax = 1 << 20;
    private const long ImageBytes = 1L << 30;

    private string _image = "";

    public string Name => name;

    public string Work => $"random reads of 64 KiB by one thread and of 256 KiB by another, O_DIRECT, {Depth} each, with shares of {first} and {second}: both together";

    public string Peer => "the reads of 64 KiB alone, on a share of the same disk";

    public string Unit => "MB/s";

    public bool MoreIsBetter => true;

    public string? Missing() => null;

    public void Prepare(WorkFolder folder)
    {
        _image = folder["shared.img"];
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
        using FramePool frames = FramePool.Create();
        using BlockDevice disk = BlockDevice.Open(_image, frames, new BlockDeviceOptions { ReadOnly = true, Direct = DirectIo.On });
        DiskShares shares = new(disk, BytesUnderWayMax);
        using DiskShare a = shares.Add(first);
        using DiskShare b = shares.Add(second);
        using Barrier begin = new(2);
        long end = 0;
        double[] got = new double[2];
        Thread[] threads = [.. new[] { (a, SmallBlocks), (b, LargeBlocks) }.Select((one, i) => new Thread(() =>
        {
            begin.SignalAndWait();
            Interlocked.CompareExchange(ref end, Stopwatch.GetTimestamp() + (Seconds * Stopwatch.Frequency), 0);
            got[i] = Read(one.Item1, one.Item2, Volatile.Read(ref end));
        }))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
        double total = got.Sum();
        Console.Error.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"  {Name}: {got[0]:0} and {got[1]:0} MB/s, {got[0] / (total * first / (first + second)):0.000} and {got[1] / (total * second / (first + second)):0.000} of their shares"));
        return total;
    }

    public double RunPeer()
    {
        using FramePool frames = FramePool.Create();
        using BlockDevice disk = BlockDevice.Open(_image, frames, new BlockDeviceOptions { ReadOnly = true, Direct = DirectIo.On });
        using DiskShare alone = new DiskShares(disk, BytesUnderWayMax).Add();
        return Read(alone, SmallBlocks, Stopwatch.GetTimestamp() + (Seconds * Stopwatch.Frequency));
    }

    public void Dispose()
    {
    }

    /// <summary>Reads until a moment. MB/s.</summary>
    private static double Read(BlockDevice device, int blocks, long end)
    {
        Random random = new(blocks);
        ulong places = device.Geometry.BlockCount / (ulong)blocks;
        FrameNumber[][] vectors = new FrameNumber[Depth][];
        for (int i = 0; i < Depth; i++)
        {
            if (!device.Frames.TryAllocateRun(device.Frames.RootCredential, blocks, out FrameNumber run))
            {
                throw new InvalidOperationException("no frames");
            }

            vectors[i] = [.. Enumerable.Range(0, blocks).Select(frame => new FrameNumber(run.Value + (uint)frame))];
        }

        using BlockQueue queue = device.OpenQueue(Depth);
        BlockCompletion[] done = new BlockCompletion[Depth];
        Queue<ulong> free = new(Enumerable.Range(0, Depth).Select(i => (ulong)i));
        long count = 0;
        long start = Stopwatch.GetTimestamp();
        while (Stopwatch.GetTimestamp() < end)
        {
            while (free.TryDequeue(out ulong slot))
            {
                queue.TrySubmit(BlockRequest.Read(new BlockNumber((ulong)random.NextInt64((long)places) * (ulong)blocks), vectors[slot]), slot);
            }

            int reaped = queue.Reap(done);
            foreach (BlockCompletion completion in done.AsSpan(0, reaped))
            {
                if (completion.Error != 0)
                {
                    throw new IOException($"errno {completion.Error}");
                }

                free.Enqueue(completion.Cookie);
            }

            count += reaped;
        }

        return count * (double)blocks * FramePool.FrameBytes / 1e6 / Stopwatch.GetElapsedTime(start).TotalSeconds;
    }
}
