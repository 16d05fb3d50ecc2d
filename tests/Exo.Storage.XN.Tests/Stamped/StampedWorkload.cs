// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Storage.XN.Tests.Stamped;

/// <summary>Random changes, partial write-backs, flushes and evictions. Every answer of XN must be one that the picture of the tree explains.</summary>
internal sealed class StampedWorkload(StampedTree tree, Random random)
{
    private readonly BlockNumber[] _plan = new BlockNumber[512];

    /// <summary>What the last step did, for the message of a failure.</summary>
    public string What { get; private set; } = "";

    public void Step()
    {
        What = "nothing";
        switch (random.Next(tree.UsesLog ? 26 : 22) - (random.Next(8) == 0 ? 100 : 0))
        {
            case < 0:
                WriteBehind();
                break;
            case < 6:
                AddData();
                break;
            case < 8:
                AddNode();
                break;
            case < 11:
                Remove();
                break;
            case < 14:
                Move();
                break;
            case < 17:
                WriteSome();
                break;
            case < 18:
                tree.Disk.Flush();
                What = "flush";
                break;
            case < 19:
                Evict();
                break;
            case < 21:
                Share();
                break;
            case < 22:
                Rewrite();
                break;
            case < 25:
                What = $"commit: {tree.Disk.TryCommit(tree.Key)}";
                break;
            default:
                tree.Disk.Checkpoint();
                What = "checkpoint";
                break;
        }
    }

    /// <summary>Blocks are being written behind everybody's back.</summary>
    public bool IsBehind { get; private set; }

    /// <summary>What a step makes durable to go on with is not changed meanwhile.</summary>
    public bool IsQuiet { get; private set; }

    private void SyncQuietly()
    {
        IsQuiet = true;
        tree.Sync();
        IsQuiet = false;
    }

    /// <summary>What happens while blocks are being written behind everybody's back: that takes no turn, so it may be anything but another sync.</summary>
    private void Beside()
    {
        switch (random.Next(5))
        {
            case 0:
                WriteSome();
                break;
            case 1:
                tree.Disk.Flush();
                What = "flush";
                break;
            case 2 when tree.UsesLog:
                What = $"commit: {tree.Disk.TryCommit(tree.Key)}";
                break;
            case 3 when tree.UsesLog:
                tree.Disk.Checkpoint();
                What = "checkpoint";
                break;
            default:
                ChangeSomething();
                break;
        }
    }

    /// <summary>A change for while input or output is under way, one that needs none itself where that is somebody's turn.</summary>
    public void Change()
    {
        What = "nothing";
        if (IsBehind)
        {
            Beside();
        }
        else
        {
            ChangeSomething();
        }
    }

    private void ChangeSomething()
    {
        switch (random.Next(7))
        {
            case 0:
                AddData();
                break;
            case 1:
                AddNode();
                break;
            case < 4:
                Remove(canSync: false);
                break;
            case 4:
                Move(canSync: false);
                break;
            case 5:
                Evict();
                break;
            default:
                Rewrite();
                break;
        }
    }

    private void AddData()
    {
        StampedTree.Item parent = RandomNode();
        if (FreeEntry(parent) is { } entry && tree.FindFree((ulong)random.Next(4096), (uint)random.Next(1, 4)) is { } extent)
        {
            Assert.Equal(XnStatus.Ok, tree.AddData(parent, entry, extent, out StampedTree.Item? item));
            What = $"data {item!.Serial} ({extent}) below {parent.Serial} ({parent.Block}) at {entry}";
        }
    }

    private void AddNode()
    {
        StampedTree.Item parent = RandomNode();
        if (FreeEntry(parent) is { } entry && tree.FindFree((ulong)random.Next(4096), 1) is { } extent)
        {
            Assert.Equal(XnStatus.Ok, tree.AddNode(parent, entry, extent.First, out StampedTree.Item? item));
            What = $"node {item!.Serial} ({extent}) below {parent.Serial} ({parent.Block}) at {entry}";
        }
    }

    private void Remove(bool canSync = true)
    {
        StampedTree.Item[] items = [.. tree.All().Skip(1)];
        if (items.Length > 0)
        {
            StampedTree.Item item = items[random.Next(items.Length)];
            What = $"remove {item.Serial} ({item.Extent}) of {item.Parent!.Serial} ({item.Parent.Block}) at {item.Entry}";
            XnStatus status = tree.Remove(item);
            if (status == XnStatus.OrderCycle)
            {
                if (!canSync)
                {
                    return;
                }

                SyncQuietly();
                status = tree.Remove(item);
            }

            Assert.True(status == XnStatus.Ok, $"{status}: {tree.Transaction.LastRefusal}");
        }
    }

