// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.DownloadedCode;
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Holes;

/// <summary>
/// The released XN of 1997 had nineteen known defects. Each has its number here, and is tried. Apply/RefusalTests has more of the first kind.
/// </summary>
public sealed class NineteenHolesTests : IDisposable
{
    private readonly OneBlock _volume = new(OneBlock.Plain("root", "data", 100), OneBlock.Data());

    public void Dispose() => _volume.Dispose();

    // 1. The test of a free was "old without new is what is freed": new pointers passed.
    [Fact]
    public void Hole_01_a_free_that_brings_a_pointer_in()
    {
        Assert.Equal(XnStatus.Ok, _volume.Allocate(0, 300, 2));
        _volume.Begin().Write(0, OneBlock.Pointer(301, 2));
        _volume.Transaction.ClaimFree(new BlockExtent(new(300), 1), _volume.Ids[1], _volume.Root, 0);
        Unchanged(XnStatus.TypeError);
    }

    // 2. owns ran for the partition that was named, the bytes went anywhere in the block.
    [Fact]
    public void Hole_02_a_vector_that_writes_another_partition()
    {
        BlockExtent extent = new(new(300), 1);
        _volume.Begin().Write(0, OneBlock.Pointer(300, 1)).Write(160, OneBlock.Pointer(310, 1));
        _volume.Transaction.ClaimAllocate(extent, _volume.Ids[1], _volume.Root, 0);
        Unchanged(XnStatus.TypeError);

        // One write over two partitions is seen in both.
        byte[] both = [.. OneBlock.Pointer(300, 1), .. OneBlock.Pointer(310, 1)];
        _volume.Begin().Write(0, both);
        _volume.Transaction.ClaimAllocate(extent, _volume.Ids[1], _volume.Root, 0);
        Unchanged(XnStatus.TypeError);
    }

    // 3. Ranges were bounded by the whole block's size from a base that had been advanced.
    [Theory]
    [InlineData(4095, 2)]
    [InlineData(4080, 17)]
    [InlineData(int.MaxValue, 1)]
    [InlineData(int.MinValue, 1)]
    public void Hole_03_a_write_past_the_block(int offsetBytes, int lengthBytes)
    {
        _volume.Begin().Write(offsetBytes, new byte[lengthBytes]);
        Unchanged(XnStatus.BadRange);
    }

    // 4. The discriminator of a union could lie where raw writes were allowed. Here what owns reads is its read set: the verifier refuses a program that reads anything else.
    [Fact]
    public void Hole_04_a_discriminator_outside_the_read_set()
    {
        Refused("""
                ldxb r2, [r1+16]
                jeq r2, 0, done
                call 1
            done:
                mov r0, 0
                exit
            """);
    }

    // 5. Read-set and discriminator code ran before it was checked. 6. Branch targets were not checked, code could run away.
    [Theory]
    [InlineData("ja -1")]
    [InlineData("ja 100\nexit")]
    [InlineData("again:\n mov r2, 1\n ja again")]
    [InlineData("mov r0, r5\nexit")]
    [InlineData("ldxdw r0, [r10-8]\nexit")]
    [InlineData("call 77\nmov r0, 0\nexit")]
    [InlineData("mov r0, 0")]
    public void Holes_05_and_06_code_that_is_not_safe(string code) => Refused(code);

    // 7. Neither the length of a program nor that of a template was bounded.
    [Fact]
    public void Hole_07_a_program_that_does_not_fit()
    {
        string code = string.Concat(Enumerable.Repeat("mov r2, 1\n", 600)) + "mov r0, 0\nexit";
        Refused(code);
    }

    // 8. Division by zero; the register form of AND took the immediate. RFC 9669: x / 0 = 0, x % 0 = x.
    [Fact]
    public void Hole_08_division_by_zero_and_AND_of_registers()
    {
        const string Owns = """
                ldxdw r6, [r1+0]
                ldxdw r7, [r1+8]
                mov r1, 300
                mov r2, 1
                div r2, r7
                mod r1, r7
                and r6, r2
                mov r3, 0
                jeq r6, 0, done
                call 1
            done:
                mov r0, 0
                exit
            """;
        using OneBlock volume = new(OneBlock.Plain("divider", "data", owns: Owns), OneBlock.Data());
        Assert.Equal(XnStatus.Ok, volume.Begin().Write(0, OneBlock.Pointer(1, 0)).Apply());
    }

