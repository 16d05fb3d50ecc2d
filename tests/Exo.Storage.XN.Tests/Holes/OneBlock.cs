// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.DownloadedCode;
using Exo.Core.Memory;
using Exo.Simulation.Disks;

namespace Exo.Storage.XN.Tests.Holes;

/// <summary>A volume whose only root is one block of a template under test.</summary>
internal sealed class OneBlock : IDisposable
{
    /// <summary>Grants everything to everybody.</summary>
    public const string OpenAcl = "mov r0, 1\nexit";

    /// <summary>Child 0 in the 16 bytes of a partition: start u64, count u64.</summary>
    public const string PlainOwns = """
            ldxdw r2, [r1+8]
            ldxdw r1, [r1+0]
            mov r3, 0
            call 1
            mov r0, 0
            exit
        """;

    public OneBlock(TemplateSource root, params TemplateSource[] others)
    {
        Frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 2 << 20 });
        Device = new SimulatedBlockDevice(Frames, DiskContents.Zeroes(512));
        Disk = XnVolume.Format(Device, new XnFormatOptions { VolumeId = Guid.Empty }, new XnAttachOptions { ReserveFrames = 8 });
        Key = Frames.RootCredential;
        Ids = Disk.InstallTemplates(Key, [root, .. others]);
        Root = Disk.CreateRoot(Key, Ids[0], default, default);
        Sync();
        Disk.PublishRoot(Key, "root", Root);
    }

    public FramePool Frames { get; }

    public SimulatedBlockDevice Device { get; }

    public XnVolume Disk { get; }

    public Credential Key { get; }

    public TemplateId[] Ids { get; }

    public BlockNumber Root { get; }

    public XnTransaction Transaction { get; } = new();

    /// <summary>A template of partitions of 16 bytes from the block's start.</summary>
    public static TemplateSource Plain(string name, string child, int partitions = 4, int strideBytes = 16, string owns = PlainOwns) => new()
    {
        Name = name,
        ReadSetBytes = 16,
        Partitions = [new PartitionGroup(0, strideBytes, partitions)],
        Owns = Assembler.Assemble(owns),
        Acl = Assembler.Assemble(OpenAcl),
        Children = [child],
    };

    public static TemplateSource Data(string name = "data", TemplateFlags flags = TemplateFlags.None) => new() { Name = name, Flags = flags };

    public static byte[] Pointer(ulong first, ulong count)
    {
        byte[] bytes = new byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, first);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(8), count);
        return bytes;
    }

    public OneBlock Begin()
    {
        Transaction.Clear();
        return this;
    }

    public OneBlock Write(int offsetBytes, params byte[] bytes) => Write(Root, offsetBytes, bytes);

    public OneBlock Write(BlockNumber block, int offsetBytes, params byte[] bytes)
    {
        Transaction.Write(block, offsetBytes, bytes);
        return this;
    }

    public XnStatus Apply() => Disk.Apply(Key, Transaction);

    /// <summary>Points a partition of the root to free blocks of child 0.</summary>
    public XnStatus Allocate(int partition, ulong first, uint count, int strideBytes = 16, TemplateId? template = null)
    {
        Begin().Write(partition * strideBytes, Pointer(first, count));
        Transaction.ClaimAllocate(new BlockExtent(new BlockNumber(first), count), template ?? Ids[1], Root, partition);
        return Apply();
    }

    public ReadOnlySpan<byte> Bytes(BlockNumber block)
    {
        Assert.True(Disk.TryGetFrame(Key, block, out FrameNumber frame));
        Frames.Release(frame);
        return Frames.Bytes(frame);
    }

    public FrameNumber Frame()
    {
        Assert.True(Frames.TryAllocate(Key, out FrameNumber frame, zero: true));
        return frame;
    }

    public bool IsFree(ulong block) => (Disk.FreeMap[(int)(block / 64)] >> (int)(block % 64) & 1) != 0;

    public void Sync()
    {
        BlockNumber[] plan = new BlockNumber[512];
        while (Disk.DirtyBlocks > 0 || Disk.UnflushedBlocks > 0)
        {
            int count = Disk.PlanWriteBack(plan);
            Assert.True(count > 0 || Disk.UnflushedBlocks > 0);
            Assert.Equal(XnStatus.Ok, Disk.WriteBack(Key, plan.AsSpan(0, count)));
            Disk.Flush();
        }
    }

    public void Dispose()
    {
        Disk.Dispose();
        Device.Dispose();
        Frames.Dispose();
    }
}
