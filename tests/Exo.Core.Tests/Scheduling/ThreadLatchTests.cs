// SPDX-License-Identifier: MIT
using Exo.Core.Scheduling;

namespace Exo.Core.Tests.Scheduling;

/// <summary>A test that fails here fails by its time-out.</summary>
public sealed class ThreadLatchTests
{
    [Fact]
    public async Task Opening_lets_all_go_that_wait_and_whoever_comes_later()
    {
        for (int round = 0; round < 200; round++)
        {
            ThreadLatch latch = new();
            int arrived = 0;
            Task[] waiting = [.. Enumerable.Range(0, 8).Select(_ => Task.Factory.StartNew(
                () =>
                {
                    Interlocked.Increment(ref arrived);
                    latch.Wait();
                    Assert.True(latch.IsOpen);
                },
                TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default))];

            // Some sleep by now, and some are about to.
            SpinWait.SpinUntil(() => Volatile.Read(ref arrived) >= round % 9);
            Assert.False(latch.IsOpen);
            Assert.All(waiting, task => Assert.False(task.IsCompleted));
            latch.Open();
            await Task.WhenAll(waiting).WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);
            latch.Wait();
        }
    }

    [Fact]
    public void Who_waits_only_for_so_long_is_told_whether_it_is_open()
    {
        ThreadLatch latch = new();
        Assert.False(latch.TryWait(TimeSpan.Zero));
        Assert.False(latch.TryWait(TimeSpan.FromMicroseconds(1)));
        latch.Open();
        Assert.True(latch.TryWait(TimeSpan.FromDays(1)));
    }
}