    // 9. One byte past a granted range was accessible.
    [Theory]
    [InlineData("ldxb r0, [r1+15]\nmov r0, 0\nexit", true)]
    [InlineData("ldxb r0, [r1+16]\nmov r0, 0\nexit", false)]
    [InlineData("ldxh r0, [r1+15]\nmov r0, 0\nexit", false)]
    [InlineData("ldxdw r0, [r1+9]\nmov r0, 0\nexit", false)]
    [InlineData("ldxb r0, [r1-1]\nmov r0, 0\nexit", false)]
    [InlineData("stb [r1+0], 1\nmov r0, 0\nexit", false)]
    public void Hole_09_one_byte_past_the_range(string code, bool isAccepted)
    {
        if (isAccepted)
        {
            _ = _volume.Disk.InstallTemplates(_volume.Key, [OneBlock.Plain("edge", "data", owns: code)]);
        }
        else
        {
            Refused(code);
        }
    }

    // 10. The containment test said "no" with the value that meant success: anybody could enter any block.
    [Fact]
    public void Hole_10_an_entry_without_ownership()
    {
        Assert.Equal(XnStatus.Ok, _volume.Allocate(0, 300, 2));
        foreach (BlockExtent extent in new BlockExtent[] { new(new(302), 1), new(new(301), 2), new(new(299), 2), new(new(0), 1), new(new(ulong.MaxValue), 1) })
        {
            XnReadRequest request = new(_volume.Root, 0, extent);
            Assert.Equal(XnStatus.NotOwned, _volume.Disk.Insert(_volume.Key, request));
            Assert.Equal(XnStatus.NotOwned, Assert.Throws<XnException>(() => _volume.Disk.Read(_volume.Key, [request], [_volume.Frame(), _volume.Frame()], out _)).Status);
            FrameNumber[] frames = [.. Enumerable.Range(0, (int)extent.Count).Select(_ => _volume.Frame())];
            Assert.Equal(XnStatus.NotOwned, _volume.Disk.BindOverwrite(_volume.Key, request, frames));
        }

        Assert.Equal(XnStatus.BadRange, _volume.Disk.Insert(_volume.Key, new XnReadRequest(_volume.Root, 100, new BlockExtent(new(300), 1))));
        Assert.Equal(XnStatus.BadRange, _volume.Disk.Insert(_volume.Key, new XnReadRequest(_volume.Root, -1, new BlockExtent(new(300), 1))));
    }

    // 11. "Disjoint" was computed as "the difference is not empty".
    [Fact]
    public void Hole_11_sets_that_overlap_in_part()
    {
        const string Twice = """
                mov r6, r1
                ldxdw r1, [r6+0]
                jeq r1, 0, done
                mov r2, 2
                mov r3, 0
                call 1
                ldxdw r1, [r6+8]
                mov r2, 2
                mov r3, 0
                call 1
            done:
                mov r0, 0
                exit
            """;
        using OneBlock volume = new(OneBlock.Plain("twice", "data", owns: Twice), OneBlock.Data());
        foreach (ulong second in new ulong[] { 299, 300, 301 })
        {
            volume.Begin().Write(0, OneBlock.Pointer(300, second));
            ulong from = Math.Min(300, second);
            volume.Transaction.ClaimAllocate(new BlockExtent(new(from), (uint)(Math.Max(300, second) + 2 - from)), volume.Ids[1], volume.Root, 0);
            Assert.Equal(XnStatus.TypeError, volume.Apply());
        }

        volume.Begin().Write(0, OneBlock.Pointer(300, 302));
        volume.Transaction.ClaimAllocate(new BlockExtent(new(300), 4), volume.Ids[1], volume.Root, 0);
        Assert.Equal(XnStatus.Ok, volume.Apply());
    }

    // 12. Extents were taken apart into single blocks that the declared change could never equal.
    [Fact]
    public void Hole_12_extents_grow_shrink_and_split()
    {
        Assert.Equal(XnStatus.Ok, _volume.Allocate(0, 300, 20));

        // Grows at its end, shrinks at its start: only the difference is claimed.
        _volume.Begin().Write(0, OneBlock.Pointer(305, 20));
        _volume.Transaction.ClaimAllocate(new BlockExtent(new(320), 5), _volume.Ids[1], _volume.Root, 0);
        _volume.Transaction.ClaimFree(new BlockExtent(new(300), 5), _volume.Ids[1], _volume.Root, 0);
        Assert.Equal(XnStatus.Ok, _volume.Apply());

        // Splits into two partitions of one sector.
        _volume.Begin().Write(0, OneBlock.Pointer(305, 8)).Write(16, OneBlock.Pointer(313, 12));
        _volume.Transaction.ClaimMove(new BlockExtent(new(313), 12), _volume.Ids[1], _volume.Root, 0, _volume.Root, 1);
        Assert.Equal(XnStatus.Ok, _volume.Apply());
    }

