// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.FileSystems.CFFS.Tests.Concurrency;

public class GroupCommitTests
{
    private const int Callers = 16;

    [Fact]
    public async Task All_who_ask_while_a_commit_runs_are_served_by_one()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        using MemoryBlockDevice memory = new(frames, blockCount: 4096);
        using FlushGate disk = new(memory);
        using CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 });
        volume.WriteAllBytes("/first", new byte[5000]);
        long before = volume.Core.Committer.Stamp;

        disk.Close();
        Task first = Task.Run(volume.Sync, TestContext.Current.CancellationToken);
        disk.WaitForFlush();
        Task[] others = [.. Enumerable.Range(0, Callers).Select(_ => Task.Factory.StartNew(
            volume.Sync, TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
        SpinWait.SpinUntil(() => volume.Core.Committer.Gathered == Callers);
        Assert.All(others, other => Assert.False(other.IsCompleted));
        disk.Open();
        await first;
        await Task.WhenAll(others);

        Assert.Equal(before + 2, volume.Core.Committer.Stamp);
    }

    [Fact]
    public async Task A_commit_that_fails_is_told_to_all_whom_it_was_to_serve_and_to_nobody_else()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        using MemoryBlockDevice memory = new(frames, blockCount: 4096);
        using FlushGate disk = new(memory);
        using CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1, LogBlocks = 256 });
        volume.WriteAllBytes("/first", new byte[5000]);
        volume.Sync();
        disk.Close();
        Task first = StartSync(volume, 0);
        disk.WaitForFlush();
        Task[] others = [StartSync(volume, 1), StartSync(volume, 2)];
        SpinWait.SpinUntil(() => volume.Core.Committer.Gathered == others.Length);
        disk.LetOne();
        disk.WaitForFlush();
        disk.LetOne(fails: true);
        foreach (Task other in others)
        {
            await Assert.ThrowsAsync<BlockDeviceException>(() => other);
        }

        await first;
        disk.Open();
        volume.Sync();
        Assert.True(volume.Core.Committer.IsIdle);
    }

    private static Task StartSync(CffsVolume volume, int number)
    {
        volume.WriteAllBytes($"/{number}", new byte[5000]);
        return Task.Factory.StartNew(volume.Sync, TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    [Fact]
    public async Task Files_made_durable_by_many_at_once_are_all_there()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        using MemoryBlockDevice disk = new(frames, blockCount: 16_384);
        using CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 });
        await Task.WhenAll(Enumerable.Range(0, Callers).Select(caller => Task.Factory.StartNew(
            () =>
            {
                for (int i = 0; i < 50; i++)
                {
                    using CffsFile file = volume.OpenFile($"/{caller}-{i}", CffsOpenMode.Write | CffsOpenMode.Create);
                    file.Write(0, Enumerable.Repeat((byte)(caller + 1), 1000 + i).ToArray());
                    file.Sync();
                }
            },
            TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
        volume.Abandon();

        using CffsVolume again = CffsVolume.Open(disk);
        for (int caller = 0; caller < Callers; caller++)
        {
            for (int i = 0; i < 50; i++)
            {
                Assert.Equal(Enumerable.Repeat((byte)(caller + 1), 1000 + i), again.ReadAllBytes($"/{caller}-{i}"));
            }
        }
    }

    /// <summary>A disk whose flushes, and writes that are durable by themselves, wait while its gate is closed.</summary>
    private sealed class FlushGate(BlockDevice inner) : BlockDevice(inner.Frames, inner.Geometry)
    {
        private readonly ManualResetEventSlim _open = new(true);
        private readonly SemaphoreSlim _arrived = new(0);
        private readonly SemaphoreSlim _passes = new(0);
        private volatile bool _fails;

        public void Close() => _open.Reset();

        public void Open()
        {
            _open.Set();
            _passes.Release();
        }

        public void LetOne(bool fails = false)
        {
            _fails = fails;
            _passes.Release();
        }

        public void WaitForFlush() => _arrived.Wait(TestContext.Current.CancellationToken);

        protected override void ExecuteCore(Span<BlockRequest> batch)
        {
            foreach (ref BlockRequest request in batch)
            {
                if ((request.Operation == BlockOperation.Flush || request.ForceUnitAccess) && !_open.IsSet)
                {
                    _arrived.Release();
                    _passes.Wait();
                    if (_fails && !_open.IsSet)
                    {
                        throw new BlockDeviceException(5, request.FirstBlock, request.Operation, "gate");
                    }
                }

                inner.Execute(new Span<BlockRequest>(ref request));
            }
        }

        protected override ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch)
        {
            ExecuteCore(batch.Span);
            return ValueTask.CompletedTask;
        }

        protected override void DisposeCore()
        {
            _open.Dispose();
            _arrived.Dispose();
            _passes.Dispose();
        }
    }
}
