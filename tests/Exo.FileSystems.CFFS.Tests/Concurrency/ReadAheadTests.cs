// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Simulation.Faults;

namespace Exo.FileSystems.CFFS.Tests.Concurrency;

/// <summary>What is read of a large file before somebody asks for it: enough that the disk has work, bounded, and of no consequence where it fails.</summary>
public sealed class ReadAheadTests : IDisposable
{
    private const int MiB = 1 << 20;
    private const int Blocks = 256;
    private const int FileBytes = 24 * MiB;
    private const int SmallerFiles = 6;
    private const int SmallerBytes = 5 * MiB;

    // The window is a sixteenth of it: 4 MiB; what is on its way to all readers an eighth.
    private const int CacheBytes = 64 * MiB;
    private const int WindowBlocks = 4 * Blocks;

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = CacheBytes });
    private readonly SimulatedBlockDevice _memory;
    private readonly ReadLog _log;
    private readonly GatedBlockDevice _disk;
    private readonly CffsVolume _volume;
    private readonly byte[] _contents = new byte[FileBytes];

    public ReadAheadTests()
    {
        new Random(1).NextBytes(_contents);
        _memory = new SimulatedBlockDevice(_frames, DiskContents.Zeroes(32_768));
        using (CffsVolume made = CffsVolume.Create(_memory, new CffsCreateOptions { Seed = 1 }))
        {
            made.WriteAllBytes("/large", _contents);
            for (int i = 0; i < SmallerFiles; i++)
            {
                made.WriteAllBytes($"/{i}", _contents.AsMemory(i * MiB, SmallerBytes));
            }
        }

        _log = new ReadLog(_memory);
        _disk = new GatedBlockDevice(_log);
        _volume = CffsVolume.Open(_disk);
    }

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _disk.Open();
        _volume.Dispose();
        _disk.Dispose();
        _log.Dispose();
        _memory.Dispose();
        _frames.Dispose();
    }

    [Theory]
    [InlineData(MiB)]
    [InlineData(100_000)]
    [InlineData(4096)]
    public void A_reader_in_order_is_read_ahead_of_as_far_as_the_window_and_no_farther(int piece)
    {
        using CffsFile file = _volume.OpenFile("/large");
        long before = _log.Blocks;
        byte[] bytes = new byte[piece];
        int farthest = 0;
        for (int at = 0; at < FileBytes; at += piece)
        {
            int read = file.Read(at, bytes.AsSpan());
            Assert.Equal(_contents.AsSpan(at, Math.Min(piece, FileBytes - at)), bytes.AsSpan(0, read));
            int ahead = (int)(_log.Blocks - before) - (((at + read) + 4095) / 4096);
            farthest = Math.Max(farthest, ahead);
        }

        Assert.InRange(farthest, WindowBlocks / 2, WindowBlocks);

        // Nothing is read twice.
        Assert.Equal(FileBytes / 4096, _log.Blocks - before);
    }

    [Fact]
    public void The_window_grows_only_as_a_reader_goes_on()
    {
        using CffsFile file = _volume.OpenFile("/large");
        long before = _log.Blocks;
        byte[] bytes = new byte[4096];
        file.Read(0, bytes.AsSpan());
        Assert.Equal(1, _log.Blocks - before);
        file.Read(4096, bytes.AsSpan());
        Assert.InRange(_log.Blocks - before, 3, 2 + 32);
    }

    [Fact]
    public void A_reader_out_of_order_is_not_read_ahead_of()
    {
        const int Seed = 7;
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {Seed}");
        Random random = new(Seed);
        int[] order = [.. Enumerable.Range(0, FileBytes / 4096)];
        random.Shuffle(order);
        using CffsFile file = _volume.OpenFile("/large");
        long before = _log.Blocks;
        byte[] bytes = new byte[4096];
        int asked = 0;
        int last = -1;
        foreach (int block in order.Take(1000).Where(block => block != 0))
        {
            if (block != last + 1)
            {
                file.Read(block * 4096L, bytes.AsSpan());
                Assert.Equal(_contents.AsSpan(block * 4096, 4096), bytes.AsSpan());
                asked++;
                last = block;
            }
        }

        Assert.Equal(asked, _log.Blocks - before);
    }

    [Fact]
    public async Task What_is_on_its_way_to_all_readers_together_is_bounded()
    {
        CffsFile[] files = [.. Enumerable.Range(0, SmallerFiles).Select(i => _volume.OpenFile($"/{i}"))];
        HashSet<ulong> tails = [.. files.SelectMany(file => Enumerable.Range(2 * Blocks, (SmallerBytes / 4096) - (2 * Blocks)).Select(i => BlockAt(file, i * 4096L)))];
        _disk.Close((operation, first) => operation == BlockOperation.Read && tails.Contains(first.Value));
        byte[] bytes = new byte[MiB];
        foreach (CffsFile file in files)
        {
            file.Read(0, bytes.AsSpan());
            file.Read(MiB, bytes.AsSpan());
        }

        // Two pieces of 1 MiB for each of six would be twelve.
        Assert.Equal(CacheBytes / 8 / MiB, _disk.Held);
        _disk.Open();
        for (int i = 0; i < files.Length; i++)
        {
            Assert.Equal(_contents[(i * MiB)..((i * MiB) + SmallerBytes)], await ReadAll(files[i]));
            files[i].Dispose();
        }
    }

    [Fact]
    public async Task Closing_waits_for_what_is_on_its_way()
    {
        CffsFile file = _volume.OpenFile("/large");
        byte[] bytes = new byte[MiB];
        file.Read(0, bytes.AsSpan());
        _disk.Close((operation, first) => operation == BlockOperation.Read);
        Task second = Start(() => file.Read(MiB, bytes.AsSpan()));
        _disk.WaitForHeld(Cancelled);
        _disk.Open();
        await second;

        // The reader has what he wants, and the pieces in front of him are held.
        _disk.Close((operation, first) => operation == BlockOperation.Read);
        await Start(() => file.Read(2 * MiB, bytes.AsSpan())).WaitAsync(TimeSpan.FromSeconds(60), Cancelled);
        Assert.True(_disk.Held > 1);
        await Start(() => file.Read(0, bytes.AsSpan())).WaitAsync(TimeSpan.FromSeconds(60), Cancelled);
        Assert.Equal(_contents.AsSpan(0, MiB), bytes.AsSpan());
        Task close = Start(() =>
        {
            file.Dispose();
            _volume.Dispose();
        });
        Assert.False(close.IsCompleted);
        _disk.Open();
        await close;
        Assert.Equal(_frames.FrameCount, _frames.FreeCount);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void What_cannot_be_read_ahead_is_told_to_nobody_but_who_asks_for_it(bool isHealed)
    {
        using CffsFile file = _volume.OpenFile("/large");
        ulong bad = BlockAt(file, 5 * MiB);
        _log.FailFrom = bad;
        _log.FailTo = bad + Blocks;
        byte[] bytes = new byte[MiB];
        for (int at = 0; at < 5 * MiB; at += MiB)
        {
            Assert.Equal(MiB, file.Read(at, bytes.AsSpan()));
            Assert.Equal(_contents.AsSpan(at, MiB), bytes.AsSpan());
        }

        Assert.True(_log.Failures > 0);
        if (isHealed)
        {
            _log.FailTo = 0;
            Assert.Equal(MiB, file.Read(5 * MiB, bytes.AsSpan()));
            Assert.Equal(_contents.AsSpan(5 * MiB, MiB), bytes.AsSpan());
        }
        else
        {
            _ = Assert.Throws<BlockDeviceException>(() => file.Read(5 * MiB, bytes.AsSpan()));
        }

        Assert.Equal(MiB, file.Read(6 * MiB, bytes.AsSpan()));
        Assert.Equal(_contents.AsSpan(6 * MiB, MiB), bytes.AsSpan());
    }

    [Theory]
    [InlineData("read")]
    [InlineData("read in pieces")]
    [InlineData("lease")]
    public async Task A_long_read_that_misses_does_not_keep_the_lock(string how)
    {
        using CffsFile file = _volume.OpenFile("/large");
        byte[] start = new byte[4096];
        file.Read(0, start.AsSpan());
        ulong late = BlockAt(file, 14 * MiB);

        // Whoever reads what is late stands at the gate; what came before it has been read.
        _disk.Close((operation, first) => operation == BlockOperation.Read && first.Value >= late);
        byte[] bytes = new byte[20 * MiB];
        Task read = Start(() =>
        {
            switch (how)
            {
                case "read": Assert.Equal(bytes.Length, file.Read(MiB, bytes.AsSpan())); break;
                case "read in pieces": Assert.Equal(bytes.Length, file.Read(MiB, [bytes.AsMemory(0, 10), bytes.AsMemory(10)])); break;
                default:
                    using (CffsLease lease = file.Lease(MiB, bytes.Length))
                    {
                        int at = 0;
                        foreach (CffsFrameRun run in lease.Runs)
                        {
                            _frames.Bytes(run.First, run.Count).CopyTo(bytes.AsSpan(at));
                            at += run.Count * FramePool.FrameBytes;
                        }
                    }

                    break;
            }
        });
        _disk.WaitForHeld(Cancelled);
        await Start(() => file.Read(0, start.AsSpan())).WaitAsync(TimeSpan.FromSeconds(60), Cancelled);
        Assert.False(read.IsCompleted);
        _disk.Open();
        await read;
        Assert.Equal(_contents.AsSpan(MiB, bytes.Length), bytes.AsSpan());
    }

    private static ulong BlockAt(CffsFile file, long offset)
    {
        CffsExtent extent = file.ReadExtents().First(extent => offset < extent.Offset + extent.LengthBytes);
        return extent.Block!.Value.Value + (ulong)((offset - extent.Offset) / FramePool.FrameBytes);
    }

    private static Task Start(Action action) => Task.Factory.StartNew(action, Cancelled, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private static async Task<byte[]> ReadAll(CffsFile file)
    {
        byte[] bytes = new byte[file.Length];
        Assert.Equal(bytes.Length, await file.ReadAsync(0, bytes, Cancelled));
        return bytes;
    }

    /// <summary>Counts the blocks that are read, and fails to read some.</summary>
    private sealed class ReadLog(BlockDevice inner) : BlockDevice(inner.Frames, inner.Geometry)
    {
        private const int Eio = 5;

        private long _blocks;
        private int _failures;

        public long Blocks => Volatile.Read(ref _blocks);

        public int Failures => Volatile.Read(ref _failures);

        public ulong FailFrom { get; set; }

        public ulong FailTo { get; set; }

        protected override void ExecuteCore(Span<BlockRequest> batch)
        {
            foreach (ref BlockRequest request in batch)
            {
                if (request.Operation == BlockOperation.Read)
                {
                    _ = Interlocked.Add(ref _blocks, request.BlockCount);
                    if (request.FirstBlock.Value < FailTo && request.FirstBlock.Value + (ulong)request.BlockCount > FailFrom)
                    {
                        _ = Interlocked.Increment(ref _failures);
                        request.Error = Eio;
                        continue;
                    }
                }

                inner.Execute(MemoryMarshal.CreateSpan(ref request, 1));
            }
        }

        protected override ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch)
        {
            ExecuteCore(batch.Span);
            return ValueTask.CompletedTask;
        }

        protected override void DisposeCore()
        {
        }
    }
}
