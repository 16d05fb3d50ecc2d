// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Storage.XN.Tests.Stamped;

/// <summary>A library OS over <see cref="StampedFormat"/>, with its own picture of the tree: what XN says is compared with it. All nodes stay in core.</summary>
internal sealed class StampedTree
{
    public const string RootName = "stamped";

    private readonly XnTransaction _transaction = new();
    private ulong _serial = 1;

    private StampedTree(XnVolume disk, Credential key, TemplateId[] templates, BlockNumber root, ulong serial = 1)
    {
        _serial = serial;
        Disk = disk;
        Key = key;
        RootTemplate = templates[0];
        NodeTemplate = templates[1];
        DataTemplate = templates[2];
        Root = new Item { Extent = new BlockExtent(root, 1), Kind = StampedFormat.Node, Serial = serial };
    }

    /// <summary>An extent of data, or a node with what hangs below it by entry.</summary>
    public sealed class Item
    {
        public required BlockExtent Extent { get; init; }

        public required uint Kind { get; init; }

        public required ulong Serial { get; init; }

        public Item? Parent { get; set; }

        public int Entry { get; set; }

        public SortedDictionary<int, Item> Kids { get; } = [];

        public BlockNumber Block => Extent.First;

        public bool IsNode => Kind == StampedFormat.Node;
    }

    public XnVolume Disk { get; }

    public Credential Key { get; }

    public TemplateId RootTemplate { get; }

    public TemplateId NodeTemplate { get; }

    public TemplateId DataTemplate { get; }

    public Item Root { get; }

    public XnTransaction Transaction => _transaction;

    /// <summary>Whether <see cref="Sync"/> tries the commit log first.</summary>
    public bool UsesLog { get; set; }

    public static StampedTree Format(BlockDevice device, string owner = "", int logBlocks = 0)
    {
        XnVolume disk = XnVolume.Format(device, new XnFormatOptions { VolumeId = Guid.Empty, LogBlocks = logBlocks }, new XnAttachOptions { ReserveFrames = 8 });
        Credential key = disk.Frames.RootCredential;
        return Create(disk, key, key, RootName, owner, 1);
    }

    /// <summary>A tree of its own on a volume; <paramref name="admin"/> owns the volume, <paramref name="key"/> the tree. Serial numbers count from a place of its own.</summary>
    public static StampedTree Create(XnVolume disk, Credential admin, Credential key, string name, string owner, ulong serial)
    {
        TemplateId[] templates = disk.InstallTemplates(admin, StampedFormat.Templates);
        byte[] header = new byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(header, serial);
        System.Text.Encoding.ASCII.GetBytes(owner, header.AsSpan(StampedFormat.OwnerOffset));
        StampedTree tree = new(disk, key, templates, disk.CreateRoot(admin, templates[0], default, header), serial);
        tree.Sync();
        disk.PublishRoot(admin, name, tree.Root.Block);
        return tree;
    }

    public ulong NextSerial() => ++_serial;

    /// <summary>How often data has got new contents, by serial number.</summary>
    public Dictionary<ulong, ulong> Rewritten { get; } = [];

    public IEnumerable<Item> All(Item? from = null)
    {
        from ??= Root;
        yield return from;
        foreach (Item kid in from.Kids.Values)
        {
            foreach (Item below in All(kid))
            {
                yield return below;
            }
        }
    }

    /// <summary>Hangs new data below a node, its frames stamped.</summary>
    public XnStatus AddData(Item parent, int entry, BlockExtent extent, out Item? item)
    {
        ulong serial = NextSerial();
        FrameNumber[] frames = new FrameNumber[extent.Count];
        for (int i = 0; i < frames.Length; i++)
        {
            Assert.True(Disk.Frames.TryAllocate(Key, out frames[i]));
            Span<byte> bytes = Disk.Frames.Bytes(frames[i]);
            bytes.Clear();
            BinaryPrimitives.WriteUInt64LittleEndian(bytes, serial);
            BinaryPrimitives.WriteUInt64LittleEndian(bytes[8..], (ulong)i);
        }

        _transaction.Clear();
        _transaction.Write(parent.Block, StampedFormat.OffsetOf(entry), StampedFormat.Entry(extent, StampedFormat.Data, serial));
        _transaction.ClaimAllocate(extent, DataTemplate, parent.Block, entry, frames);
        return Finish(new Item { Extent = extent, Kind = StampedFormat.Data, Serial = serial, Parent = parent, Entry = entry }, frames, out item);
    }

