// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Hostile;

/// <summary>
/// A client that calls everything with arguments that are random or half right: its own blocks, the other's, free ones, XN's own; writes that do what the claims say, or nearly.
/// It may do what it likes to its own tree.
/// </summary>
internal sealed class RandomIntruder(TwoTenants tenants, Random random)
{
    private readonly XnTransaction _transaction = new();
    private readonly BlockNumber[] _plan = new BlockNumber[256];

    public string What { get; private set; } = "";

    /// <summary>Calls that XN carried out, and calls that it refused.</summary>
    public (int Done, int Refused) Counts { get; private set; }

    private XnVolume Disk => tenants.Disk;

    public void Step()
    {
        XnStatus status;
        try
        {
            status = random.Next(16) switch
            {
                < 7 => Transaction(),
                7 => Disk.MarkDirty(tenants.Thief, Block(), random.Next(1, 4)),
                8 => Give(frame => Disk.Rebind(tenants.Thief, Block(), frame)),
                9 => Give(frame => Disk.Bind(tenants.Thief, Block(), [frame], (BindMode)random.Next(2))),
                10 => Give(frame => Disk.BindOverwrite(tenants.Thief, Request(1), [frame])),
                11 => Disk.Insert(tenants.Thief, Request((uint)random.Next(1, 4))),
                12 => Disk.Unbind(tenants.Thief, Block()),
                13 => Disk.Order(tenants.Thief, Block(), Block()),
                14 => Read(),
                _ => random.Next(3) == 0 ? Commit() : WriteBack(),
            };
        }
        catch (XnException refused)
        {
            status = refused.Status;
        }

        What += $": {status} {(_transaction.LastRefusal.Length > 0 ? _transaction.LastRefusal : "")}";
        Counts = status == XnStatus.Ok ? (Counts.Done + 1, Counts.Refused) : (Counts.Done, Counts.Refused + 1);
    }

    private XnStatus Transaction()
    {
        _transaction.Clear();
        What = "transaction";
        List<FrameNumber> given = [];
        int parts = random.Next(1, 4);
        for (int i = 0; i < parts; i++)
        {
            Part(given);
        }

        if (random.Next(10) == 0)
        {
            _transaction.Order(Block(), Block());
            What += " order";
        }

        XnStatus status = Disk.Apply(tenants.Thief, _transaction);
        if (status != XnStatus.Ok)
        {
            given.ForEach(tenants.Frames.Release);
        }

        return status;
    }

    /// <summary>A write of one entry, and what it would mean, or something else.</summary>
    private void Part(List<FrameNumber> given)
    {
        BlockNumber node = Node();
        int entry = random.Next(20);
        (BlockExtent old, uint kind, ulong serial) = Entry(node, entry);
        BlockExtent extent = random.Next(3) == 0 ? new BlockExtent(Block(), (uint)random.Next(0, 4)) : FreeExtent();
        uint newKind = random.Next(8) == 0 ? (uint)random.Next(5) : (uint)random.Next(1, 3);
        What += $" [{node} entry {entry} {old} kind {kind}";
        switch (random.Next(7))
        {
            case 0 or 1:
                if (newKind == StampedFormat.Node && random.Next(4) > 0)
                {
                    extent = extent with { Count = 1 };
                }

                _transaction.Write(node, StampedFormat.OffsetOf(entry), StampedFormat.Entry(extent, newKind, 7));
                FrameNumber[] frames = random.Next(4) == 0 ? [] : tenants.FrameArray((int)extent.Count);
                given.AddRange(frames);
                _transaction.ClaimAllocate(extent, Template(newKind), node, entry, frames);
                if (kind != 0 && random.Next(4) > 0)
                {
                    _transaction.ClaimFreeTree(old, Template(kind), node, entry);
                }

                What += $" allocate {extent} kind {newKind}";
                break;
            case 2:
                _transaction.Write(node, StampedFormat.OffsetOf(entry), new byte[StampedFormat.EntryBytes]);
                if (random.Next(5) > 0)
                {
                    _transaction.ClaimFreeTree(old, Template(kind), node, entry);
                }
                else
                {
                    _transaction.ClaimFree(old, Template(kind), node, entry);
                }

                What += " free";
                break;
            case 3 or 4:
                BlockNumber to = Node();
                int target = random.Next(20);
                _transaction.Write(node, StampedFormat.OffsetOf(entry), new byte[StampedFormat.EntryBytes]);
                _transaction.Write(to, StampedFormat.OffsetOf(target), StampedFormat.Entry(old, kind, serial));
                _transaction.ClaimMove(old, Template(kind), node, entry, to, target);
                What += $" move to {to} entry {target}";
                break;
            case 5:
                BlockNumber second = Node();
                int slot = random.Next(20);
                _transaction.Write(second, StampedFormat.OffsetOf(slot), StampedFormat.Entry(old, kind, serial));
                _transaction.ClaimShare(old, Template(kind), node, entry, second, slot);
                What += $" share with {second} entry {slot}";
                break;
            default:
                byte[] bytes = new byte[random.Next(1, 600)];
                random.NextBytes(bytes);

                // Not the name in its root: it would lock itself out.
                int offset = random.Next(20) == 0 ? -1 : random.Next(16, 4200);
                _transaction.Write(random.Next(2) == 0 ? node : Block(), offset, bytes);
                What += $" {bytes.Length} bytes at {offset}";
                break;
        }

        What += "]";
    }

