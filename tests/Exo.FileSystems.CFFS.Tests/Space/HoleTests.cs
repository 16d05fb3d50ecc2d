// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.Memory;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Space;

/// <summary>Blocks ahead of their use, and holes: a file beside an array of bytes, through both doors.</summary>
public sealed class HoleTests : IDisposable
{
    private const int Block = 4096;

    // Contents that lie in a record, or share a block with others, are shorter.
    private const int OwnBlocksFromBytes = Block;

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 32 << 20 });

    public void Dispose() => _frames.Dispose();

    [Theory]
    [InlineData(100, 100, 0UL)]
    [InlineData(3000, 0, 1UL)]
    public void Contents_lie_beside_the_attributes_or_in_blocks(int length, int inlineBytes, ulong blocks)
    {
        using SimulatedBlockDevice disk = new(_frames, DiskContents.Zeroes(2048));
        using CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 });
        using (CffsFile file = volume.OpenFile("/file", CffsOpenMode.ReadWrite | CffsOpenMode.Create))
        {
            file.Write(0, new byte[length]);
            Assert.Equal((inlineBytes, blocks), (file.Stat().InlineBytes, file.Stat().AllocatedBlocks));
        }

        using (CffsFile hole = volume.OpenFile("/hole", CffsOpenMode.ReadWrite | CffsOpenMode.Create))
        {
            hole.SetLength(length);
        }

        Assert.Equal((inlineBytes, blocks), (volume.Stat("/file").InlineBytes, volume.Stat("/file").AllocatedBlocks));
        Assert.Equal((0, 0UL), (volume.Stat("/hole").InlineBytes, volume.Stat("/hole").AllocatedBlocks));
    }

    [Fact]
    public void A_hole_is_made_found_and_filled()
    {
        using SimulatedBlockDevice disk = new(_frames, DiskContents.Zeroes(2048));
        using CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 });
        using CffsFile file = volume.OpenFile("/file", CffsOpenMode.ReadWrite | CffsOpenMode.Create);
        file.Write(0, Enumerable.Repeat((byte)7, 10 * Block).ToArray());
        file.PunchHole(2 * Block, 3 * Block);
        Assert.Equal(7UL, file.Stat().AllocatedBlocks);
        Assert.Equal(2 * Block, file.SeekHole(0));
        Assert.Equal(5 * Block, file.SeekData(2 * Block));
        Assert.Equal(10 * Block, file.SeekHole(5 * Block));
        Assert.Equal(-1, file.SeekData(10 * Block));
        Assert.Equal(-1, file.SeekHole(10 * Block));

        file.ZeroRange(2 * Block, Block);
        Assert.Equal(8UL, file.Stat().AllocatedBlocks);
        Assert.Equal(3 * Block, file.SeekHole(0));

        file.Allocate(10 * Block, 5 * Block, keepLength: true);
        Assert.Equal(10 * Block, file.Length);
        Assert.Equal(13UL, file.Stat().AllocatedBlocks);
        file.Allocate(10 * Block, 1);
        Assert.Equal((10 * Block) + 1, file.Length);
    }

    [Fact]
    public void Blocks_that_were_allocated_can_be_written_on_a_full_volume()
    {
        using SimulatedBlockDevice disk = new(_frames, DiskContents.Zeroes(2048));
        using CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 });
        using CffsFile file = volume.OpenFile("/file", CffsOpenMode.ReadWrite | CffsOpenMode.Create);
        file.Allocate(0, 64 * Block);
        using CffsFile filler = volume.OpenFile("/filler", CffsOpenMode.ReadWrite | CffsOpenMode.Create);
        CffsException full = Assert.Throws<CffsException>(() => filler.Allocate(0, 4096L * Block));
        Assert.Equal(CffsError.NoSpace, full.Error);
        Assert.Equal(0, filler.Length);
        volume.Sync();
        filler.Allocate(0, (long)volume.GetSpace().AvailableBlocks * Block);
        Assert.Equal(0UL, volume.GetSpace().AvailableBlocks);
        file.Write(0, Enumerable.Repeat((byte)7, 64 * Block).ToArray());
        volume.Sync();
        Assert.Equal(64UL, file.Stat().AllocatedBlocks);
    }

    [Fact]
    public void Arguments_and_handles_that_do_not_fit_are_refused()
    {
        using SimulatedBlockDevice disk = new(_frames, DiskContents.Zeroes(2048));
        using CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 });
        volume.WriteAllBytes("/file", new byte[100]);
        using CffsFile reader = volume.OpenFile("/file");
        using CffsFile writer = volume.OpenFile("/file", CffsOpenMode.Write);
        foreach (Action refused in (Action[])[() => reader.Allocate(0, 1), () => reader.PunchHole(0, 1), () => reader.ZeroRange(0, 1)])
        {
            Assert.Equal(CffsError.BadHandle, Assert.Throws<CffsException>(refused).Error);
        }

        foreach (Action refused in (Action[])[() => writer.Allocate(-1, 1), () => writer.PunchHole(0, 0), () => writer.ZeroRange(0, -1), () => writer.SeekData(-1), () => writer.SeekHole(-1)])
        {
            Assert.Throws<ArgumentOutOfRangeException>(refused);
        }

        Assert.Equal(CffsError.FileTooLarge, Assert.Throws<CffsException>(() => writer.Allocate(long.MaxValue - 1, 1)).Error);
    }

    /// <summary>
    /// Any order of writes, holes, zeros, allocations and lengths: contents are the array's; data and holes take turns from the beginning to the end; a hole holds zeros; what was punched is a hole,
    /// and what was allocated is none; an allocation that keeps the length changes nothing that can be read. Afterwards the volume is clean and says the same.
    /// </summary>
    [Fact]
    public void Any_order_of_changes_leaves_what_the_array_says() => Gen.Select(Gen.Int[0, 5], Gen.Int[0, 40 * Block], Gen.Int[1, 12 * Block], Gen.Bool).Array[1, 24].Sample(
        steps =>
        {
            using SimulatedBlockDevice disk = new(_frames, DiskContents.Zeroes(1024));
            byte[] model = [];
            using (CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 }))
            {
                using CffsFile file = volume.OpenFile("/file", CffsOpenMode.ReadWrite | CffsOpenMode.Create);
                for (int i = 0; i < steps.Length; i++)
                {
                    (int kind, int offset, int length, bool isAligned) = steps[i];
                    (offset, length) = isAligned ? (offset / Block * Block, (length + Block - 1) / Block * Block) : (offset, length);
                    Do(file, kind, offset, length, i, isAsync: (i & 1) != 0, ref model);
                    AssertEqual(model, file);
                    if (i % 7 == 6)
                    {
                        volume.Sync();
                    }
                }
            }

            CffsCheckReport report = CffsCheck.Run(disk);
            Assert.True(report.IsClean, string.Join('\n', report.Findings));
            using CffsVolume again = CffsVolume.Open(disk);
            using CffsFile same = again.OpenFile("/file");
            AssertEqual(model, same);
        },
        iter: 150);

    private static void Do(CffsFile file, int kind, int offset, int length, int step, bool isAsync, ref byte[] model)
    {
        ulong allocated = file.Stat().AllocatedBlocks;
        switch (kind)
        {
            case 0:
                byte[] bytes = Enumerable.Range(0, length).Select(at => (byte)((at * 31) + step + 1)).ToArray();
                Run(isAsync, () => file.Write(offset, bytes), () => file.WriteAsync(offset, bytes));
                Array.Resize(ref model, Math.Max(model.Length, offset + length));
                bytes.CopyTo(model, offset);
                break;
            case 1:
                Run(isAsync, () => file.PunchHole(offset, length), () => file.PunchHoleAsync(offset, length));
                int end = Math.Min(offset + length, model.Length);
                model.AsSpan(Math.Min(offset, end)..end).Clear();
                for (int block = (offset + Block - 1) / Block; model.Length >= OwnBlocksFromBytes && block * Block < model.Length && Math.Min((block + 1) * Block, model.Length) <= offset + length; block++)
                {
                    Assert.Equal(block * Block, file.SeekHole(block * Block));
                }

                break;
            case 2 or 3:
                bool keeps = kind == 3;
                Run(isAsync, () => file.ZeroRange(offset, length, keeps), () => file.ZeroRangeAsync(offset, length, keeps));
                Array.Resize(ref model, Math.Max(model.Length, keeps ? 0 : offset + length));
                model.AsSpan(Math.Min(offset, model.Length)..Math.Min(offset + length, model.Length)).Clear();
                AssertAllocated(file, offset, length);
                break;
            case 4:
                bool keepsLength = (step & 2) != 0;
                Run(isAsync, () => file.Allocate(offset, length, keepsLength), () => file.AllocateAsync(offset, length, keepsLength));
                Array.Resize(ref model, Math.Max(model.Length, keepsLength ? 0 : offset + length));
                AssertAllocated(file, offset, length);
                Assert.True(file.Stat().AllocatedBlocks >= Math.Max(allocated, (ulong)(((offset + length + Block - 1) / Block) - (offset / Block))));
                break;
            default:
                Run(isAsync, () => file.SetLength(offset), () => file.SetLengthAsync(offset));
                Array.Resize(ref model, offset);
                break;
        }
    }

    private static void AssertAllocated(CffsFile file, long offset, long length)
    {
        if (offset < file.Length)
        {
            Assert.InRange(file.SeekHole(offset), Math.Min(offset + length, file.Length), file.Length);
        }
    }

    private static void AssertEqual(byte[] model, CffsFile file)
    {
        Assert.Equal(model.Length, file.Length);
        byte[] read = new byte[model.Length + 1];
        Assert.Equal(model.Length, file.Read(0, read));
        Assert.True(model.AsSpan().SequenceEqual(read.AsSpan(0, model.Length)));
        for (long at = 0; at < model.Length;)
        {
            long data = file.SeekDataAsync(at).AsTask().Result;
            long hole = file.SeekHole(at);
            Assert.InRange(hole, at, model.Length);
            Assert.True(data == -1 || (data >= at && data < model.Length));
            Assert.True(data == at ^ hole == at, $"{at}: data {data}, hole {hole}");
            long next = hole > at ? hole : data < 0 ? model.Length : data;
            Assert.True(hole > at || model.AsSpan((int)at..(int)next).IndexOfAnyExcept((byte)0) < 0);
            at = next;
        }

        Assert.Equal(-1, file.SeekData(model.Length));
        Assert.Equal(-1, file.SeekHole(model.Length));
    }

    private static void Run(bool isAsync, Action here, Func<ValueTask> there)
    {
        if (isAsync)
        {
            there().AsTask().GetAwaiter().GetResult();
        }
        else
        {
            here();
        }
    }
}