    /// <summary>Hangs a new, empty node below a node.</summary>
    public XnStatus AddNode(Item parent, int entry, BlockNumber block, out Item? item)
    {
        ulong serial = NextSerial();
        BlockExtent extent = new(block, 1);
        Assert.True(Disk.Frames.TryAllocate(Key, out FrameNumber frame));
        FrameNumber[] frames = [frame];
        Span<byte> stamp = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(stamp, serial);
        _transaction.Clear();
        _transaction.Write(parent.Block, StampedFormat.OffsetOf(entry), StampedFormat.Entry(extent, StampedFormat.Node, serial));
        _transaction.Write(block, 0, stamp);
        _transaction.ClaimAllocate(extent, NodeTemplate, parent.Block, entry, frames);
        return Finish(new Item { Extent = extent, Kind = StampedFormat.Node, Serial = serial, Parent = parent, Entry = entry }, frames, out item);
    }

    /// <summary>Cuts an item off, with all that hangs below it.</summary>
    public XnStatus Remove(Item item)
    {
        Item parent = item.Parent!;
        _transaction.Clear();
        _transaction.Write(parent.Block, StampedFormat.OffsetOf(item.Entry), new byte[StampedFormat.EntryBytes]);
        _transaction.ClaimFreeTree(item.Extent, TemplateOf(item), parent.Block, item.Entry);
        XnStatus status = Disk.Apply(Key, _transaction);
        if (status == XnStatus.Ok)
        {
            parent.Kids.Remove(item.Entry);
        }

        return status;
    }

    public XnStatus Move(Item item, Item to, int entry)
    {
        Item from = item.Parent!;
        _transaction.Clear();
        _transaction.Write(to.Block, StampedFormat.OffsetOf(entry), StampedFormat.Entry(item.Extent, item.Kind, item.Serial));
        _transaction.Write(from.Block, StampedFormat.OffsetOf(item.Entry), new byte[StampedFormat.EntryBytes]);
        _transaction.ClaimMove(item.Extent, TemplateOf(item), from.Block, item.Entry, to.Block, entry);
        XnStatus status = Disk.Apply(Key, _transaction);
        if (status == XnStatus.Ok)
        {
            from.Kids.Remove(item.Entry);
            item.Parent = to;
            item.Entry = entry;
            to.Kids.Add(entry, item);
        }

        return status;
    }

    /// <summary>Makes another entry point to the blocks of an item too.</summary>
    public XnStatus Share(Item item, Item to, int entry, out Item? second)
    {
        _transaction.Clear();
        _transaction.Write(to.Block, StampedFormat.OffsetOf(entry), StampedFormat.Entry(item.Extent, item.Kind, item.Serial));
        _transaction.ClaimShare(item.Extent, TemplateOf(item), item.Parent!.Block, item.Entry, to.Block, entry);
        return Finish(new Item { Extent = item.Extent, Kind = item.Kind, Serial = item.Serial, Parent = to, Entry = entry }, [], out second);
    }

    /// <summary>Makes everything durable.</summary>
    public void Sync()
    {
        BlockNumber[] plan = new BlockNumber[4096];
        while (Disk.DirtyBlocks > 0 || Disk.UnflushedBlocks > 0)
        {
            if (UsesLog && Disk.TryCommit(Key))
            {
                continue;
            }

            int count = Disk.PlanWriteBack(plan);
            Assert.True(count > 0 || Disk.UnflushedBlocks > 0, "XN lets nothing be written and nothing waits for a flush");
            XnStatus status = Disk.WriteBack(Key, plan.AsSpan(0, count));
            Assert.True(status == XnStatus.Ok || (UsesLog && status is XnStatus.Tainted or XnStatus.NotRegistered), status.ToString());
            Disk.Flush();
        }
    }

    /// <summary>A run of free blocks, the first one at or after a place.</summary>
    public BlockExtent? FindFree(ulong from, uint count)
    {
        ulong span = Disk.BlockCount - Disk.DataStart.Value;
        for (ulong i = 0; i < span; i++)
        {
            ulong first = Disk.DataStart.Value + ((from + i) % span);
            uint run = 0;
            while (run < count && first + run < Disk.BlockCount && IsFree(first + run))
            {
                run++;
            }

            if (run == count)
            {
                return new BlockExtent(new BlockNumber(first), count);
            }
        }

        return null;
    }

    public bool IsFree(ulong block) => (Disk.FreeMap[(int)(block / 64)] >> (int)(block % 64) & 1) != 0;

    public TemplateId TemplateOf(Item item) => item.IsNode ? NodeTemplate : DataTemplate;

    private XnStatus Finish(Item made, FrameNumber[] frames, out Item? item)
    {
        XnStatus status = Disk.Apply(Key, _transaction);
        item = null;
        if (status == XnStatus.Ok)
        {
            made.Parent!.Kids.Add(made.Entry, made);
            item = made;
        }
        else
        {
            foreach (FrameNumber frame in frames)
            {
                Disk.Frames.Release(frame);
            }
        }

        return status;
    }
}
