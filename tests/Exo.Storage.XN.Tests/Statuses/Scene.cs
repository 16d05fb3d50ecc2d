// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.DownloadedCode;
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Storage.XN.Tests.Holes;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Statuses;

/// <summary>
/// What the provocations need: a stamped tree with durable data of three blocks below A; a volume whose inner nodes follow a guard that is not the root; a stranger; ways to be read-only,
/// full and busy.
/// </summary>
internal sealed class Scene : IDisposable
{
    private readonly Stack<IDisposable> _toDispose = new();
    private readonly StampedDisk _stamped = new("owner-01");

    public Scene()
    {
        _toDispose.Push(_stamped);
        Data = _stamped.AddData(_stamped.A, 5, 3);
        Tree.Sync();
        Capability root = Frames.RootCredential.Capabilities[0];
        Stranger = Credential.Of(root.Forge(CapabilityName.Create("somebody"u8), Rights.All));
    }

    public StampedTree Tree => _stamped.Tree;

    public StampedDisk Stamped => _stamped;

    public XnVolume Disk => _stamped.Disk;

    public FramePool Frames => _stamped.Frames;

    public Credential Key => Tree.Key;

    public Credential Stranger { get; }

    public StampedTree.Item A => _stamped.A;

    public StampedTree.Item B => _stamped.B;

    public StampedTree.Item Data { get; }

    public XnReadRequest DataRequest => new(A.Block, Data.Entry, Data.Extent);

    /// <summary>A block that nobody knows.</summary>
    public static BlockNumber Nowhere => new(500);

    public XnTransaction Transaction
    {
        get
        {
            Tree.Transaction.Clear();
            return Tree.Transaction;
        }
    }

    public FrameNumber Frame() => _stamped.Frame();

    public FrameNumber[] FrameArray(int count) => [.. Enumerable.Range(0, count).Select(_ => Frame())];

    public XnTransaction Writing(BlockNumber block)
    {
        XnTransaction transaction = Transaction;
        transaction.Write(block, 256, [1, 2, 3]);
        return transaction;
    }

    public XnTransaction Allocating(BlockExtent extent, int frames = 0)
    {
        XnTransaction transaction = Transaction;
        transaction.Write(A.Block, StampedFormat.OffsetOf(9), StampedFormat.Entry(extent, StampedFormat.Data, 99));
        transaction.ClaimAllocate(extent, Tree.DataTemplate, A.Block, 9, FrameArray(frames));
        return transaction;
    }

    public void EvictData()
    {
        for (uint i = 0; i < Data.Extent.Count; i++)
        {
            Assert.Equal(XnStatus.Ok, Disk.Unbind(Key, Data.Block + i));
        }
    }

    /// <summary>Data that is in the registry without its contents.</summary>
    public void OnlyEnterData()
    {
        EvictData();
        Assert.Equal(XnStatus.Ok, Disk.Insert(Key, DataRequest));
    }

    public void ShareData()
    {
        Assert.Equal(XnStatus.Ok, Tree.Share(Data, B, 50, out _));
    }

    /// <summary>The same volume, attached read-only.</summary>
    public XnVolume ReadOnly()
    {
        Tree.Sync();
        Assert.Equal(XnStatus.Ok, Disk.Unmount());
        Disk.Dispose();
        XnVolume volume = XnVolume.Attach(_stamped.Device, new XnAttachOptions { ReadOnly = true });
        _toDispose.Push(volume);
        _ = volume.OpenRoot(Key, StampedTree.RootName);
        return volume;
    }

    /// <summary>The same volume on a disk with a gate, everything that A points to not in core.</summary>
    public (XnVolume Volume, GateBlockDevice Gate) Gated()
    {
        Tree.Sync();
        Disk.Dispose();
        GateBlockDevice gate = new(_stamped.Device);
        _toDispose.Push(gate);
        XnVolume volume = XnVolume.Attach(gate);
        _toDispose.Push(volume);
        _ = volume.OpenRoot(Key, StampedTree.RootName);
        volume.Read(Key, [new XnReadRequest(Tree.Root.Block, A.Entry, A.Extent)], FrameArray(1), out _);
        return (volume, gate);
    }

