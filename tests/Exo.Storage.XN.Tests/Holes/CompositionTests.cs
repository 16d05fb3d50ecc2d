// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.DownloadedCode;

namespace Exo.Storage.XN.Tests.Holes;

/// <summary>
/// What the original called base types, structures and unions, its set type, swap and sticky access: here structures are groups of partitions, a union is a byte that <c>owns</c> looks at, and
/// the rest are transactions.
/// </summary>
public sealed class CompositionTests
{
    /// <summary>Byte 0: 0 nothing, 1 data at the pointer, 2 nodes at the pointer. Pointer: start u48 at 2, count u64 at 8.</summary>
    private const string UnionOwns = """
            ldxb r6, [r1+0]
            ldxdw r2, [r1+8]
            ldxdw r1, [r1+0]
            rsh r1, 16
            mov r3, 0
            jeq r6, 1, emit
            mov r3, 1
            jeq r6, 2, emit
            mov r0, 0
            exit
        emit:
            call 1
            mov r0, 0
            exit
        """;

    private static TemplateSource Union => new()
    {
        Name = "union",
        ReadSetBytes = 16,
        Partitions = [new PartitionGroup(0, 16, 4)],
        Owns = Assembler.Assemble(UnionOwns),
        Acl = Assembler.Assemble(OneBlock.OpenAcl),
        Children = ["data", "node"],
    };

    private static TemplateSource Node => OneBlock.Plain("node", "data");

    [Fact]
    public void A_structure_is_several_groups_of_partitions()
    {
        TemplateSource structure = new()
        {
            Name = "structure",
            ReadSetBytes = 16,
            Partitions = [new PartitionGroup(0, 16, 2), new PartitionGroup(1024, 32, 3)],
            Owns = Assembler.Assemble(OneBlock.PlainOwns),
            Acl = Assembler.Assemble(OneBlock.OpenAcl),
            Children = ["data"],
        };
        using OneBlock volume = new(structure, OneBlock.Data());
        ulong free = volume.Disk.FreeBlocks;
        volume.Begin().Write(1024 + 64, OneBlock.Pointer(300, 2));
        volume.Transaction.ClaimAllocate(new BlockExtent(new(300), 2), volume.Ids[1], volume.Root, 4);
        Assert.Equal(XnStatus.Ok, volume.Apply());
        Assert.Equal(free - 2, volume.Disk.FreeBlocks);
    }

    [Fact]
    public void Bytes_outside_every_read_set_run_no_code()
    {
        using OneBlock volume = new(OneBlock.Plain("sparse", "data", 4, strideBytes: 64), OneBlock.Data());
        Assert.Equal(XnStatus.Ok, volume.Allocate(0, 300, 1, 64));
        long runs = volume.Disk.Counters.OwnsRuns;
        Assert.Equal(XnStatus.Ok, volume.Begin().Write(16, new byte[48]).Write(80, 1, 2, 3).Write(2048, new byte[2048]).Apply());
        Assert.Equal(runs, volume.Disk.Counters.OwnsRuns);

        // Nor does a write of the bytes that are there.
        Assert.Equal(XnStatus.Ok, volume.Begin().Write(0, OneBlock.Pointer(300, 1)).Apply());
        Assert.Equal(runs, volume.Disk.Counters.OwnsRuns);
    }

    [Fact]
    public void A_change_runs_the_code_of_its_partition_only()
    {
        using OneBlock volume = new(OneBlock.Plain("many", "data", 200), OneBlock.Data());
        for (int i = 0; i < 100; i++)
        {
            Assert.Equal(XnStatus.Ok, volume.Allocate(i, 300 + (ulong)i, 1));
        }

        long runs = volume.Disk.Counters.OwnsRuns;
        Assert.Equal(XnStatus.Ok, volume.Allocate(150, 450, 1));
        Assert.Equal(runs + 2, volume.Disk.Counters.OwnsRuns);
    }

    [Fact]
    public void The_type_of_a_union_changes_when_the_claims_say_what_that_means()
    {
        using OneBlock volume = new(Union, OneBlock.Data(), Node);
        byte[] asData = OneBlock.Pointer((300UL << 16) | 1, 1);
        volume.Begin().Write(0, asData);
        volume.Transaction.ClaimAllocate(new BlockExtent(new(300), 1), volume.Ids[1], volume.Root, 0);
        Assert.Equal(XnStatus.Ok, volume.Apply());

        // Data whose bytes are a pointer becomes a node: that would be a forged pointer.
        Assert.Equal(XnStatus.TypeError, volume.Begin().Write(0, 2).Apply());
        volume.Begin().Write(0, 2);
        volume.Transaction.ClaimFree(new BlockExtent(new(300), 1), volume.Ids[1], volume.Root, 0);
        Assert.Equal(XnStatus.TypeError, volume.Apply());
        volume.Begin().Write(0, 2);
        volume.Transaction.ClaimFree(new BlockExtent(new(300), 1), volume.Ids[1], volume.Root, 0);
        volume.Transaction.ClaimAllocate(new BlockExtent(new(300), 1), volume.Ids[2], volume.Root, 0);
        Assert.Equal(XnStatus.NotFree, volume.Apply());
        Assert.Equal(1, volume.Bytes(volume.Root)[0]);

        // From one arm to the other by way of new blocks.
        volume.Begin().Write(0, OneBlock.Pointer((301UL << 16) | 2, 1));
        volume.Transaction.ClaimFree(new BlockExtent(new(300), 1), volume.Ids[1], volume.Root, 0);
        volume.Transaction.ClaimAllocate(new BlockExtent(new(301), 1), volume.Ids[2], volume.Root, 0, [volume.Frame()]);
        Assert.Equal(XnStatus.Ok, volume.Apply());
        Assert.Equal(0, volume.Bytes(new(301))[0]);

        // To the arm that owns nothing.
        volume.Begin().Write(0, 0);
        volume.Transaction.ClaimFree(new BlockExtent(new(301), 1), volume.Ids[2], volume.Root, 0);
        Assert.Equal(XnStatus.Ok, volume.Apply());
    }

