// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Storage.XN;

namespace Exo.Host.Tests;

/// <summary>
/// Clients that want more of the disk than there is. The disk carries out one request at a time, and only when the other client waits for its turn as well: so what each gets is decided by turns alone, and counted.
/// </summary>
public sealed class DiskShareTests
{
    private const int Blocks = 256;
    private static readonly BlockExtent[] Places = [new(new BlockNumber(1000), Blocks), new(new BlockNumber(2000), Blocks)];

    /// <summary>A disk that is slower than whoever asks it.</summary>
    private sealed class SlowDisk(BlockDevice disk) : BlockDevice(disk.Frames, disk.Geometry)
    {
        private readonly BlockingCollection<(Memory<BlockRequest> Batch, TaskCompletionSource Done)> _queue = [];
        private Thread? _thread;
        private Func<int, bool>? _isOtherWaiting;

        public SlowDisk Begin()
        {
            _thread = new Thread(Work) { IsBackground = true };
            _thread.Start();
            return this;
        }

        /// <summary>Blocks carried out for each place since both compete.</summary>
        public long[] Carried { get; } = new long[2];

        /// <summary>Somebody never asked for a turn, although he wanted one.</summary>
        public bool HasStalled { get; private set; }

        public void Compete(Func<int, bool> isOtherWaiting)
        {
            Array.Clear(Carried);
            Volatile.Write(ref _isOtherWaiting, isOtherWaiting);
        }

        public long[] EndCompetition()
        {
            long[] carried = [.. Carried];
            Volatile.Write(ref _isOtherWaiting, null);
            return carried;
        }

        protected override void ExecuteCore(Span<BlockRequest> batch)
        {
            BlockRequest[] copy = batch.ToArray();
            Enqueue(copy).GetAwaiter().GetResult();
            copy.CopyTo(batch);
        }

        protected override ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch) => new(Enqueue(batch));

        protected override void DisposeCore()
        {
            _queue.CompleteAdding();
            _thread?.Join();
        }

        private Task Enqueue(Memory<BlockRequest> batch)
        {
            TaskCompletionSource done = new();
            _queue.Add((batch, done));
            return done.Task;
        }

