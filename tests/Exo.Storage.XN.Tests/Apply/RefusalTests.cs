// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.DownloadedCode;
using Exo.Core.Memory;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Apply;

/// <summary>
/// What a library OS must not be able to do, and that a refusal changes nothing: no byte of a block in core, no bit of the free map, no entry of the registry. Many of these were holes in the
/// original (reference: the defects of its XN).
/// </summary>
public sealed class RefusalTests : IDisposable
{
    private readonly StampedDisk _disk = new();
    private readonly XnTransaction _transaction = new();

    private StampedTree Tree => _disk.Tree;

    public void Dispose() => _disk.Dispose();

    [Fact]
    public void A_free_cannot_smuggle_a_pointer_in()
    {
        StampedTree.Item data = _disk.AddData(_disk.A, 5);
        BlockExtent other = Tree.FindFree(300, 1)!.Value;
        Write(_disk.A, 5, StampedFormat.Entry(other, StampedFormat.Data, 99));
        _transaction.ClaimFree(data.Extent, Tree.DataTemplate, _disk.A.Block, 5);
        Refused(XnStatus.TypeError);
    }

    [Fact]
    public void A_write_cannot_change_another_partition_unseen()
    {
        BlockExtent first = Tree.FindFree(300, 1)!.Value;
        BlockExtent second = Tree.FindFree(400, 1)!.Value;
        Write(_disk.A, 5, StampedFormat.Entry(first, StampedFormat.Data, 99));
        Write(_disk.A, 6, StampedFormat.Entry(second, StampedFormat.Data, 99));
        _transaction.ClaimAllocate(first, Tree.DataTemplate, _disk.A.Block, 5);
        Refused(XnStatus.TypeError);
    }

    [Fact]
    public void A_pointer_cannot_come_without_a_claim()
    {
        Write(_disk.A, 5, StampedFormat.Entry(Tree.FindFree(300, 1)!.Value, StampedFormat.Data, 99));
        Refused(XnStatus.TypeError);
    }

    [Fact]
    public void A_claim_without_a_write_is_refused()
    {
        _transaction.ClaimAllocate(Tree.FindFree(300, 1)!.Value, Tree.DataTemplate, _disk.A.Block, 5);
        Refused(XnStatus.TypeError);
    }

    [Fact]
    public void A_claim_must_name_the_template_that_owns_emits()
    {
        BlockExtent extent = Tree.FindFree(300, 1)!.Value;
        Write(_disk.A, 5, StampedFormat.Entry(extent, StampedFormat.Data, 99));
        _transaction.ClaimAllocate(extent, Tree.NodeTemplate, _disk.A.Block, 5);
        Refused(XnStatus.TypeError);
    }

    [Fact]
    public void A_claim_must_have_the_length_that_owns_emits()
    {
        BlockExtent extent = Tree.FindFree(300, 3)!.Value;
        Write(_disk.A, 5, StampedFormat.Entry(extent, StampedFormat.Data, 99));
        _transaction.ClaimAllocate(new BlockExtent(extent.First, 2), Tree.DataTemplate, _disk.A.Block, 5);
        Refused(XnStatus.TypeError);
    }

    [Fact]
    public void A_block_in_use_cannot_be_allocated()
    {
        StampedTree.Item data = _disk.AddData(_disk.A, 5);
        Allocate(_disk.B, 5, data.Extent);
        Refused(XnStatus.NotFree);
    }

    [Fact]
    public void A_block_cannot_be_allocated_twice_in_one_transaction()
    {
        BlockExtent extent = Tree.FindFree(300, 1)!.Value;
        Allocate(_disk.A, 5, extent);
        Allocate(_disk.B, 5, extent);
        Refused(XnStatus.NotFree);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(130)]
    [InlineData(512)]
    [InlineData(long.MaxValue)]
    public void Blocks_of_XN_and_beyond_the_disk_cannot_be_allocated(long block)
    {
        Allocate(_disk.A, 5, new BlockExtent(new BlockNumber((ulong)block), 1));
        Refused(XnStatus.BadBlock, XnStatus.TypeError);
    }

    [Theory]
    [InlineData(4090, 16)]
    [InlineData(-1, 8)]
    [InlineData(4096, 1)]
    public void A_write_cannot_leave_its_block(int offsetBytes, int lengthBytes)
    {
        _transaction.Write(_disk.A.Block, offsetBytes, new byte[lengthBytes]);
        Refused(XnStatus.BadRange);
    }