    // 13. Taint was kept for the first sector of a parent only.
    [Theory]
    [InlineData(0)]
    [InlineData(31)]
    [InlineData(32)]
    [InlineData(255)]
    public void Hole_13_taint_in_every_sector(int partition)
    {
        using OneBlock volume = new(OneBlock.Plain("wide", "data", 256), OneBlock.Data(flags: TemplateFlags.InitialiseFirst));
        Assert.Equal(XnStatus.Ok, volume.Allocate(partition, 300, 1));
        Assert.Equal(XnStatus.Tainted, volume.Disk.WriteBack(volume.Key, [volume.Root]));
        Assert.Equal(XnStatus.Ok, volume.Disk.Bind(volume.Key, new(300), [volume.Frame()], BindMode.Zero));
        volume.Sync();
    }

    // 14. The cycle test marked blocks seen, not those on the path: a diamond of orders was taken for a cycle, and many blocks for too many.
    [Fact]
    public void Hole_14_a_diamond_is_no_cycle()
    {
        using StampedDisk disk = new();
        StampedTree.Item c = disk.AddNode(5);
        StampedTree.Item d = disk.AddNode(6);
        disk.Tree.Sync();
        foreach (StampedTree.Item item in new[] { disk.A, disk.B, c, d })
        {
            Touch(disk, item);
        }

        Assert.Equal(XnStatus.Ok, disk.Disk.Order(disk.Tree.Key, disk.A.Block, disk.B.Block));
        Assert.Equal(XnStatus.Ok, disk.Disk.Order(disk.Tree.Key, disk.A.Block, c.Block));
        Assert.Equal(XnStatus.Ok, disk.Disk.Order(disk.Tree.Key, disk.B.Block, d.Block));
        Assert.Equal(XnStatus.Ok, disk.Disk.Order(disk.Tree.Key, c.Block, d.Block));
        Assert.Equal(XnStatus.OrderCycle, disk.Disk.Order(disk.Tree.Key, d.Block, disk.A.Block));
        disk.Tree.Sync();
    }

    [Fact]
    public void Hole_14_a_long_chain_is_no_panic()
    {
        using StampedDisk disk = new(blockCount: 2048);
        List<StampedTree.Item> nodes = [];
        StampedTree.Item parent = disk.A;
        for (int i = 0; i < 400; i++)
        {
            parent = disk.AddNode(1, parent);
            nodes.Add(parent);
        }

        Assert.Equal(XnStatus.Cycle, disk.Tree.Move(disk.A, parent, 9));
        disk.Tree.Sync();
        nodes.ForEach(node => Touch(disk, node));
        for (int i = 1; i < nodes.Count; i++)
        {
            Assert.Equal(XnStatus.Ok, disk.Disk.Order(disk.Tree.Key, nodes[i - 1].Block, nodes[i].Block));
        }

        Assert.Equal(XnStatus.OrderCycle, disk.Disk.Order(disk.Tree.Key, nodes[^1].Block, nodes[0].Block));
        disk.Tree.Sync();
    }

    // 15. Freeing all took its arguments in the wrong order; the root catalogue's deletion could not be undone. Here a refused publication leaves the catalogue as it was.
    [Fact]
    public void Hole_15_a_refused_root_changes_no_root()
    {
        BlockNumber second = _volume.Disk.CreateRoot(_volume.Key, _volume.Ids[0], default, default);
        Assert.Equal(XnStatus.Tainted, Assert.Throws<XnException>(() => _volume.Disk.PublishRoot(_volume.Key, "second", second)).Status);
        _volume.Sync();
        Assert.Equal(XnStatus.Exists, Assert.Throws<XnException>(() => _volume.Disk.PublishRoot(_volume.Key, "root", second)).Status);
        Assert.Equal(["root"], _volume.Disk.Roots.Select(root => root.Name));
        Assert.Equal(XnStatus.NotFound, Assert.Throws<XnException>(() => _volume.Disk.PublishRoot(_volume.Key, "third", new BlockNumber(300))).Status);
    }

