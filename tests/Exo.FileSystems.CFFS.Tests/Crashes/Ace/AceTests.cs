// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;

namespace Exo.FileSystems.CFFS.Tests.Crashes.Ace;

/// <summary>
/// Short workloads, all of them, with the power cut at every moment (docs/crash-promise.md). A usual run explores a slice spread over each class. <c>EXO_ACE_CLASS=seq-2</c> explores one class
/// whole, <c>EXO_ACE_FIRST</c> and <c>EXO_ACE_COUNT</c> the workloads from an index on: a failure prints its class and index. <c>EXO_ACE_OPERATION=exchange</c> explores of either only the workloads
/// with such an operation. Of the contents of the disk that are new each fiftieth is cut again while it recovers, or with <c>EXO_ACE_SECOND=3</c> each third.
/// </summary>
public sealed class AceTests
{
    private const int SlicePerClass = 40;

    // So many failures end an exploration: more of them seldom tell more.
    private const int FailuresMax = 6;

    [Fact]
    public void Single_operations() => Explore("seq-1", workloads: 985);

    [Fact]
    public void Pairs() => Explore("seq-2", workloads: 184_320);

    [Fact]
    public void Triples_of_names() => Explore("seq-3-names", workloads: 127_776);

    [Fact]
    public void Triples_of_contents() => Explore("seq-3-contents", workloads: 39_304);

    [Fact]
    public void Triples_of_directories() => Explore("seq-3-nested", workloads: 210_912);

    /// <summary>Renames that leave a whiteout: the old name leads to the one or to the other, and never nowhere.</summary>
    [Fact]
    public void Single_operations_with_whiteouts() => Explore("seq-1-whiteout", workloads: 205);

    [Fact]
    public void Pairs_with_whiteouts() => Explore("seq-2-whiteout", workloads: 25_215);

    [Fact]
    public void Triples_with_whiteouts() => Explore("seq-3-whiteout", workloads: 137_842);

    /// <summary>Access control lists: inherited, set, and after chmod; with the permission bits beside them they are always those of one moment.</summary>
    [Fact]
    public void Single_operations_with_access_lists() => Explore("seq-1-access", workloads: 275);

    [Fact]
    public void Pairs_with_access_lists() => Explore("seq-2-access", workloads: 45_375);

    /// <summary>What spans several sectors is what recovery has to finish: here the power fails again at every moment of every recovery.</summary>
    [Theory]
    [InlineData("rename B/foo foo")]
    [InlineData("rename A/foo B/bar")]
    [InlineData("link A/foo A/bar")]
    [InlineData("exchange A/foo B/foo")]
    [InlineData("whiteout A/foo B/foo")]
    public void Recovery_may_be_interrupted(string operation)
    {
        AceClass kind = AceClass.All.First(item => item.Alphabet.Any(known => known.Text == operation));
        AceExplorer.Shared shared = new() { SecondCrashEvery = 1, SecondCrashStatesMax = 60 };
        using AceExplorer explorer = new(shared);
        explorer.Explore(new AceWorkload(kind, 0, [kind.Alphabet.Single(item => item.Text == operation)], [AcePersistence.Sync]));
        TestContext.Current.TestOutputHelper?.WriteLine($"{shared.Contents} contents of the disk, {shared.SecondCrashes} cut again");
        Assert.True(shared.SecondCrashes > 50);
    }

    /// <summary>Found by the explorer: a directory moved into one that had itself just moved out of it, and on the disk both hung from each other.</summary>
    [Fact]
    public void Directories_moved_into_each_other_never_hang_from_nothing()
    {
        AceOperation[][] workloads =
        [
            [AceOperation.Rename("A/C", "bar"), AceOperation.Rename("A", "bar/below")],
            [AceOperation.Exchange("A/C", "B"), AceOperation.Rename("A", "B/bar")],
            [AceOperation.MakeDirectory("A/C/new"), AceOperation.Rename("A/C", "B/C"), AceOperation.Rename("A", "B/C/new/A")],
        ];
        foreach (AceOperation[] operations in workloads)
        {
            AceExplorer.Shared shared = new();
            using AceExplorer explorer = new(shared);
            explorer.Explore(new AceWorkload(AceClass.All[0], 0, operations, [.. operations.Select((_, i) => i == operations.Length - 1 ? AcePersistence.Sync : AcePersistence.None)]));
            Assert.True(shared.States > 10, $"{shared.States} states");
        }
    }

