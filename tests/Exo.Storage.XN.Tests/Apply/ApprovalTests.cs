// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.IO.Hashing;
using Exo.Core.Blocks;
using Exo.Core.DownloadedCode;
using Exo.Storage.XN.Tests.Holes;

namespace Exo.Storage.XN.Tests.Apply;

/// <summary>What an <c>approve</c> function sees, when it runs, and that what it refuses does not happen.</summary>
public sealed class ApprovalTests
{
    private static TemplateSource Judging(string approve, int unitBytes = 512, string name = "root", string child = "data", bool isGuard = true) => new()
    {
        Name = name,
        ReadSetBytes = 16,
        Partitions = [new PartitionGroup(0, 16, 4)],
        Owns = Assembler.Assemble(OneBlock.PlainOwns),
        Acl = isGuard ? Assembler.Assemble(OneBlock.OpenAcl) : null,
        Approve = Assembler.Assemble(approve),
        ApproveUnitBytes = unitBytes,
        Children = [child],
    };

    /// <summary>The first byte of a unit only grows, and no other unit begins with the same.</summary>
    private const string Growing = """
            mov r6, r1
            mov r7, r3
            mov r2, r3
            add r2, r4
            ldxb r1, [r6+100]
            ldxb r3, [r2+100]
            jlt r1, r3, no
            mov r8, 0
        other:
            jeq r8, r4, next
            ldxb r2, [r7+100]
            jeq r2, 0, next
            jeq r1, r2, no
        next:
            add r7, 512
            add r8, 512
            jlt r8, 4096, other
            mov r0, 1
            exit
        no:
            mov r0, 0
            exit
        """;

    [Fact]
    public void It_sees_the_unit_as_it_would_be_and_the_block_around_it()
    {
        using OneBlock volume = new(Judging(Growing), OneBlock.Data());
        Assert.Equal(XnStatus.Ok, volume.Begin().Write(100, 5).Apply());
        Assert.Equal(XnStatus.Ok, volume.Begin().Write(100, 6).Apply());
        Assert.Equal(XnStatus.Disapproved, volume.Begin().Write(100, 4).Apply());
        Assert.Contains("bytes 0 to 511", volume.Transaction.LastRefusal, StringComparison.Ordinal);
        Assert.Equal(6, volume.Bytes(volume.Root)[100]);
        Assert.Equal(XnStatus.Disapproved, volume.Begin().Write(1536 + 100, 6).Apply());
        Assert.Equal(XnStatus.Ok, volume.Begin().Write(1536 + 100, 7).Apply());

        // Of two units that change each is judged with the other as it would be.
        Assert.Equal(XnStatus.Disapproved, volume.Begin().Write(2048 + 100, 9).Write(2560 + 100, 9).Apply());
        Assert.Equal(XnStatus.Ok, volume.Begin().Write(100, 7).Write(1536 + 100, 8).Apply());
        Assert.Equal(XnStatus.Disapproved, volume.Begin().Write(100, 8).Apply());

        // One write over two units, and several in one: the last counts.
        Assert.Equal(XnStatus.Disapproved, volume.Begin().Write(0, volume.Bytes(volume.Root)[..700].ToArray()).Write(612, 7).Apply());
        Assert.Equal(XnStatus.Ok, volume.Begin().Write(100, 1).Write(100, 20).Apply());
    }

    [Fact]
    public void Whole_units_are_judged_as_pieces_are()
    {
        using OneBlock volume = new(Judging(Growing), OneBlock.Data());
        byte[] unit = new byte[512];
        unit[100] = 5;
        Assert.Equal(XnStatus.Ok, volume.Begin().Write(512, unit).Apply());
        Assert.Equal(XnStatus.Disapproved, volume.Begin().Write(1024, unit).Apply());
        unit[100] = 4;
        Assert.Equal(XnStatus.Disapproved, volume.Begin().Write(512, unit).Apply());
        Assert.Equal(XnStatus.Ok, volume.Begin().Write(1024, unit).Apply());
    }