    // 15. A tree goes whole, whatever its shape.
    [Fact]
    public void Hole_15_a_tree_is_freed_whole()
    {
        using StampedDisk disk = new();
        ulong free = disk.Disk.FreeBlocks;
        StampedTree.Item node = disk.AddNode(7);
        disk.AddData(node, 1, 3);
        StampedTree.Item deep = disk.AddNode(2, node);
        disk.AddData(deep, 0, 2);
        disk.Tree.Sync();
        Assert.Equal(free - 7, disk.Disk.FreeBlocks);
        Assert.Equal(XnStatus.Ok, disk.Tree.Remove(node));
        disk.Tree.Sync();
        Assert.Equal(free, disk.Disk.FreeBlocks);
    }

    // 16. Templates were used in place, in the page that later went to the disk.
    [Fact]
    public void Hole_16_a_template_is_the_same_after_use()
    {
        byte[] before = [.. _volume.Device.Snapshot()[2]];
        Assert.Equal(XnStatus.Ok, _volume.Allocate(0, 300, 1));
        _volume.Sync();
        Assert.Equal(before, _volume.Device.Snapshot()[2].ToArray());
        Assert.True(_volume.Disk.TryGetTemplate(_volume.Ids[0], out TemplateSource? source));
        Assert.Equal(OneBlock.Plain("root", "data", 100).Owns!.ToBytes(), source!.Owns!.ToBytes());
    }

    // 17. The proof was remembered by address: another block in the same page inherited it.
    [Fact]
    public void Hole_17_proofs_are_not_inherited_by_what_comes_after()
    {
        Assert.Equal(XnStatus.Ok, _volume.Allocate(0, 300, 1));
        XnReadRequest request = new(_volume.Root, 0, new BlockExtent(new(300), 1));
        Assert.Equal(XnStatus.Ok, _volume.Disk.Insert(_volume.Key, request));
        _volume.Begin().Write(0, OneBlock.Pointer(310, 1));
        _volume.Transaction.ClaimFree(new BlockExtent(new(300), 1), _volume.Ids[1], _volume.Root, 0);
        _volume.Transaction.ClaimAllocate(new BlockExtent(new(310), 1), _volume.Ids[1], _volume.Root, 0);
        Assert.Equal(XnStatus.Ok, _volume.Apply());
        Assert.Equal(XnStatus.NotOwned, _volume.Disk.Insert(_volume.Key, request));
    }

    // 18. One set of registers and one heap for all: nothing could run at the same time.
    [Fact]
    public void Hole_18_many_volumes_and_threads_at_once()
    {
        Parallel.For(0, 4, seed =>
        {
            using StampedDisk disk = new();
            StampedWorkload workload = new(disk.Tree, new Random(seed));
            for (int i = 0; i < 200; i++)
            {
                workload.Step();
            }

            disk.Tree.Sync();
        });

        Parallel.For(0, 64, partition =>
        {
            XnTransaction mine = new();
            for (int round = 0; round < 50; round++)
            {
                BlockExtent extent = new(new BlockNumber(300 + (ulong)partition), 1);
                mine.Clear();
                mine.Write(_volume.Root, partition * 16, OneBlock.Pointer(extent.First.Value, 1));
                mine.ClaimAllocate(extent, _volume.Ids[1], _volume.Root, partition);
                Assert.Equal(XnStatus.Ok, _volume.Disk.Apply(_volume.Key, mine));
                mine.Clear();
                mine.Write(_volume.Root, partition * 16, new byte[16]);
                mine.ClaimFree(extent, _volume.Ids[1], _volume.Root, partition);
                Assert.Equal(XnStatus.Ok, _volume.Disk.Apply(_volume.Key, mine));
            }
        });
    }

