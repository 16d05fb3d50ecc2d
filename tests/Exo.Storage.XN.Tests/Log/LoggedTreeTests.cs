// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Simulation.Faults;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Log;

/// <summary>A tree on a volume with a log of 32 blocks, whose disk can fail and can be held up.</summary>
public abstract class LoggedTreeTests : IDisposable
{
    private protected LoggedTreeTests()
    {
        Memory = new SimulatedBlockDevice(Frames, DiskContents.Zeroes(640), recorded: true);
        Faulty = new FaultyBlockDevice(Memory, new FaultOptions { Seed = 1, WriteError = 1 }) { IsFailing = false };
        Device = new GatedBlockDevice(Faulty);
        Tree = StampedTree.Format(Device, logBlocks: 32);
        Tree.UsesLog = true;
        Tree.Sync();
        Disk.Checkpoint();
    }

    private protected FramePool Frames { get; } = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });

    private protected SimulatedBlockDevice Memory { get; }

    private protected FaultyBlockDevice Faulty { get; }

    private protected GatedBlockDevice Device { get; }

    private protected StampedTree Tree { get; }

    private protected XnVolume Disk => Tree.Disk;

    public void Dispose()
    {
        Device.Open();
        Disk.Dispose();
        Device.Dispose();
        Faulty.Dispose();
        Memory.Dispose();
        Frames.Dispose();
        GC.SuppressFinalize(this);
    }
}
