// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Hostile;

/// <summary>One volume, two library OSes with a tree each and credentials of their own, and a judge who sees everything.</summary>
internal sealed class TwoTenants : IDisposable
{
    private readonly Dictionary<ulong, byte[]> _remembered = [];
    private readonly Credential _judge;

    public TwoTenants(long blockCount = 512, int logBlocks = 0)
    {
        Frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        Device = new SimulatedBlockDevice(Frames, DiskContents.Zeroes(blockCount));
        Disk = XnVolume.Format(Device, new XnFormatOptions { VolumeId = Guid.Empty, LogBlocks = logBlocks }, new XnAttachOptions { ReserveFrames = 16 });
        _judge = Frames.RootCredential;
        Victim = StampedTree.Create(Disk, _judge, Named("victim-1"), "victim", "victim-1", 1);
        Intruder = StampedTree.Create(Disk, _judge, Named("intruder"), "intruder", "intruder", 1UL << 40);
        foreach (StampedTree tree in new[] { Victim, Intruder })
        {
            Assert.Equal(XnStatus.Ok, tree.AddNode(tree.Root, 0, Free(1).First, out StampedTree.Item? node));
            Assert.Equal(XnStatus.Ok, tree.AddData(node!, 5, Free(3), out _));
            Assert.Equal(XnStatus.Ok, tree.AddNode(node!, 6, Free(1).First, out StampedTree.Item? below));
            Assert.Equal(XnStatus.Ok, tree.AddData(below!, 0, Free(2), out _));
        }

        Victim.Sync();
        Remember();
    }

    public FramePool Frames { get; }

    public SimulatedBlockDevice Device { get; }

    public XnVolume Disk { get; }

    public StampedTree Victim { get; }

    public StampedTree Intruder { get; }

    public Credential Thief => Intruder.Key;

    public static StampedTree.Item Node(StampedTree tree) => tree.Root.Kids[0];

    public static StampedTree.Item Data(StampedTree tree) => Node(tree).Kids[5];

    public BlockExtent Free(uint count, ulong from = 0) => Victim.FindFree(from, count)!.Value;

    public FrameNumber Frame()
    {
        Assert.True(Frames.TryAllocate(Thief, out FrameNumber frame, zero: true));
        return frame;
    }

    public FrameNumber[] FrameArray(int count) => [.. Enumerable.Range(0, count).Select(_ => Frame())];

    /// <summary>What the victim's blocks hold now is what they must hold until it changes them itself.</summary>
    public void Remember()
    {
        _remembered.Clear();
        foreach (StampedTree.Item item in Victim.All())
        {
            for (uint i = 0; i < item.Extent.Count; i++)
            {
                _remembered[item.Extent.First.Value + i] = Contents(item.Block + i, item);
            }
        }
    }

    /// <summary>The victim's blocks are in core or can be brought there, hold what they held, and nobody else sees them.</summary>
    public void VictimIsUnharmed()
    {
        foreach (StampedTree.Item item in Victim.All())
        {
            for (uint i = 0; i < item.Extent.Count; i++)
            {
                BlockNumber block = item.Block + i;
                Assert.True(_remembered[block.Value].AsSpan().SequenceEqual(Contents(block, item)), $"{block} of the victim has changed");
                Assert.False(Disk.TryGetFrame(Thief, block, out _), $"{block} of the victim can be read");
            }
        }
    }

    /// <summary>
    /// Everything is owned once, or as often as XN counts, by one tenant only; the free map has what is left. The trees are read as they are, not as a tenant believes.
    /// </summary>
    public void NothingIsOwnedTwice()
    {
        Dictionary<ulong, int> owners = [];
        HashSet<ulong> victims = Walk(Victim, owners);
        HashSet<ulong> intruders = Walk(Intruder, owners);
        Assert.Empty(victims.Intersect(intruders));
        ulong used = 0;
        for (ulong block = Disk.DataStart.Value; block < Disk.BlockCount; block++)
        {
            int count = owners.GetValueOrDefault(block);
            bool isFree = Victim.IsFree(block);
            Assert.False(isFree && count > 0, $"block {block} is owned and free");
            Assert.True(count <= 1 || Disk.OwnerCount(new BlockNumber(block)) == count, $"block {block} has {count} owners, XN counts {Disk.OwnerCount(new BlockNumber(block))}");
            used += isFree || count > 0 ? 0UL : 1;
        }

        // What is neither owned nor free will be, as soon as the removal of its pointers is durable; or is a block that was freed while it was being written.
        Assert.Equal(Disk.WillFreeBlocks, used);
    }