    private XnStatus Read()
    {
        XnReadRequest request = Request((uint)random.Next(1, 4));
        What = $"read {request}";
        FrameNumber[] frames = tenants.FrameArray((int)request.Extent.Count);
        int unused = frames.Length;
        try
        {
            Disk.Read(tenants.Thief, [request], frames, out unused);
            return XnStatus.Ok;
        }
        finally
        {
            foreach (FrameNumber frame in frames.AsSpan(0, unused))
            {
                tenants.Frames.Release(frame);
            }
        }
    }

    private XnStatus WriteBack()
    {
        What = "write back";
        int count = Disk.PlanWriteBack(_plan);
        XnStatus status = Disk.WriteBack(tenants.Thief, random.Next(2) == 0 ? [Block(), Block()] : _plan.AsSpan(0, random.Next(count + 1)));
        switch (random.Next(4))
        {
            case 0:
                Disk.Flush();
                break;
            case 1:
                _ = Disk.ReadAhead([new BlockExtent(Block(), (uint)random.Next(1, 8))]);
                Disk.DropReadAhead();
                break;
            default:
                break;
        }

        return status;
    }

    /// <summary>To the commit log, or home from it; on a volume without one there is nothing to do.</summary>
    private XnStatus Commit()
    {
        What = "commit or checkpoint";
        if (random.Next(4) == 0)
        {
            Disk.Checkpoint();
        }
        else
        {
            _ = Disk.TryCommit(tenants.Thief);
        }

        return XnStatus.Ok;
    }

    private XnStatus Give(Func<FrameNumber, XnStatus> take)
    {
        FrameNumber frame = tenants.Frame();
        What = "frame";
        XnStatus status = take(frame);
        if (status != XnStatus.Ok)
        {
            tenants.Frames.Release(frame);
        }

        return status;
    }

    private TemplateId Template(uint kind) =>
        random.Next(12) == 0 ? new TemplateId((uint)random.Next(6)) : kind == StampedFormat.Node ? tenants.Intruder.NodeTemplate : tenants.Intruder.DataTemplate;

    private XnReadRequest Request(uint count)
    {
        BlockNumber node = Node();
        int entry = random.Next(20);
        (BlockExtent extent, _, _) = Entry(node, entry);
        extent = extent with { Count = Math.Min(extent.Count, 8) };
        return random.Next(3) switch
        {
            0 => new XnReadRequest(node, entry, new BlockExtent(Block(), count)),
            1 => new XnReadRequest(node, random.Next(-2, 130), extent),
            _ => new XnReadRequest(node, entry, extent with { Count = Math.Min(extent.Count, count) }),
        };
    }

    /// <summary>What an entry of one's own node holds; of the other's, a guess.</summary>
    private (BlockExtent Extent, uint Kind, ulong Serial) Entry(BlockNumber node, int entry)
    {
        if (Disk.TryGetFrame(tenants.Thief, node, out FrameNumber frame))
        {
            tenants.Frames.Release(frame);
            return StampedFormat.Parse(tenants.Frames.Bytes(frame), entry);
        }

        StampedTree.Item? theirs = tenants.Victim.All().FirstOrDefault(item => item.Block == node);
        return theirs is not null && theirs.Kids.TryGetValue(entry, out StampedTree.Item? kid) ? (kid.Extent, kid.Kind, kid.Serial) : (default, 0, 0);
    }

    /// <summary>Mostly a node of one's own, as the registry, which all can read, names them.</summary>
    private BlockNumber Node()
    {
        if (random.Next(8) == 0)
        {
            return Block();
        }

        BlockNumber[] nodes = [.. Own().Where(entry => entry.Template != tenants.Intruder.DataTemplate).Select(entry => entry.Block).Order()];
        return nodes[random.Next(nodes.Length)];
    }

    private BlockNumber Block()
    {
        switch (random.Next(5))
        {
            case 0:
                return new BlockNumber((ulong)random.NextInt64((long)Disk.BlockCount + 3));
            case 1:
                StampedTree.Item[] theirs = [.. tenants.Victim.All()];
                return theirs[random.Next(theirs.Length)].Block;
            case 2:
                return FreeExtent().First;
            default:
                BlockNumber[] own = [.. Own().Select(entry => entry.Block).Order()];
                return own[random.Next(own.Length)];
        }
    }

    private IEnumerable<RegistryEntryInfo> Own()
    {
        foreach (RegistryEntryInfo entry in Disk.SnapshotRegistry())
        {
            if (Disk.TryGetFrame(tenants.Thief, entry.Block, out FrameNumber frame))
            {
                tenants.Frames.Release(frame);
                yield return entry;
            }
        }
    }

    private BlockExtent FreeExtent() =>
        tenants.Victim.FindFree((ulong)random.Next(512), (uint)random.Next(1, 4)) ?? new BlockExtent(new BlockNumber((ulong)random.Next(512)), 1);
}