        private void Work()
        {
            foreach ((Memory<BlockRequest> batch, TaskCompletionSource done) in _queue.GetConsumingEnumerable())
            {
                foreach (ref readonly BlockRequest request in batch.Span)
                {
                    BlockNumber first = request.FirstBlock;
                    int whose = Array.FindIndex(Places, place => first >= place.First && first < place.First + place.Count);
                    if (whose >= 0 && _isOtherWaiting is not null)
                    {
                        HasStalled |= !SpinWait.SpinUntil(() => HasStalled || Volatile.Read(ref _isOtherWaiting) is not { } isOtherWaiting || isOtherWaiting(1 - whose), 60_000);
                        Carried[whose] += request.BlockCount;
                    }
                }

                try
                {
                    disk.Execute(batch.Span);
                }
                catch (BlockDeviceException)
                {
                    // The requests say it.
                }

                done.SetResult();
            }
        }
    }

    /// <summary>Both write; one asks for much at a time, the other for less.</summary>
    [Theory]
    [InlineData(1, 1, 256, 256)]
    [InlineData(1, 1, 256, 64)]
    [InlineData(3, 1, 256, 256)]
    [InlineData(1, 2, 256, 128)]
    public async Task Each_gets_its_share(int weight, int otherWeight, int blocksAtOnce, int otherBlocksAtOnce)
    {
        const int BlocksInAll = 12_000;
        SlowDisk? slow = null;
        int attached = 0;
        using HostedDisk disk = new(
            framesPerClient: Blocks, diskWeight: _ => attached++ == 0 ? weight : otherWeight, diskBytesUnderWay: 64 << 10, through: memory => slow = new SlowDisk(memory).Begin(), logBlocks: 64);
        using HostClient first = disk.Attach();
        first.Ping();
        using HostClient second = disk.Attach();
        second.Ping();
        HostClient[] clients = [first, second];
        DiskShare[] shares = [.. disk.Server.Sessions.Select(session => session.Share)];
        Assert.Equal([weight, otherWeight], shares.Select(share => share.Weight));
        for (int i = 0; i < 2; i++)
        {
            HostClientTests.MakeList(clients[i], Places[i]);
            HostClientTests.MakeDurable(clients[i], Places[i].First);
        }

        bool isOver = false;
        slow!.Compete(other => shares[other].IsWaiting);
        Task[] writing = [Write(0, blocksAtOnce), Write(1, otherBlocksAtOnce)];
        SpinWait.SpinUntil(() => slow.Carried.Sum() >= BlocksInAll || writing.Any(task => task.IsCompleted));
        Volatile.Write(ref isOver, true);
        long[] carried = slow.EndCompetition();
        await Task.WhenAll(writing);
        Assert.False(slow.HasStalled);
        double share = carried.Sum() * (double)weight / (weight + otherWeight);
        Assert.InRange(carried[0], share * 0.9, share * 1.1);
        Assert.InRange(carried[1], (carried.Sum() - share) * 0.9, (carried.Sum() - share) * 1.1);

        Task Write(int who, int atOnce) => Task.Factory.StartNew(
            () =>
            {
                BlockNumber[] blocks = [.. Enumerable.Range(0, atOnce).Select(i => Places[who].First + (uint)i)];
                while (!Volatile.Read(ref isOver))
                {
                    Assert.Equal(XnStatus.Ok, clients[who].MarkDirty(Places[who].First, atOnce));
                    Assert.Equal(XnStatus.Ok, clients[who].WriteBack(blocks));
                }
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    /// <summary>One loads the disk with all it has; who wants a single block waits for one piece that is under way and one more, not for all of it.</summary>
    [Fact]
    public async Task Who_loads_the_disk_does_not_starve_who_asks_for_little()
    {
        const int Rounds = 50;
        SlowDisk? slow = null;
        using HostedDisk disk = new(framesPerClient: Blocks, diskBytesUnderWay: 64 << 10, through: memory => slow = new SlowDisk(memory).Begin(), logBlocks: 64);
        using HostClient loading = disk.Attach();
        using HostClient modest = disk.Attach();
        loading.Ping();
        modest.Ping();
        DiskShare loadingShare = disk.Server.Sessions[0].Share;
        HostClientTests.MakeList(loading, Places[0]);
        HostClientTests.MakeDurable(loading, Places[0].First);
        (BlockNumber list, _) = HostClientTests.MakeList(modest, Places[1] with { Count = 1 });
        HostClientTests.MakeDurable(modest, Places[1].First);

        bool isOver = false;
        slow!.Compete(other => other == 1 || loadingShare.IsWaiting);
        Task writing = Task.Factory.StartNew(
            () =>
            {
                BlockNumber[] blocks = [.. Enumerable.Range(0, Blocks).Select(i => Places[0].First + (uint)i)];
                while (!Volatile.Read(ref isOver))
                {
                    Assert.Equal(XnStatus.Ok, loading.MarkDirty(Places[0].First, Blocks));
                    Assert.Equal(XnStatus.Ok, loading.WriteBack(blocks));
                }
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        for (int round = 0; round < Rounds; round++)
        {
            Assert.Equal(XnStatus.Ok, modest.Unbind(Places[1].First));
            modest.Read(new XnReadRequest(list, 7, Places[1] with { Count = 1 }));
        }

        long[] carried = slow.EndCompetition();
        Volatile.Write(ref isOver, true);
        await writing;
        Assert.False(slow.HasStalled);
        Assert.Equal(Rounds, carried[1]);
    }

    [Fact]
    public void What_a_client_asks_the_disk_for_is_on_its_account_and_nobody_elses()
    {
        using HostedDisk disk = new(blocksPerClient: 300, framesPerClient: Blocks);
        using HostClient reader = disk.Attach();
        using HostClient other = disk.Attach();
        reader.Ping();
        other.Ping();
        (BlockNumber list, _) = HostClientTests.MakeList(reader, Places[0]);
        HostClientTests.MakeDurable(reader, Places[0].First);
        foreach (uint i in Enumerable.Range(0, Blocks).Select(i => (uint)i))
        {
            Assert.Equal(XnStatus.Ok, reader.Unbind(Places[0].First + i));
        }

        ExokernelSnapshot before = disk.Server.Observe();
        reader.Read(new XnReadRequest(list, 7, Places[0]));
        ExokernelSnapshot after = disk.Server.Observe();
        Assert.Equal(Blocks * 4096L, after.Clients[0].DiskBytes - before.Clients[0].DiskBytes);
        Assert.Equal(before.Clients[1].DiskBytes, after.Clients[1].DiskBytes);
        byte[] block = new byte[4096];
        for (uint i = 0; i < Blocks; i++)
        {
            Assert.True(reader.TryReadCached(Places[0].First + i, block));
            Assert.Equal((byte)(i + 1), block[7]);
        }
    }
}
