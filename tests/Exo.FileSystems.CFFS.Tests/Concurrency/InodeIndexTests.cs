// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;

namespace Exo.FileSystems.CFFS.Tests.Concurrency;

/// <summary>Inodes by number, searched without a lock while others come and go.</summary>
public sealed class InodeIndexTests
{
    private const int Rounds = 60;
    private const int Staying = 100;
    private const int Others = 10_000;

    private InodeIndex _index = new();
    private volatile bool _isOver;

    [Fact]
    public async Task What_stays_is_found_while_others_come_and_go_and_the_chains_are_made_anew()
    {
        _index = WithThoseThatStay();
        Task<int> searching = Task.Factory.StartNew(Search, TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        try
        {
            for (int round = 0; round < Rounds && !searching.IsCompleted; round++)
            {
                InodeIndex index = WithThoseThatStay();
                Volatile.Write(ref _index, index);

                // In the chains of those that stay, and in front of them.
                Inode[] others = [.. Enumerable.Range(0, Others).Select(i => new Inode((ulong)((1024 * (i + 1)) + (i % Staying))))];
                Array.ForEach(others, index.Add);
                Array.ForEach(others, index.Remove);
                Assert.Equal(Staying, index.Count);
                Assert.Equal(Staying, index.ToList().Count);
                Assert.Null(index.Find(others[0].Number));
            }
        }
        finally
        {
            _isOver = true;
        }

        Assert.NotEqual(0, await searching);
    }

    private static InodeIndex WithThoseThatStay()
    {
        InodeIndex index = new();
        for (ulong number = 0; number < Staying; number++)
        {
            index.Add(new Inode(number));
        }

        return index;
    }

    private int Search()
    {
        int found = 0;
        while (!_isOver)
        {
            InodeIndex index = Volatile.Read(ref _index);
            for (ulong number = 0; number < Staying; number++)
            {
                Assert.Equal(number, index.Find(number)?.Number);
                found++;
            }
        }

        return found;
    }
}