    [Fact]
    public void Two_pointers_of_one_sector_are_swapped_in_one_step()
    {
        using OneBlock volume = new(OneBlock.Plain("pair", "data"), OneBlock.Data());
        Assert.Equal(XnStatus.Ok, volume.Allocate(0, 300, 1));
        Assert.Equal(XnStatus.Ok, volume.Allocate(1, 400, 2));
        volume.Begin().Write(0, OneBlock.Pointer(400, 2)).Write(16, OneBlock.Pointer(300, 1));
        volume.Transaction.ClaimMove(new BlockExtent(new(300), 1), volume.Ids[1], volume.Root, 0, volume.Root, 1);
        volume.Transaction.ClaimMove(new BlockExtent(new(400), 2), volume.Ids[1], volume.Root, 1, volume.Root, 0);
        Assert.Equal(XnStatus.Ok, volume.Apply());
        Assert.True(volume.Disk.TryGetEntry(new(300), out RegistryEntryInfo entry));
        Assert.Equal(1, entry.ParentPartition);
        volume.Sync();
    }

    [Fact]
    public void Pointers_of_two_blocks_cannot_be_swapped_in_one_step_because_no_disk_writes_two_blocks_at_once()
    {
        using OneBlock volume = new(OneBlock.Plain("root", "node"), Node, OneBlock.Data());
        Assert.Equal(XnStatus.Ok, AllocateNode(volume, 0, 300));
        Assert.Equal(XnStatus.Ok, AllocateNode(volume, 1, 301));
        AllocateBelow(volume, 300, 400);
        AllocateBelow(volume, 301, 401);
        volume.Sync();
        volume.Begin().Write(new(300), 0, OneBlock.Pointer(401, 1)).Write(new(301), 0, OneBlock.Pointer(400, 1));
        volume.Transaction.ClaimMove(new BlockExtent(new(400), 1), volume.Ids[2], new(300), 0, new(301), 0);
        volume.Transaction.ClaimMove(new BlockExtent(new(401), 1), volume.Ids[2], new(301), 0, new(300), 0);
        Assert.Equal(XnStatus.OrderCycle, volume.Apply());
    }

    [Fact]
    public void What_has_no_acl_of_its_own_follows_its_parent()
    {
        // Grants when byte 3000 of the guarding block is 7.
        TemplateSource root = new()
        {
            Name = "guard",
            ReadSetBytes = 16,
            Partitions = [new PartitionGroup(0, 16, 4)],
            Owns = Assembler.Assemble(OneBlock.PlainOwns),
            Acl = Assembler.Assemble("""
                    ldxb r2, [r1+3000]
                    mov r0, 1
                    jeq r2, 7, done
                    ldxw r2, [r3+20]
                    jeq r2, 0, done
                    mov r0, 0
                done:
                    exit
                """),
            Children = ["child"],
        };
        TemplateSource child = new()
        {
            Name = "child", ReadSetBytes = 16, Partitions = [new PartitionGroup(0, 16, 4)], Owns = Assembler.Assemble(OneBlock.PlainOwns), Children = ["data"],
        };
        using OneBlock volume = new(root, child, OneBlock.Data());
        Assert.Equal(XnStatus.Ok, AllocateNode(volume, 0, 300));
        Capability any = volume.Frames.RootCredential.Capabilities[0].Forge(CapabilityName.Create("anybody"u8), Rights.All);
        XnTransaction write = new();
        write.Write(new(300), 2000, [1]);
        Assert.Equal(XnStatus.AccessDenied, volume.Disk.Apply(Credential.Of(any), write));
        Assert.Equal(XnStatus.Ok, volume.Begin().Write(3000, 7).Apply());
        Assert.Equal(XnStatus.Ok, volume.Disk.Apply(Credential.Of(any), write));
        Assert.Equal(XnStatus.Ok, volume.Begin().Write(3000, 8).Apply());
        Assert.Equal(XnStatus.AccessDenied, volume.Disk.Apply(Credential.Of(any), write));
    }

    private static XnStatus AllocateNode(OneBlock volume, int partition, ulong block)
    {
        volume.Begin().Write(partition * 16, OneBlock.Pointer(block, 1));
        volume.Transaction.ClaimAllocate(new BlockExtent(new(block), 1), volume.Ids[1], volume.Root, partition, [volume.Frame()]);
        return volume.Apply();
    }

    private static void AllocateBelow(OneBlock volume, ulong node, ulong block)
    {
        volume.Begin().Write(new(node), 0, OneBlock.Pointer(block, 1));
        volume.Transaction.ClaimAllocate(new BlockExtent(new(block), 1), volume.Ids[2], new(node), 0, [volume.Frame()]);
        Assert.Equal(XnStatus.Ok, volume.Apply());
    }
}
