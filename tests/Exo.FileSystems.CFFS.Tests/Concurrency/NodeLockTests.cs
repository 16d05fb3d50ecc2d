// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;

namespace Exo.FileSystems.CFFS.Tests.Concurrency;

/// <summary>Threads and tasks at one lock. A call that is lost ends a test by its time-out.</summary>
public sealed class NodeLockTests
{
    private const int Each = 3_000;

    private readonly NodeLock _lock = new();
    private int _inside;
    private long _entered;

    [Theory]
    [InlineData(8, 0)]
    [InlineData(0, 8)]
    [InlineData(5, 5)]
    public async Task One_is_in_at_a_time_and_all_come_in(int threads, int tasks)
    {
        Task[] all =
        [
            .. Enumerable.Range(0, threads).Select(i => Task.Factory.StartNew(() => Enter(i), TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default)),
            .. Enumerable.Range(0, tasks).Select(i => Task.Run(() => EnterAsync(i), TestContext.Current.CancellationToken)),
        ];
        await Task.WhenAll(all).WaitAsync(TimeSpan.FromSeconds(120), TestContext.Current.CancellationToken);
        Assert.Equal((long)Each * (threads + tasks), _entered);
        Assert.True(_lock.TryEnter());
        Assert.False(_lock.TryEnter());
        _lock.Exit();
    }

    // Who gives up the processor inside lets the others come, spin and lie down.
    private void Enter(int seed)
    {
        Random random = new(seed);
        for (int i = 0; i < Each; i++)
        {
            _lock.Enter();
            Work(random);
            _lock.Exit();
        }
    }

    private async Task EnterAsync(int seed)
    {
        Random random = new(seed);
        for (int i = 0; i < Each; i++)
        {
            await _lock.EnterAsync(IoMode.Async);
            Work(random);
            _lock.Exit();
        }
    }

    private void Work(Random random)
    {
        Assert.Equal(1, ++_inside);
        _entered++;
        if (random.Next(4) == 0)
        {
            Thread.Yield();
        }

        Assert.Equal(0, --_inside);
    }
}
