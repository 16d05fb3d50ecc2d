// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Nodes;
using Exo.FileSystems.CFFS.Tests.Crashes;
using Exo.FileSystems.CFFS.Tests.Crashes.Promise;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Space;

/// <summary>A small volume with something of everything in it, and the means to leave an exact number of its blocks free.</summary>
internal sealed class FullVolume : IDisposable
{
    /// <summary>Names that fill a slot block exactly: the next one needs a block.</summary>
    private const int NamesInBlock = 32;

    private static readonly Lazy<DiskContents> s_start = new(MakeStart);

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly SimulatedBlockDevice _device;
    private readonly CffsOpenOptions _open;

    public FullVolume(ulong? reserveBlocks)
    {
        _device = new SimulatedBlockDevice(_frames, s_start.Value);
        _open = new CffsOpenOptions { ReserveBlocks = reserveBlocks, IndexFromBlocks = 2, IndexSplitAt = 20 };
        Volume = CffsVolume.Open(_device, _open);
        Door = new NodeDoor(Volume);
    }

    public CffsVolume Volume { get; private set; }

    public NodeDoor Door { get; private set; }

    /// <summary>How often the disk was told to flush: about once for each commit.</summary>
    public long Flushes => _device.Counters.Flushes;

    public void Dispose()
    {
        Volume.Abandon();
        _device.Dispose();
        _frames.Dispose();
    }

    /// <summary>Takes blocks until this many are available. A file of many extents, and one beside it, so that single blocks can be taken.</summary>
    public void LeaveAvailable(ulong blocks, bool settle = true)
    {
        Inode filler = Door.Lookup(Door.Root, "filler"u8.ToArray())!;
        long at = 1 << 20;
        while (Volume.GetSpace().AvailableBlocks is var available && available > blocks)
        {
            // One block at a time near the end: a node of the tree takes one as well.
            long take = available - blocks > 64 ? (long)Math.Min(available - blocks - 32, 256) : 1;
            Door.Allocate(filler, at, take * 4096, keepSize: true);
            at += take * 4096;
        }

        Door.Release(filler);
        if (settle)
        {
            Volume.Sync();
        }

        Assert.InRange(Volume.GetSpace().AvailableBlocks, blocks == 0 ? 0 : blocks - 1, blocks);
    }

    public TreeSnapshot Snapshot() => TreeSnapshot.Of(Volume);

    /// <summary>Closes, checks, opens again.</summary>
    public void Reopen()
    {
        Volume.Dispose();
        CffsCheckReport report = Verified.Check(_device);
        Assert.True(report.IsClean, string.Join("; ", report.Findings));
        Volume = CffsVolume.Open(_device, _open);
        Door = new NodeDoor(Volume);
    }

    /// <summary>Lets the machine crash, checks, opens again.</summary>
    public void Crash()
    {
        Volume.Abandon();
        CffsCheckReport report = Verified.Check(_device);
        Assert.True(report.IsClean, string.Join("; ", report.Findings));
        Volume = CffsVolume.Open(_device, _open);
        Door = new NodeDoor(Volume);
    }

    /// <summary>What a census counts as used, with what is free, is all there is.</summary>
    public static void AssertCounts(CffsVolume volume)
    {
        volume.Sync();
        ulong free = 0;
        ulong other = 0;
        ulong total = 0;
        foreach (CffsBlockRun run in volume.MapBlocks())
        {
            total += run.Extent.Count;
            free += run.Kind == CffsBlockKind.Free ? run.Extent.Count : 0;
            other += run.Kind == CffsBlockKind.Other ? run.Extent.Count : 0;
        }

        CffsSpace space = volume.GetSpace();
        Assert.Equal(space.TotalBlocks, total);
        Assert.Equal(space.FreeBlocks, free);
        Assert.Equal(space.WillFreeBlocks, other);
    }

    private static DiskContents MakeStart()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        using SimulatedBlockDevice device = new(frames, DiskContents.Zeroes(2048));
        using (CffsVolume volume = CffsVolume.Create(device, new CffsCreateOptions { Seed = 1 }))
        {
            volume.WriteAllBytes("/filler", new byte[4096]);
            volume.CreateDirectory("/full");
            for (int i = 0; i < NamesInBlock; i++)
            {
                volume.WriteAllBytes($"/full/{i:00}", Array.Empty<byte>());
            }

            // Where what is made inherits an access control list: a block for the name, and one for the list.
            volume.CreateDirectory("/listed");
            for (int i = 0; i < NamesInBlock; i++)
            {
                volume.WriteAllBytes($"/listed/{i:00}", Array.Empty<byte>());
            }

            volume.SetExtendedAttribute("/listed", PromisedAccess.Default, PromisedAccess.Bytes(PromisedAccess.Of(7, 7, 4, 5, 7, 1)));
            volume.CreateDirectory("/indexed");
            for (int i = 0; i < 8 * NamesInBlock; i++)
            {
                volume.WriteAllBytes($"/indexed/{i:000}", Array.Empty<byte>());
            }

            volume.CreateDirectory("/some");
            volume.CreateDirectory("/some/below");
            volume.WriteAllBytes("/some/victim", Pattern(40_000, 1));
            volume.WriteAllBytes("/some/other", Pattern(40_000, 2));
            volume.WriteAllBytes("/some/tiny", Pattern(100, 3));
            volume.WriteAllBytes("/some/i", Pattern(396, 4));
            volume.WriteAllBytes("/some/target", Pattern(9_000, 5));
            volume.WriteAllBytes("/some/linked", Pattern(5_000, 6));
            volume.CreateHardLink("/some/linked", "/some/linked too");
            volume.WriteAllBytes("/some/large", Pattern(300_000, 7));
            volume.WriteAllBytes("/some/named", Pattern(10, 8));
            volume.SetExtendedAttribute("/some/named", "user.a", Pattern(50, 9));
            volume.SetExtendedAttribute("/some/named", "user.b", Pattern(50, 10));
        }

        return device.Snapshot();
    }

    public static byte[] Pattern(int length, int seed)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}