    [Fact]
    public void A_partition_that_does_not_exist_cannot_be_claimed()
    {
        BlockExtent extent = Tree.FindFree(300, 1)!.Value;
        Write(_disk.A, 5, StampedFormat.Entry(extent, StampedFormat.Data, 99));
        _transaction.ClaimAllocate(extent, Tree.DataTemplate, _disk.A.Block, StampedFormat.EntriesMax);
        Refused(XnStatus.BadRange, XnStatus.TypeError);
    }

    [Fact]
    public void A_node_that_owns_something_cannot_be_freed_alone()
    {
        _disk.AddData(_disk.A, 5);
        Write(Tree.Root, _disk.A.Entry, new byte[StampedFormat.EntryBytes]);
        _transaction.ClaimFree(_disk.A.Extent, Tree.NodeTemplate, Tree.Root.Block, _disk.A.Entry);
        Refused(XnStatus.HasPointers);
    }

    [Fact]
    public void A_node_cannot_come_to_lie_below_itself()
    {
        StampedTree.Item below = _disk.AddNode(1, _disk.A);
        byte[] before = State();
        Assert.Equal(XnStatus.Cycle, Tree.Move(_disk.A, below, 9));
        Assert.Equal(before, State());
    }

    [Fact]
    public void A_pointer_does_not_move_between_sectors_of_one_block()
    {
        StampedTree.Item data = _disk.AddData(_disk.A, 0);
        byte[] before = State();
        Assert.Equal(XnStatus.SplitSectorMove, Tree.Move(data, _disk.A, StampedFormat.EntriesPerSector));
        Assert.Equal(before, State());
        Assert.Equal(XnStatus.Ok, Tree.Move(data, _disk.A, 1));
    }

    [Fact]
    public void A_stranger_can_neither_write_nor_read()
    {
        using StampedDisk theirs = new("owner-01");
        StampedTree.Item data = theirs.AddData(theirs.A, 5);
        theirs.Tree.Sync();
        Assert.Equal(XnStatus.Ok, theirs.Disk.Unbind(theirs.Tree.Key, data.Block));
        Capability root = theirs.Frames.RootCredential.Capabilities[0];
        Credential stranger = Credential.Of(root.Forge(CapabilityName.Create("somebody"u8), Rights.All));
        Credential reader = Credential.Of(root.Forge(CapabilityName.Create("owner-01"u8), Rights.Read));
        Credential owner = Credential.Of(root.Forge(CapabilityName.Create("owner-01"u8), Rights.All));

        Assert.Equal(XnStatus.AccessDenied, WriteAs(theirs, stranger));
        Assert.Equal(XnStatus.AccessDenied, WriteAs(theirs, reader));
        Assert.Equal(XnStatus.Ok, WriteAs(theirs, owner));
        XnReadRequest request = new(theirs.A.Block, 5, data.Extent);
        FrameNumber[] frames = [theirs.Frame()];
        Assert.Equal(XnStatus.AccessDenied, Assert.Throws<XnException>(() => theirs.Disk.Read(stranger, [request], frames, out _)).Status);
        theirs.Disk.Read(reader, [request], frames, out int unused);
        Assert.Equal(0, unused);
        Assert.False(theirs.Disk.TryGetFrame(stranger, data.Block, out _));
        Assert.True(theirs.Disk.TryGetFrame(reader, data.Block, out FrameNumber frame));
        theirs.Frames.Release(frame);
        Assert.Equal(XnStatus.AccessDenied, theirs.Disk.MarkDirty(reader, data.Block, 1));
        Assert.Equal(XnStatus.AccessDenied, theirs.Disk.Unbind(stranger, data.Block));
        Assert.Equal(XnStatus.AccessDenied, theirs.Disk.Unbind(reader, data.Block));
        Assert.Equal(XnStatus.AccessDenied, Assert.Throws<XnException>(() => theirs.Disk.CreateRoot(stranger, theirs.Tree.RootTemplate, default, default)).Status);
        Assert.Equal(XnStatus.AccessDenied, Assert.Throws<XnException>(() => theirs.Disk.InstallTemplates(stranger, StampedFormat.Templates)).Status);
    }