    /// <summary>A power cut now: what the victim had made durable is there, and whatever the other had under way does not stand in the way of a recovery.</summary>
    public void VictimSurvivesACrash()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        using SimulatedBlockDevice disk = new(frames, Device.Snapshot());
        using XnVolume volume = XnVolume.Attach(disk, new XnAttachOptions { ReserveFrames = 8 });
        Assert.Equal((0, 0), (volume.Recovery!.BadPointers, volume.Recovery.UnreadableBlocks));

        // What was in the log is home.
        DiskContents after = disk.Snapshot();
        foreach ((ulong block, byte[] contents) in _remembered)
        {
            Assert.True(after[block].SequenceEqual(contents), $"block {block} of the victim is another after a crash");
        }
    }

    public byte[] Contents(BlockNumber block, StampedTree.Item item)
    {
        if (!Disk.TryGetFrame(_judge, block, out FrameNumber frame))
        {
            Bring(item);
            Assert.True(Disk.TryGetFrame(_judge, block, out frame));
        }

        byte[] bytes = Frames.Bytes(frame).ToArray();
        Frames.Release(frame);
        return bytes;
    }

    public void Dispose()
    {
        Disk.Dispose();
        Device.Dispose();
        Frames.Dispose();
    }

    private Credential Named(string name) => Credential.Of(Frames.RootCredential.Capabilities[0].Forge(CapabilityName.Create(Encoding.ASCII.GetBytes(name)), Rights.All));

    private void Bring(StampedTree.Item item)
    {
        if (item.Parent is { } parent)
        {
            Bring(parent);
            Read(new XnReadRequest(parent.Block, item.Entry, item.Extent));
        }
    }

    private void Read(in XnReadRequest request)
    {
        FrameNumber[] frames = FrameArray((int)request.Extent.Count);
        Disk.Read(_judge, [request], frames, out int unused);
        foreach (FrameNumber frame in frames.AsSpan(0, unused))
        {
            Frames.Release(frame);
        }
    }

    private HashSet<ulong> Walk(StampedTree tree, Dictionary<ulong, int> owners)
    {
        HashSet<ulong> mine = [tree.Root.Block.Value];
        Stack<BlockNumber> nodes = new([tree.Root.Block]);
        owners[tree.Root.Block.Value] = 1;
        while (nodes.TryPop(out BlockNumber node))
        {
            Assert.True(Disk.TryGetFrame(_judge, node, out FrameNumber frame), $"node {node} is not in core");
            byte[] bytes = Frames.Bytes(frame).ToArray();
            Frames.Release(frame);
            for (int entry = 0; entry < StampedFormat.EntriesMax; entry++)
            {
                (BlockExtent extent, uint kind, _) = StampedFormat.Parse(bytes, entry);
                for (uint i = 0; kind != 0 && extent.First.Value != 0 && i < extent.Count; i++)
                {
                    ulong block = extent.First.Value + i;
                    mine.Add(block);
                    owners[block] = owners.GetValueOrDefault(block) + 1;
                    if (kind == StampedFormat.Node && owners[block] == 1)
                    {
                        if (!Disk.TryGetEntry(new BlockNumber(block), out RegistryEntryInfo info) || !info.HasFrame)
                        {
                            if (info.Template != default && !info.IsInitialised)
                            {
                                // Allocated and never bound: it owns nothing.
                                continue;
                            }

                            Read(new XnReadRequest(node, entry, new BlockExtent(new BlockNumber(block), 1)));
                        }

                        nodes.Push(new BlockNumber(block));
                    }
                }
            }
        }

        return mine;
    }
}