    // 19. The superblock's checksum was an exclusive or of five words, the free map was written over itself.
    [Fact]
    public void Hole_19_every_bit_of_the_superblock_counts()
    {
        byte[] sector = _volume.Device.Snapshot()[0][..XnSuperblock.SizeBytes].ToArray();
        Assert.True(XnSuperblock.TryParse(sector, 0, out _, out _));
        Assert.False(XnSuperblock.TryParse(sector, 1, out _, out _));
        for (int bit = 0; bit < sector.Length * 8; bit++)
        {
            sector[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.False(XnSuperblock.TryParse(sector, 0, out _, out _), $"bit {bit}");
            sector[bit / 8] ^= (byte)(1 << (bit % 8));
        }

        // Two words exchanged: an exclusive or would not see it.
        (sector[40], sector[48]) = (sector[48], sector[40]);
        (sector[41], sector[49]) = (sector[49], sector[41]);
        Assert.False(XnSuperblock.TryParse(sector, 0, out _, out _));
    }

    // 19. The snapshot of the free map is believed only with the unmount that wrote it.
    [Fact]
    public void Hole_19_a_free_map_of_another_time_is_not_believed()
    {
        Assert.Equal(XnStatus.Ok, _volume.Disk.Unmount());
        byte[] old = _volume.Device.Snapshot()[132].ToArray();
        Assert.Equal(XnStatus.Ok, _volume.Allocate(0, 300, 5));
        for (uint i = 0; i < 5; i++)
        {
            Assert.Equal(XnStatus.Ok, _volume.Disk.Bind(_volume.Key, new(300 + i), [_volume.Frame()], BindMode.Zero));
        }

        _volume.Sync();
        Assert.Equal(XnStatus.Ok, _volume.Disk.Unmount());
        ulong free = _volume.Disk.FreeBlocks;
        _volume.Disk.Dispose();
        FrameNumber[] frame = [_volume.Frame()];
        old.CopyTo(_volume.Frames.Bytes(frame[0]));
        BlockRequest[] write = [BlockRequest.Write(new BlockNumber(132), frame)];
        _volume.Device.Execute(write);
        using XnVolume again = XnVolume.Attach(_volume.Device);
        Assert.NotNull(again.Recovery);
        Assert.Equal(free, again.FreeBlocks);
    }

    // 3.1, 8: a capability is asked for everywhere.
    [Fact]
    public void Nothing_is_open_to_all()
    {
        using StampedDisk theirs = new("owner-01");
        StampedTree.Item data = theirs.AddData(theirs.A, 5);
        theirs.Tree.Sync();
        Capability root = theirs.Frames.RootCredential.Capabilities[0];
        Credential stranger = Credential.Of(root.Forge(CapabilityName.Create("somebody"u8), Rights.All));
        XnReadRequest request = new(theirs.A.Block, 5, data.Extent);
        Assert.Equal(XnStatus.AccessDenied, theirs.Disk.Unbind(stranger, data.Block));
        Assert.Equal(XnStatus.AccessDenied, theirs.Disk.Insert(stranger, request));
        Assert.Equal(XnStatus.AccessDenied, theirs.Disk.MarkDirty(stranger, data.Block, 1));
        Assert.Equal(XnStatus.AccessDenied, theirs.Disk.Rebind(stranger, data.Block, theirs.Frame()));
        Assert.Equal(XnStatus.AccessDenied, theirs.Disk.BindOverwrite(stranger, request, [theirs.Frame()]));
        Touch(theirs, theirs.A);
        Touch(theirs, theirs.B);
        Assert.Equal(XnStatus.AccessDenied, theirs.Disk.Order(stranger, theirs.A.Block, theirs.B.Block));
        Assert.False(theirs.Disk.TryGetFrame(stranger, theirs.A.Block, out _));
    }

    private static void Touch(StampedDisk disk, StampedTree.Item node)
    {
        disk.Tree.Transaction.Clear();
        disk.Tree.Transaction.Write(node.Block, 256, [1, 2, 3]);
        Assert.Equal(XnStatus.Ok, disk.Disk.Apply(disk.Tree.Key, disk.Tree.Transaction));
    }

    private void Refused(string owns)
    {
        TemplateSource source;
        try
        {
            source = OneBlock.Plain("refused", "data", owns: owns);
        }
        catch (FormatException)
        {
            // Not even an assembler makes a program of it.
            return;
        }

        Assert.Equal(XnStatus.WrongTemplate, Assert.Throws<XnException>(() => _volume.Disk.InstallTemplates(_volume.Key, [source])).Status);
        Assert.Equal(2, _volume.Disk.Templates.Count);
    }

    private void Unchanged(XnStatus expected)
    {
        byte[] block = [.. _volume.Bytes(_volume.Root)];
        ulong[] free = [.. _volume.Disk.FreeMap];
        Assert.Equal(expected, _volume.Apply());
        Assert.NotEqual("", _volume.Transaction.LastRefusal);
        Assert.Equal(block, _volume.Bytes(_volume.Root).ToArray());
        Assert.Equal(free, _volume.Disk.FreeMap.ToArray());
    }
}