    [Theory]
    [InlineData(512)]
    [InlineData(1024)]
    [InlineData(2048)]
    [InlineData(4096)]
    public void It_is_told_which_64ths_change(int unitBytes)
    {
        // Only the second 64th and the last may change.
        using OneBlock volume = new(Judging("lddw r1, 0x7ffffffffffffffd\nand r5, r1\nmov r0, 0\njne r5, 0, exit\nmov r0, 1\nexit", unitBytes), OneBlock.Data());
        int grain = unitBytes / 64;
        int last = 4096 - unitBytes;
        Assert.Equal(XnStatus.Ok, volume.Begin().Write(last + grain, 1).Apply());
        Assert.Equal(XnStatus.Ok, volume.Begin().Write(last + (2 * grain) - 1, 1).Apply());
        Assert.Equal(XnStatus.Ok, volume.Begin().Write(4095, 1).Apply());
        Assert.Equal(XnStatus.Disapproved, volume.Begin().Write(last + grain - 1, 1).Apply());
        Assert.Equal(XnStatus.Disapproved, volume.Begin().Write(last + (2 * grain), 1).Apply());
        Assert.Equal(XnStatus.Disapproved, volume.Begin().Write(4095 - grain, 1).Apply());
    }

    [Fact]
    public void What_does_not_change_is_not_judged_and_the_claims_are_judged_first()
    {
        using OneBlock volume = new(Judging("mov r0, 0\nexit"), OneBlock.Data());
        Assert.Equal(XnStatus.Ok, volume.Begin().Write(100, new byte[2000]).Apply());
        Assert.Equal(XnStatus.Disapproved, volume.Begin().Write(100, 1).Apply());
        Assert.Equal(XnStatus.TypeError, volume.Begin().Write(0, OneBlock.Pointer(300, 1)).Apply());
        Assert.Equal(XnStatus.Disapproved, volume.Allocate(0, 300, 1));
        Assert.True(volume.IsFree(300));
    }

    [Fact]
    public void A_fresh_block_is_judged_as_zeros_that_change_and_its_guard_is_its_parents()
    {
        // The first byte must be the guard's byte 200.
        using OneBlock volume = new(
            OneBlock.Plain("root", "inner"), Judging("ldxb r6, [r1+0x40]\nmov r1, 200\ncall 1\nand r0, 255\nmov r1, r0\nmov r0, 0\njne r1, r6, exit\nmov r0, 1\nexit", name: "inner", isGuard: false), OneBlock.Data());
        Assert.Equal(XnStatus.Ok, volume.Begin().Write(200, 7).Apply());
        Assert.Equal(XnStatus.Disapproved, Add(8));
        Assert.Equal(XnStatus.Ok, Add(7));
        Assert.Equal(XnStatus.Disapproved, volume.Begin().Write(new BlockNumber(300), 0x40, 9).Apply());
        Assert.Equal(7, volume.Bytes(new BlockNumber(300))[0x40]);

        XnStatus Add(byte first)
        {
            volume.Begin().Write(0, OneBlock.Pointer(300, 1)).Write(new BlockNumber(300), 0x40, first);
            volume.Transaction.ClaimAllocate(new BlockExtent(new(300), 1), volume.Ids[1], volume.Root, 0, [volume.Frame()]);
            return volume.Apply();
        }
    }

    /// <summary>Helpers, by a program that answers what one of them says about the block as it would be.</summary>
    [Theory]
    [InlineData("mov r1, 100\nmov r2, 3\ncall 2\nmov r1, 3\nmov r2, 9\ncall 3\nexit", true)]
    [InlineData("mov r1, 100\nmov r2, 3\ncall 2\nmov r1, 0\nmov r2, 9\ncall 3\nexit", false)]
    [InlineData("mov r1, 100\nmov r2, 3\ncall 2\nmov r1, 259\nmov r2, 258\ncall 3\nexit", false)]
    [InlineData("mov r1, 100\nmov r2, 3\ncall 2\nmov r1, 9\nmov r2, 2\ncall 3\nexit", true)]
    [InlineData("mov r1, 100\nmov r2, 600\nmov r3, 3\ncall 5\nexit", true)]
    [InlineData("mov r1, 100\nmov r2, 601\nmov r3, 2\ncall 5\nexit", false)]
    [InlineData("mov r1, 4000\nmov r2, 97\nmov r3, 97\ncall 5\nmov r0, 1\nexit", false)]
    [InlineData("mov r1, 500\nmov r2, 13\ncall 2\nmov r0, 1\nexit", false)]
    [InlineData("mov r1, 511\nmov r2, 1\ncall 2\nmov r1, 512\nmov r2, 511\ncall 2\nmov r0, 1\nexit", true)]
    [InlineData("mov r1, 511\nmov r2, 1\ncall 2\nmov r1, 512\nmov r2, 512\ncall 2\nmov r0, 1\nexit", false)]
    [InlineData("mov r1, 4088\ncall 1\nmov r0, 1\nexit", true)]
    [InlineData("mov r1, 4089\ncall 1\nmov r0, 1\nexit", false)]
    [InlineData("mov r1, -1\nmov r2, 2\ncall 2\nmov r0, 1\nexit", false)]
    [InlineData("mov r1, 2\nmov r2, -1\ncall 2\nmov r0, 1\nexit", false)]
    public void Helpers_answer_about_the_block_as_it_would_be(string approve, bool approves)
    {
        using OneBlock volume = new(OneBlock.Plain("root", "inner"), Judging(approve, name: "inner", isGuard: false), OneBlock.Data());
        volume.Begin().Write(0, OneBlock.Pointer(300, 1));
        volume.Transaction.ClaimAllocate(new BlockExtent(new(300), 1), volume.Ids[1], volume.Root, 0, [volume.Frame()]);
        Assert.Equal(XnStatus.Ok, volume.Apply());

        volume.Begin().Write(new BlockNumber(300), 100, 1, 2, 3).Write(new BlockNumber(300), 600, 1, 2, 3);
        Assert.Equal(approves ? XnStatus.Ok : XnStatus.Disapproved, volume.Apply());
    }

