// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Disks;

namespace Exo.Storage.XN.Tests.Stamped;

/// <summary>A small disk with a stamped tree on it: the root, node <see cref="A"/> and node <see cref="B"/> below it, durable.</summary>
internal sealed class StampedDisk : IDisposable
{
    /// <param name="owner">Whose it is.</param>
    /// <param name="blockCount">How large.</param>
    /// <param name="through">What the volume sees instead of the device.</param>
    public StampedDisk(string owner = "", long blockCount = 512, Func<BlockDevice, BlockDevice>? through = null)
    {
        Frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        Device = new SimulatedBlockDevice(Frames, DiskContents.Zeroes(blockCount));
        Tree = StampedTree.Format(through?.Invoke(Device) ?? Device, owner);
        A = AddNode(0);
        B = AddNode(StampedFormat.EntriesPerSector * 3);
        Tree.Sync();
    }

    public FramePool Frames { get; }

    public SimulatedBlockDevice Device { get; }

    public StampedTree Tree { get; }

    public XnVolume Disk => Tree.Disk;

    public StampedTree.Item A { get; }

    public StampedTree.Item B { get; }

    public StampedTree.Item AddNode(int entry, StampedTree.Item? parent = null)
    {
        Assert.Equal(XnStatus.Ok, Tree.AddNode(parent ?? Tree.Root, entry, Tree.FindFree(0, 1)!.Value.First, out StampedTree.Item? item));
        return item!;
    }

    public StampedTree.Item AddData(StampedTree.Item parent, int entry, uint count = 1)
    {
        Assert.Equal(XnStatus.Ok, Tree.AddData(parent, entry, Tree.FindFree(0, count)!.Value, out StampedTree.Item? item));
        return item!;
    }

    public FrameNumber Frame()
    {
        Assert.True(Frames.TryAllocate(Frames.RootCredential, out FrameNumber frame));
        return frame;
    }

    public void Dispose()
    {
        Disk.Dispose();
        Device.Dispose();
    }
}
