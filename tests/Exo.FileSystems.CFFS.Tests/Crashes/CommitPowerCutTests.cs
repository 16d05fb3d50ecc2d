// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;
using Exo.Simulation.Recording;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Tests.Crashes;

/// <summary>
/// Random operations, one of them while the transaction of a commit is on its way to the log: it belongs to the next commit. Whatever reached the medium, what the sync covered is there, and the other operation is or is not.
/// <c>EXO_CRASH_SEEDS</c> and <c>EXO_CRASH_FIRST</c> as for <see cref="PowerCutTests"/>.
/// </summary>
public sealed class CommitPowerCutTests
{
    public static TheoryData<int> Seeds => PowerCutTests.Seeds;

    [Theory]
    [MemberData(nameof(Seeds))]
    public void What_changes_while_a_commit_is_written_belongs_to_the_next(int seed)
    {
        DiskRecording recording = Record(seed, out int meanwhile);
        Assert.True(meanwhile > 5, $"{meanwhile} changes");
        int states = 0;
        foreach (CrashState state in CrashStates.Enumerate(recording, new CrashExplorationOptions { Seed = seed, CutsMax = 40, StatesPerCutMax = 6 }))
        {
            states++;
            CrashPromise? promise = PowerCutTests.PromiseOf(state);
            try
            {
                PowerCutTests.Check(state, promise, new CffsOpenOptions());
            }
            catch (Exception failure)
            {
                throw new InvalidOperationException($"{state.Description}: {failure.Message}\n{promise?.History()}", failure);
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{states} states, {meanwhile} changes while a commit was written");
        Assert.True(states > 20, $"{states} states");
    }

    private static DiskRecording Record(int seed, out int meanwhile)
    {
        Random random = new(seed);
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        DiskContents start;
        using (SimulatedBlockDevice made = new(frames, DiskContents.Zeroes(3072)))
        {
            CffsVolume.Create(made, new CffsCreateOptions { Seed = seed, LogBlocks = 64 + (seed % 3 * 100) }).Dispose();
            start = made.Snapshot();
        }

        using SimulatedBlockDevice disk = new(frames, start, recorded: true);
        using BeforeWriteDevice device = new(disk);
        CffsVolume volume = CffsVolume.Open(device, new CffsOpenOptions { BehindFromBytes = seed % 2 == 0 ? CffsOpenOptions.BehindFromBytesDefault : 8192 });
        TreeModel model = new();
        RandomWorkload workload = new(volume, model, random);
        TreeSnapshot now = TreeSnapshot.Of(model, volume);
        disk.Recording!.Mark(new CrashPromise(now));
        BlockExtent log = volume.Disk.Layout.Log;
        meanwhile = 0;
        for (int i = 0; i < 60; i++)
        {
            CrashPromise.Step step = new() { Before = now };
            disk.Recording.Mark(step);
            workload.Step();
            step.After = now = TreeSnapshot.Of(model, volume);
            if (random.Next(3) != 0)
            {
                continue;
            }

            CrashPromise.Step? other = null;
            Task? change = null;
            TreeSnapshot before = now;
            device.BeforeWrite = block =>
            {
                // Not while changes wait: it would wait for us.
                if (change is null && log.Contains(block) && !volume.Core.Committer.IsStopping)
                {
                    other = new CrashPromise.Step { Before = before };
                    disk.Recording.Mark(other);
                    change = Task.Factory.StartNew(workload.Step, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

                    // It has happened, or asks for a commit itself and waits for the one that runs.
                    SpinWait.SpinUntil(() => change.IsCompleted || volume.Core.Committer.Gathered > 0);
                }
            };
            volume.Sync();
            device.BeforeWrite = null;
            disk.Recording.Mark(new CrashPromise(before, other));
            if (change is not null)
            {
                change.Wait();
                other!.After = now = TreeSnapshot.Of(model, volume);
                meanwhile++;
            }
        }

        volume.Dispose();
        return disk.Recording;
    }

    /// <summary>A disk that tells of each write before it is done.</summary>
    private sealed class BeforeWriteDevice(BlockDevice inner) : BlockDevice(inner.Frames, inner.Geometry)
    {
        public Action<BlockNumber>? BeforeWrite { get; set; }

        protected override void ExecuteCore(Span<BlockRequest> batch)
        {
            if (batch.Length > 0 && batch[0].Operation == BlockOperation.Write)
            {
                BeforeWrite?.Invoke(batch[0].FirstBlock);
            }

            inner.Execute(batch);
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
