// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Storage.XN.Tests.Stamped;
using Exo.Storage.XN.Tests.Statuses;

namespace Exo.Storage.XN.Tests.Reading;

/// <summary>A block is given up while somebody else reads it in: neither waits for the other, and what comes in late is nobody's.</summary>
public sealed class FreedWhileReadTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_is_freed_while_it_is_read_can_have_another_owner_before_the_read_ends(bool reused)
    {
        using Scene scene = new();
        (XnVolume volume, GateBlockDevice gate) = scene.Gated();
        int free = scene.Frames.FreeCount;
        gate.Shut();
        ValueTask<int> reading = volume.ReadAsync(scene.Key, new[] { scene.DataRequest }, scene.FrameArray(3), TestContext.Current.CancellationToken);

        XnTransaction transaction = scene.Transaction;
        transaction.Write(scene.A.Block, StampedFormat.OffsetOf(5), new byte[StampedFormat.EntryBytes]);
        transaction.ClaimFree(scene.Data.Extent, scene.Tree.DataTemplate, scene.A.Block, 5);
        Assert.Equal(XnStatus.Ok, volume.Apply(scene.Key, transaction));
        Assert.False(volume.TryGetEntry(scene.Data.Block, out _));
        Flush(scene, volume);
        ulong block = scene.Data.Block.Value;
        Assert.True((volume.FreeMap[(int)(block / 64)] >> (int)(block % 64) & 1) != 0);

        FrameNumber[] frames = [];
        if (reused)
        {
            transaction = scene.Transaction;
            transaction.Write(scene.A.Block, StampedFormat.OffsetOf(9), StampedFormat.Entry(scene.Data.Extent, StampedFormat.Data, 99));
            frames = scene.FrameArray(3);
            scene.Frames.Bytes(frames[0]).Fill(7);
            transaction.ClaimAllocate(scene.Data.Extent, scene.Tree.DataTemplate, scene.A.Block, 9, frames);
            Assert.Equal(XnStatus.Ok, volume.Apply(scene.Key, transaction));
        }

        gate.Open();
        Assert.Equal(0, await reading);
        Assert.Equal(reused, volume.TryGetFrame(scene.Key, scene.Data.Block, out FrameNumber frame));
        if (reused)
        {
            Assert.Equal(frames[0], frame);
            Assert.Equal(7, scene.Frames.Bytes(frame)[0]);
            scene.Frames.Release(frame);
        }

        Assert.Equal(free - frames.Length, scene.Frames.FreeCount);
    }

    private static void Flush(Scene scene, XnVolume volume)
    {
        BlockNumber[] plan = new BlockNumber[64];
        while (volume.DirtyBlocks > 0 || volume.UnflushedBlocks > 0)
        {
            int count = volume.PlanWriteBack(plan);
            Assert.Equal(XnStatus.Ok, volume.WriteBack(scene.Key, plan.AsSpan(0, count)));
            volume.Flush();
        }
    }
}