    [Theory]
    [InlineData(0, false)]
    [InlineData(0, true)]
    [InlineData(32, false)]
    [InlineData(32, true)]
    public void A_file_loses_both_of_its_names_to_another(int logBlocks, bool leavesWhiteouts)
    {
        Func<string, string, AceOperation> rename = leavesWhiteouts ? AceOperation.Whiteout : AceOperation.Rename;
        AceExplorer.Shared shared = new(logBlocks) { SecondCrashEvery = 1, SecondCrashStatesMax = 60 };
        using AceExplorer explorer = new(shared);
        explorer.Explore(new AceWorkload(
            AceClass.All[0], 0, [AceOperation.Link("A/foo", "B/bar"), rename("B/foo", "A/foo"), rename("A/foo", "B/bar")], [AcePersistence.None, AcePersistence.None, AcePersistence.Sync]));
        Assert.True(shared.SecondCrashes > 20, $"{shared.SecondCrashes}");
    }

    /// <summary>
    /// Exchanges that the alphabet has not: within a directory from sector to sector and from block to block, of names so long that what was in the record finds no room beside them, of files with several names,
    /// of what is a link, and what comes right behind an exchange that is not durable. The power fails again in each recovery.
    /// </summary>
    [Theory]
    [InlineData(0)]
    [InlineData(32)]
    public void Exchanges_are_one_step_whatever_they_exchange(int logBlocks)
    {
        string[] names = [.. Enumerable.Range(0, 9).Select(i => $"A/{(char)('k' + i)}{new string('x', 199)}")];
        string longest = $"A/{new string('y', 255)}";
        AceOperation[] many = [.. names.Select(AceOperation.Create)];
        AceOperation[] some = many[..3];
        AceOperation[][] workloads =
        [
            [.. some, AceOperation.Exchange(names[0], names[1])],
            [.. many, AceOperation.Exchange(names[0], names[8])],
            [.. some, AceOperation.Exchange("A/C", names[1])],
            [.. some, AceOperation.Exchange("B", names[2])],
            [AceOperation.Write("foo", -1, 100), AceOperation.Create(longest), AceOperation.Exchange("foo", longest)],
            [AceOperation.Create(longest), AceOperation.Exchange("A/C/foo", longest)],
            [AceOperation.SymbolicLink("A/bar"), AceOperation.Exchange("A/bar", "B")],
            [AceOperation.Link("A/foo", "A/bar"), AceOperation.Exchange("A/bar", "B/foo")],
            [AceOperation.Link("A/foo", "A/bar"), AceOperation.Link("B/foo", "B/bar"), AceOperation.Exchange("A/bar", "B/bar")],
            [AceOperation.Link("A/foo", "A/bar"), AceOperation.Link("B/foo", "A/C/bar"), AceOperation.Exchange("A/bar", "A/C/bar"), AceOperation.Unlink("A/bar")],
            [.. some, AceOperation.Exchange(names[0], "B/foo"), AceOperation.Rename(names[0], "B/bar"), AceOperation.Create(names[0])],
            [.. some, AceOperation.Exchange(names[0], "B/foo"), AceOperation.Unlink(names[0]), AceOperation.Create(names[0])],
            [.. some, AceOperation.Exchange(names[0], "B/foo"), AceOperation.Exchange("B/foo", "foo"), AceOperation.Exchange(names[0], "foo")],
            [.. some, AceOperation.Exchange("A/C", "B"), AceOperation.Create("B/new"), AceOperation.Rename(names[1], "B/foo"), AceOperation.Write("A/C/foo", -1, 9000)],
        ];
        AceExplorer.Shared shared = new(logBlocks) { SecondCrashEvery = 10, SecondCrashStatesMax = 12 };
        using AceExplorer explorer = new(shared);
        for (int i = 0; i < workloads.Length; i++)
        {
            AceOperation[] operations = workloads[i];
            int before = Array.FindIndex(operations, operation => operation.Text.StartsWith("exchange", StringComparison.Ordinal)) - 1;
            explorer.Explore(new AceWorkload(
                AceClass.All[0], i, operations, [.. operations.Select((_, step) => step == before || step == operations.Length - 1 ? AcePersistence.Sync : AcePersistence.None)]));
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{shared.States} states, {shared.Contents} contents of the disk, {shared.SecondCrashes} cut again");
        Assert.Equal(workloads.Length, shared.Workloads);
        Assert.True(shared.SecondCrashes > 100, $"{shared.SecondCrashes}");
    }

    private static void Explore(string name, int workloads)
    {
        AceClass kind = AceClass.All.Single(item => item.Name == name);
        Assert.Equal(workloads, kind.Count);
        int[] indexes = Choose(kind, out bool isSlice);

        // On a volume without a commit log, on one with it, and on one where contents are written early: in a slice by turns, else all.
        int again = Number("EXO_ACE_SECOND") ?? AceExplorer.Shared.SecondCrashEveryDefault;
        AceExplorer.Shared[] volumes =
        [
            new(start: kind.Start) { SecondCrashEvery = again }, new(logBlocks: 32, kind.Start) { SecondCrashEvery = again },
            new(logBlocks: 32, kind.Start) { SecondCrashEvery = again, BehindFromBytes = 4096 },
        ];
        string[] names = ["without a commit log", "with a commit log", "with a commit log, contents written early"];
        (int Index, int Volume)[] work = isSlice
            ? [.. indexes.Select((index, i) => (index, i % volumes.Length))]
            : [.. indexes.SelectMany(index => volumes.Select((_, volume) => (index, volume)))];
        ConcurrentQueue<string> failures = new();
        int next = -1;
        long begunMs = Environment.TickCount64;
        Thread[] threads = [.. Enumerable.Range(0, Environment.ProcessorCount).Select(_ => new Thread(Work))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{name}: {indexes.Length} of {kind.Count} workloads, {work.Length} runs, in {Sum(shared => shared.Void)} an operation fails; {Sum(shared => shared.States)} states of "
            + $"{Sum(shared => shared.Workloads)}, {Sum(shared => shared.Contents)} contents of the disk, {Sum(shared => shared.SecondCrashes)} cut again; {Environment.TickCount64 - begunMs} ms");
        Assert.True(failures.IsEmpty, string.Join("\n\n", failures));
        Assert.Equal(work.Length, Sum(shared => shared.Workloads + shared.Void));

        long Sum(Func<AceExplorer.Shared, long> count) => volumes.Sum(count);

        void Work()
        {
            AceExplorer[] explorers = [.. volumes.Select(shared => new AceExplorer(shared))];
            while (Interlocked.Increment(ref next) is var i && i < work.Length && failures.Count < FailuresMax)
            {
                try
                {
                    explorers[work[i].Volume].Explore(kind[work[i].Index]);
                }
                catch (InvalidOperationException failure)
                {
                    failures.Enqueue($"{names[work[i].Volume]}: {failure.Message}");
                }
            }

            Array.ForEach(explorers, explorer => explorer.Dispose());
        }
    }

    private static int[] Choose(AceClass kind, out bool isSlice)
    {
        isSlice = false;
        int? count = Number("EXO_ACE_COUNT");
        string? operation = Environment.GetEnvironmentVariable("EXO_ACE_OPERATION");
        int[] all = [.. Enumerable.Range(0, kind.Count).Where(index => operation is null || kind[index].Operations.Any(item => item.Text.StartsWith(operation, StringComparison.Ordinal)))];
        if (Number("EXO_ACE_FIRST") is { } first)
        {
            return [.. all.Where(index => index >= first).Take(count ?? int.MaxValue)];
        }

        int slice = Math.Min(all.Length, count ?? (Environment.GetEnvironmentVariable("EXO_ACE_CLASS") == kind.Name ? all.Length : SlicePerClass));
        if (slice == all.Length)
        {
            return all;
        }

        // Spread over the whole by a step that has no divisor in common with the number of workloads, nor with its factors.
        isSlice = true;
        return [.. Enumerable.Range(0, slice).Select(i => all[(int)(i * 7919L * 104_729 % all.Length)]).Distinct().Order()];
    }

    private static int? Number(string variable) => int.TryParse(Environment.GetEnvironmentVariable(variable), out int number) ? number : null;
}
