// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Exo.FileSystems.CFFS.Commit;

namespace Exo.FileSystems.CFFS.Tests.Concurrency;

/// <summary>Whom a commit waits for, by a clock of the test's own.</summary>
public class CommitGatheringTests
{
    // What a commit takes here, on a disk that is not quick; and a small part of it.
    private static readonly long Took = Stopwatch.Frequency / 250;
    private static readonly long Moment = Stopwatch.Frequency / 100_000;

    private readonly CommitGathering _gathering = new();
    private long _now = 1_000;

    [Fact]
    public void Nobody_is_waited_for_before_the_first_commit_and_by_who_is_alone()
    {
        Assert.True(_gathering.IsWholeWith(1, _now));
        Commit(served: 1, waiting: 0);
        Assert.True(_gathering.IsWholeWith(1, _now));
    }

    [Fact]
    public void Who_was_served_and_who_was_waiting_already_make_one_group()
    {
        Commit(served: 2, waiting: 2);
        Assert.False(_gathering.IsWholeWith(3, _now));
        Assert.True(_gathering.IsWholeWith(4, _now));
    }

    [Fact]
    public void Whoever_comes_lengthens_the_wait_and_when_nobody_does_it_ends()
    {
        Commit(served: 4, waiting: 0);
        _now += (2 * Took) - Moment;
        Assert.False(_gathering.IsWholeWith(2, _now));
        _now += (2 * Took) - Moment;
        Assert.Equal(Stopwatch.GetElapsedTime(0, Moment), _gathering.Left(2, _now));
        _now += Moment;
        Assert.True(_gathering.Left(2, _now) <= TimeSpan.Zero);
    }

    [Fact]
    public void One_who_comes_long_after_waits_for_nobody_and_lengthens_nothing()
    {
        Commit(served: 4, waiting: 0);
        _now += 2 * Took;
        Assert.True(_gathering.IsWholeWith(1, _now));
        Assert.True(_gathering.IsWholeWith(2, _now));

        Commit(served: 4, waiting: 0);
        _now += (2 * Took) - Moment;
        Assert.False(_gathering.IsWholeWith(1, _now));
        _now += Moment;
        Assert.True(_gathering.Left(1, _now) <= TimeSpan.Zero);
    }

    /// <summary>Two callers of whom one always does something else first: how many of so many commits the other waits for him.</summary>
    [Fact]
    public void Waits_in_vain_become_rare_and_one_that_was_not_makes_them_as_frequent_as_before()
    {
        int waits = 0;
        for (int i = 0; i < 1_000; i++)
        {
            waits += _gathering.IsWholeWith(1, _now) ? 0 : 1;
            Commit(served: 1, waiting: 1);
        }

        Assert.InRange(waits, 1, 25);
        while (_gathering.IsWholeWith(1, _now))
        {
            Commit(served: 1, waiting: 1);
        }

        Commit(served: 2, waiting: 0);
        Assert.False(_gathering.IsWholeWith(1, _now));
        Commit(served: 1, waiting: 1);
        Assert.False(_gathering.IsWholeWith(1, _now));
    }

    [Fact]
    public void After_a_commit_on_a_disk_that_was_stuck_nobody_waits_long()
    {
        Commit(served: 2, waiting: 0, took: 30 * Stopwatch.Frequency);
        Assert.InRange(_gathering.Left(1, _now), TimeSpan.FromMilliseconds(1), TimeSpan.FromMilliseconds(10));
    }

    [Fact]
    public void Where_commits_are_quick_nobody_is_waited_for_and_one_that_was_not_changes_nothing()
    {
        long quick = Stopwatch.Frequency / 5_000;
        for (int i = 0; i < 10; i++)
        {
            Commit(served: 8, waiting: 8, quick);
            Assert.True(_gathering.IsWholeWith(1, _now));
        }

        Commit(served: 8, waiting: 8, Took);
        Assert.True(_gathering.IsWholeWith(1, _now));
        for (int i = 0; i < 10; i++)
        {
            Commit(served: 16, waiting: 0, Took);
        }

        Assert.False(_gathering.IsWholeWith(15, _now));
        for (int i = 0; i < 20; i++)
        {
            Commit(served: 16, waiting: 0, quick);
        }

        Assert.True(_gathering.IsWholeWith(1, _now));
    }

    private void Commit(int served, int waiting, long? took = null)
    {
        long began = _now;
        _now += took ?? Took;
        _gathering.Ended(served, waiting, began, _now);
    }
}