    [Fact]
    public void A_revoked_capability_opens_nothing_although_its_grant_was_remembered()
    {
        using StampedDisk theirs = new("owner-01");
        Capability root = theirs.Frames.RootCredential.Capabilities[0];
        Capability lent = root.Forge(CapabilityName.Create("owner-01"u8), Rights.All);
        Credential borrower = Credential.Of(lent);
        Assert.Equal(XnStatus.Ok, WriteAs(theirs, borrower));
        lent.Revoke(Credential.Of(root));
        Assert.Equal(XnStatus.AccessDenied, WriteAs(theirs, borrower));
    }

    [Fact]
    public void A_parent_that_does_not_own_a_block_does_not_bring_it_in()
    {
        StampedTree.Item data = _disk.AddData(_disk.A, 5);
        Tree.Sync();
        Assert.Equal(XnStatus.Ok, _disk.Disk.Unbind(Tree.Key, data.Block));
        FrameNumber[] frames = [_disk.Frame()];
        XnReadRequest forged = new(_disk.B.Block, 5, data.Extent);
        Assert.Equal(XnStatus.NotOwned, Assert.Throws<XnException>(() => _disk.Disk.Read(Tree.Key, [forged], frames, out _)).Status);
    }

    [Fact]
    public void Code_that_may_not_end_is_not_installed()
    {
        TemplateSource endless = new()
        {
            Name = "endless",
            ReadSetBytes = 16,
            Partitions = [new PartitionGroup(0, 16, 1)],
            Owns = Assembler.Assemble("""
                again:
                    ldxdw r2, [r1+0]
                    jeq r2, 0, again
                    mov r0, 0
                    exit
                """),
        };
        XnException refused = Assert.Throws<XnException>(() => _disk.Disk.InstallTemplates(Tree.Key, [endless]));
        Assert.Equal(XnStatus.WrongTemplate, refused.Status);
    }

    [Fact]
    public void Code_that_leaves_its_read_set_is_not_installed()
    {
        TemplateSource greedy = new()
        {
            Name = "greedy",
            ReadSetBytes = 16,
            Partitions = [new PartitionGroup(0, 16, 1)],
            Owns = Assembler.Assemble("ldxdw r0, [r1+16]\nexit"),
        };
        Assert.Equal(XnStatus.WrongTemplate, Assert.Throws<XnException>(() => _disk.Disk.InstallTemplates(Tree.Key, [greedy])).Status);
    }

    [Fact]
    public void Partitions_may_not_share_bytes()
    {
        TemplateSource overlapping = new()
        {
            Name = "overlapping",
            ReadSetBytes = 16,
            Partitions = [new PartitionGroup(0, 8, 4)],
            Owns = Assembler.Assemble("mov r0, 0\nexit"),
        };
        Assert.Equal(XnStatus.WrongTemplate, Assert.Throws<XnException>(() => _disk.Disk.InstallTemplates(Tree.Key, [overlapping])).Status);
    }

    private static XnStatus WriteAs(StampedDisk disk, Credential credential)
    {
        XnTransaction write = new();
        write.Write(disk.A.Block, 256, [1, 2, 3]);
        return disk.Disk.Apply(credential, write);
    }

    private void Write(StampedTree.Item node, int entry, byte[] bytes) => _transaction.Write(node.Block, StampedFormat.OffsetOf(entry), bytes);

    private void Allocate(StampedTree.Item node, int entry, BlockExtent extent)
    {
        Write(node, entry, StampedFormat.Entry(extent, StampedFormat.Data, 99));
        _transaction.ClaimAllocate(extent, Tree.DataTemplate, node.Block, entry);
    }

    private void Refused(params XnStatus[] expected)
    {
        byte[] before = State();
        XnStatus status = _disk.Disk.Apply(Tree.Key, _transaction);
        Assert.Contains(status, expected);
        Assert.NotEmpty(_transaction.LastRefusal);
        Assert.Equal(before, State());
    }

    /// <summary>Everything that a refusal must leave alone.</summary>
    private byte[] State()
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (RegistryEntryInfo entry in _disk.Disk.SnapshotRegistry().OrderBy(entry => entry.Block.Value))
        {
            hash.AppendData(System.Text.Encoding.UTF8.GetBytes(entry.ToString()));
            if (_disk.Disk.TryGetFrame(Tree.Key, entry.Block, out FrameNumber frame))
            {
                hash.AppendData(_disk.Frames.Bytes(frame));
                _disk.Frames.Release(frame);
            }
        }

        hash.AppendData(System.Runtime.InteropServices.MemoryMarshal.AsBytes(_disk.Disk.FreeMap));
        return hash.GetHashAndReset();
    }
}