    /// <summary>Takes every free frame.</summary>
    public void ExhaustFrames()
    {
        while (Frames.TryAllocate(Frames.RootCredential, out _))
        {
        }
    }

    /// <summary>Root (open) → guard (an acl of its own) → inner → data, blocks 300, 301, 302, all durable, the inner block and the data in core, the guard not.</summary>
    public OneBlock WithoutGuard(bool withData = true)
    {
        TemplateSource guard = OneBlock.Plain("guard", "inner");
        TemplateSource inner = new()
        {
            Name = "inner", ReadSetBytes = 16, Partitions = [new PartitionGroup(0, 16, 4)], Owns = Assembler.Assemble(OneBlock.PlainOwns), Children = ["data"],
        };
        OneBlock volume = new(OneBlock.Plain("root", "guard"), guard, inner, OneBlock.Data());
        _toDispose.Push(volume);
        Add(volume.Root, 300, volume.Ids[1]);
        Add(new(300), 301, volume.Ids[2]);
        if (withData)
        {
            Add(new(301), 302, volume.Ids[3]);
        }

        volume.Sync();
        if (!withData)
        {
            volume.Begin().Write(new(301), 0, OneBlock.Pointer(302, 1));
            volume.Transaction.ClaimAllocate(new BlockExtent(new(302), 1), volume.Ids[3], new(301), 0);
            Assert.Equal(XnStatus.Ok, volume.Apply());
        }

        Assert.Equal(XnStatus.Ok, volume.Disk.Unbind(volume.Key, new(300)));
        return volume;

        void Add(BlockNumber parent, ulong block, TemplateId template)
        {
            volume.Begin().Write(parent, 0, OneBlock.Pointer(block, 1));
            volume.Transaction.ClaimAllocate(new BlockExtent(new(block), 1), template, parent, 0, [volume.Frame()]);
            Assert.Equal(XnStatus.Ok, volume.Apply());
        }
    }

    /// <summary>A volume whose root's template approves of nothing.</summary>
    public OneBlock Judged()
    {
        OneBlock volume = new(
            new TemplateSource
            {
                Name = "root", ReadSetBytes = 16, Partitions = [new PartitionGroup(0, 16, 4)], Owns = Assembler.Assemble(OneBlock.PlainOwns), Acl = Assembler.Assemble(OneBlock.OpenAcl),
                Approve = Assembler.Assemble("mov r0, 0\nexit"), ApproveUnitBytes = 512, Children = ["data"],
            },
            OneBlock.Data());
        _toDispose.Push(volume);
        return volume;
    }

    /// <summary>A volume whose root, on the disk, has been damaged: its pointer leads beyond the disk.</summary>
    public (XnVolume Volume, BlockNumber Root, Credential Key, FramePool Frames) Damaged()
    {
        OneBlock volume = new(OneBlock.Plain("root", "data"), OneBlock.Data());
        _toDispose.Push(volume);
        Assert.Equal(XnStatus.Ok, volume.Disk.Unmount());
        volume.Disk.Dispose();
        FrameNumber[] frame = [volume.Frame()];
        OneBlock.Pointer(600, 1).CopyTo(volume.Frames.Bytes(frame[0]));
        BlockRequest[] write = [BlockRequest.Write(volume.Root, frame)];
        volume.Device.Execute(write);
        XnVolume again = XnVolume.Attach(volume.Device);
        _toDispose.Push(again);
        _ = again.OpenRoot(volume.Key, "root");
        return (again, volume.Root, volume.Key, volume.Frames);
    }

    public void Dispose()
    {
        while (_toDispose.TryPop(out IDisposable? item))
        {
            item.Dispose();
        }
    }
}
