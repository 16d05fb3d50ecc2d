// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Hostile;

/// <summary>
/// A random hostile client beside an honest one. <c>EXO_HOSTILE_OPERATIONS=1000000</c> runs that many of its calls, <c>EXO_HOSTILE_SEED</c> says from which seed.
/// </summary>
public sealed class RandomIntruderTests
{
    private const int OperationsPerVolume = 400;

    // Room for a few transactions, so that it is full now and then; every other volume has a log.
    private const int LogBlocks = 24;

    private static int Setting(string name, int value) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), NumberStyles.None, CultureInfo.InvariantCulture, out int set) ? set : value;

    [Fact]
    public void Harms_nobody_but_itself()
    {
        int seed = Setting("EXO_HOSTILE_SEED", 1);
        int left = Setting("EXO_HOSTILE_OPERATIONS", 6000);
        (int done, int refused) = (0, 0);
        for (; left > 0; left -= OperationsPerVolume, seed++)
        {
            (int Done, int Refused) counts = Run(seed);
            done += counts.Done;
            refused += counts.Refused;
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{done} calls carried out, {refused} refused");

        // Both happened, or nothing was tested.
        Assert.True(done > refused / 20 && refused > done / 20, $"{done} done, {refused} refused");
    }

    private static (int Done, int Refused) Run(int seed)
    {
        using TwoTenants tenants = new(logBlocks: seed % 2 == 0 ? 0 : LogBlocks);
        Random random = new(seed);
        RandomIntruder intruder = new(tenants, random);
        List<string> story = [];
        try
        {
            for (int i = 0; i < OperationsPerVolume; i++)
            {
                intruder.Step();
                story.Add(intruder.What);
                tenants.VictimIsUnharmed();
                tenants.NothingIsOwnedTwice();
                if (i % 20 == 19)
                {
                    story.Add(Work(tenants, random));
                    tenants.NothingIsOwnedTwice();
                    tenants.VictimSurvivesACrash();
                }
            }
        }
        catch (Exception failure)
        {
            throw new InvalidOperationException($"seed {seed}: {failure.Message}\n{string.Join('\n', story.TakeLast(12))}\nafter {intruder.What}", failure);
        }

        Assert.Equal(seed % 2 != 0, tenants.Disk.Counters.Commits > 0);
        return intruder.Counts;
    }

    /// <summary>The honest one goes on with its work, and nothing stands in its way.</summary>
    private static string Work(TwoTenants tenants, Random random)
    {
        StampedTree tree = tenants.Victim;
        StampedTree.Item node = TwoTenants.Node(tree);
        int entry = random.Next(20, 100);
        XnStatus status = XnStatus.Ok;
        string what = "victim: nothing";
        if (node.Kids.TryGetValue(entry, out StampedTree.Item? kid))
        {
            what = "victim: remove";
            status = tree.Remove(kid);
        }
        else if (tree.FindFree((ulong)random.Next(512), 1) is { } extent)
        {
            what = "victim: add";
            status = random.Next(3) == 0 ? tree.AddNode(node, entry, extent.First, out _) : tree.AddData(node, entry, extent, out _);
        }

        Assert.Equal(XnStatus.Ok, status);
        Sync(tenants);
        tenants.Remember();
        return what;
    }

    /// <summary>What belongs to the victim becomes durable, whatever the state of what belongs to others: by the log where all of it fits there, else in place.</summary>
    private static void Sync(TwoTenants tenants)
    {
        if (!tenants.Disk.TryCommit(tenants.Victim.Key) || !IsDurable(tenants))
        {
            foreach (StampedTree.Item item in tenants.Victim.All().Reverse())
            {
                for (uint i = 0; i < item.Extent.Count; i++)
                {
                    foreach (Core.Blocks.BlockNumber block in tenants.Disk.PlanWriteBack(item.Block + i))
                    {
                        Assert.Equal(XnStatus.Ok, tenants.Disk.WriteBack(tenants.Victim.Key, [block]));
                        tenants.Disk.Flush();
                    }
                }
            }
        }

        Assert.True(IsDurable(tenants));
    }

    private static bool IsDurable(TwoTenants tenants) =>
        tenants.Victim.All().All(item => !tenants.Disk.TryGetEntry(item.Block, out RegistryEntryInfo info) || info.Version == info.DurableVersion);
}