    private void Move(bool canSync = true)
    {
        StampedTree.Item[] items = [.. tree.All().Skip(1)];
        if (items.Length == 0)
        {
            return;
        }

        StampedTree.Item item = items[random.Next(items.Length)];
        StampedTree.Item to = RandomNode();
        if (FreeEntry(to) is not { } entry)
        {
            return;
        }

        bool isCycle = tree.All(item).Contains(to);
        bool isSplit = to == item.Parent && entry / StampedFormat.EntriesPerSector != item.Entry / StampedFormat.EntriesPerSector;
        What = $"move {item.Serial} ({item.Extent}) from {item.Parent!.Serial} ({item.Parent.Block}) at {item.Entry} to {to.Serial} ({to.Block}) at {entry}";
        XnStatus status = tree.Move(item, to, entry);
        What += $": {status}";
        if (status == XnStatus.OrderCycle)
        {
            if (!canSync)
            {
                return;
            }

            // What it would have to wait for is durable after a sync, and then nothing stands in the way.
            SyncQuietly();
            status = tree.Move(item, to, entry);
        }

        XnStatus expected = isCycle ? XnStatus.Cycle : isSplit ? XnStatus.SplitSectorMove : XnStatus.Ok;
        Assert.True(status == expected, $"{status} instead of {expected}: {tree.Transaction.LastRefusal}");
    }

    private void Share()
    {
        StampedTree.Item[] items = [.. tree.All().Where(item => !item.IsNode)];
        StampedTree.Item to = RandomNode();
        if (items.Length == 0 || FreeEntry(to) is not { } entry)
        {
            return;
        }

        StampedTree.Item item = items[random.Next(items.Length)];
        XnStatus status = tree.Share(item, to, entry, out _);
        if (status == XnStatus.NotDurable)
        {
            SyncQuietly();
            status = tree.Share(item, to, entry, out _);
        }

        What = $"share {item.Serial} ({item.Extent}) of {item.Parent!.Serial} ({item.Parent.Block}) at {item.Entry} with {to.Serial} ({to.Block}) at {entry}";
        Assert.True(status == XnStatus.Ok, $"{status}: {tree.Transaction.LastRefusal}");
        Assert.Equal(tree.All().Count(other => other.Serial == item.Serial), tree.Disk.OwnerCount(item.Block));
    }

    private void WriteSome()
    {
        int count = tree.Disk.PlanWriteBack(_plan);
        random.Shuffle(_plan.AsSpan(0, count));
        BlockNumber[] some = [.. _plan.AsSpan(0, random.Next(count + 1))];
        Array.Sort(some);
        XnStatus status = tree.Disk.WriteBack(tree.Key, some);

        // With a log a checkpoint may come first, and changes during it.
        Assert.True(status == XnStatus.Ok || (tree.UsesLog && status is XnStatus.Tainted or XnStatus.NotRegistered), status.ToString());
        What = $"write {string.Join(' ', some.Select(block => block.Value))}";
    }

    private void WriteBehind()
    {
        // Nothing is asked about the blocks: whatever stands in the way of one is XN's affair.
        BlockExtent[] some = [.. tree.All().Where(_ => random.Next(2) == 0).Select(item => item.Extent)];
        IsBehind = true;
        int count = tree.Disk.WriteBehindAsync(tree.Key, some).AsTask().GetAwaiter().GetResult();
        IsBehind = false;
        What = $"{count} blocks written behind, of {string.Join(' ', some)}";
        if (random.Next(2) == 0)
        {
            tree.Disk.Flush();
            What += ", flush";
        }
    }

    private void Evict()
    {
        foreach (RegistryEntryInfo entry in tree.Disk.SnapshotRegistry())
        {
            if (entry.Template == tree.DataTemplate && random.Next(2) == 0)
            {
                XnStatus status = tree.Disk.Unbind(tree.Key, entry.Block);
                Assert.True(status is XnStatus.Ok or XnStatus.Dirty or XnStatus.NotDurable or XnStatus.Busy, status.ToString());
            }
        }
    }

    /// <summary>Data in core gets new contents after its stamp, and the number of the time.</summary>
    private void Rewrite()
    {
        foreach (StampedTree.Item item in tree.All())
        {
            if (!item.IsNode && random.Next(3) == 0 && tree.Disk.TryGetFrame(tree.Key, item.Block, out FrameNumber frame))
            {
                XnStatus status = tree.Disk.MarkDirty(tree.Key, item.Block, 1);
                bool isShared = tree.All().Count(other => other.Serial == item.Serial) > 1;
                Assert.True(status == XnStatus.Shared || (status == XnStatus.Ok && !isShared), status.ToString());
                if (status == XnStatus.Ok)
                {
                    random.NextBytes(tree.Disk.Frames.Bytes(frame)[512..1024]);
                    ulong times = tree.Rewritten[item.Serial] = tree.Rewritten.GetValueOrDefault(item.Serial) + 1;
                    BinaryPrimitives.WriteUInt64LittleEndian(tree.Disk.Frames.Bytes(frame)[16..], times);
                }

                tree.Disk.Frames.Release(frame);
            }
        }
    }

    private StampedTree.Item RandomNode()
    {
        StampedTree.Item[] nodes = [.. tree.All().Where(item => item.IsNode)];
        return nodes[random.Next(nodes.Length)];
    }

    private int? FreeEntry(StampedTree.Item node)
    {
        int entry = random.Next(StampedFormat.EntriesMax);
        return node.Kids.ContainsKey(entry) ? null : entry;
    }
}