    [Fact]
    public void The_text_is_hashed_piece_by_piece_and_is_empty_then()
    {
        byte[] bytes = [.. Enumerable.Range(1, 60).Select(i => (byte)i)];
        ulong hash = XxHash3.HashToUInt64(bytes, 77);
        using OneBlock volume = new(
            Judging($"mov r1, 100\nmov r2, 28\ncall 2\nmov r1, 200\nmov r2, 32\ncall 2\nmov r1, 77\ncall 4\nlddw r1, 0x{hash:x}\nmov r6, r0\nmov r0, 0\njne r6, r1, exit\nmov r1, 1\nmov r2, 2\ncall 3\nxor r0, 1\nexit"), OneBlock.Data());
        Assert.Equal(XnStatus.Ok, volume.Begin().Write(100, bytes[..28]).Write(200, bytes[28..]).Apply());
        Assert.Equal(XnStatus.Disapproved, volume.Begin().Write(110, 0).Apply());
    }

    [Fact]
    public void Templates_with_it_are_stored_and_those_without_have_the_bytes_that_they_had()
    {
        TemplateSource judging = Judging(Growing, 2048);
        byte[] block = new byte[4096];
        Assert.True(TemplateRecord.TryEmit(block, new TemplateId(3), judging, [new TemplateId(4)]));
        Assert.True(TemplateRecord.TryParse(block, out _, out TemplateSource? read, out _));
        Assert.Equal(2048, read.ApproveUnitBytes);
        Assert.Equal(judging.Approve!.Instructions.ToArray(), read.Approve!.Instructions.ToArray());
        Assert.Equal(TemplateFlags.None, read.Flags);

        Assert.True(TemplateRecord.TryEmit(block, new TemplateId(3), OneBlock.Plain("root", "data"), [new TemplateId(4)]));
        Assert.Equal(0u, BinaryPrimitives.ReadUInt32LittleEndian(block.AsSpan(TemplateBlock.FlagsOffset)));
        Assert.Equal([0, 0, 16, 0, 4, 0], block[128..134]);
        Assert.True(TemplateRecord.TryParse(block, out _, out read, out _));
        Assert.Null(read.Approve);

        // The flag without a program is no template.
        block[TemplateBlock.FlagsOffset] = 4;
        block[130] = block[131] = 0;
        Assert.False(TemplateRecord.TryParse(block, out _, out _, out _));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(256)]
    [InlineData(1536)]
    [InlineData(8192)]
    public void Units_are_whole_sectors_that_a_block_is_a_multiple_of(int unitBytes)
    {
        XnException refused = Assert.Throws<XnException>(() => new OneBlock(Judging("mov r0, 1\nexit", unitBytes), OneBlock.Data()));
        Assert.Equal(XnStatus.WrongTemplate, refused.Status);
    }

    [Fact]
    public void It_is_for_metadata_and_is_verified()
    {
        TemplateSource data = new() { Name = "data", Approve = Assembler.Assemble("mov r0, 1\nexit"), ApproveUnitBytes = 512 };
        Assert.Equal(XnStatus.WrongTemplate, Assert.Throws<XnException>(() => new OneBlock(OneBlock.Plain("root", "data"), data)).Status);
        foreach (string bad in (string[])["ldxb r0, [r1+512]\nexit", "ldxb r0, [r3+4096]\nexit", "add r1, r4\nldxb r0, [r1+0]\nexit", "stxb [r1+0], r2\nmov r0, 1\nexit", "mov r0, r1\nexit", "call 6\nexit"])
        {
            Assert.Equal(XnStatus.WrongTemplate, Assert.Throws<XnException>(() => new OneBlock(Judging(bad), OneBlock.Data())).Status);
        }
    }
}
