// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.DownloadedCode;
using Exo.Core.Memory;

namespace Exo.Storage.XN.Tests.BTree;

/// <summary>
/// A key-value store: a B-tree of nodes over values that have extents of their own. A node is one sector, so that whatever changes in it changes at once; its entries are in no order, so
/// that none has to move for another.
/// <code>
/// node:   512..1023  16 entries of 32 bytes: start u64, count u32, kind u32 (1 value, 2 node) | key u64, 0
/// value:  each block: key u64, version u64, index u64
/// </code>
/// The key of an entry for a node is the lowest that belongs below it (of the first one: whatever it says). A crash in the middle of a split, a merge or a removal leaves entries in a node that
/// belong to its neighbour: <see cref="Load"/> drops them. After a merge, what has come over does not reach the disk in a newer version before the parent has let go of the old place.
/// </summary>
internal sealed class TreeStore
{
    public const string RootName = "tree";
    public const uint Value = 1;
    public const uint Node = 2;
    private const int Entries = 16;
    private const int Fanout = 5;
    private const int EntryBytes = 32;
    private const int EntriesOffset = 512;

    private const string Owns = """
            ldxw r3, [r1+12]
            jeq r3, 0, done
            sub r3, 1
            ldxw r2, [r1+8]
            ldxdw r1, [r1+0]
            call 1
        done:
            mov r0, 0
            exit
        """;

    private readonly XnVolume _disk;
    private readonly Credential _key;
    private readonly TemplateId[] _templates;
    private readonly BlockNumber _root;
    private readonly XnTransaction _transaction = new();
    private readonly BlockNumber[] _plan = new BlockNumber[1024];

    private TreeStore(XnVolume disk, TemplateId[] templates, BlockNumber root)
    {
        _disk = disk;
        _key = disk.Frames.RootCredential;
        _templates = templates;
        _root = root;
    }

    public readonly record struct Entry(int Slot, BlockExtent Extent, uint Kind, ulong Key);

    private static TemplateSource[] Templates =>
    [
        Tree("tree.root", "mov r0, 1\nexit"), Tree("tree.node", null), new TemplateSource { Name = "tree.value", Flags = TemplateFlags.InitialiseFirst },
    ];

    public XnVolume Disk => _disk;

    public static TreeStore Create(XnVolume disk)
    {
        Credential key = disk.Frames.RootCredential;
        TemplateId[] templates = disk.InstallTemplates(key, Templates);
        TreeStore store = new(disk, templates, disk.CreateRoot(key, templates[0], default, default));
        store.Sync();
        disk.PublishRoot(key, RootName, store._root);
        return store;
    }

    /// <summary>Opens a store, brings all nodes in, and finishes what a crash interrupted.</summary>
    public static TreeStore Load(XnVolume disk)
    {
        Credential key = disk.Frames.RootCredential;
        TreeStore store = new(disk, disk.InstallTemplates(key, Templates), disk.OpenRoot(key, RootName).Block);
        store.Bring(store._root);
        store.Settle(store._root, 0, ulong.MaxValue);
        store.Sync();
        return store;
    }

    /// <summary>What the store holds: by key the version of the value, each block of which is checked.</summary>
    public SortedDictionary<ulong, ulong> Contents()
    {
        SortedDictionary<ulong, ulong> contents = [];
        foreach (Entry entry in Walk(_root).Where(entry => entry.Kind == Value))
        {
            contents.Add(entry.Key, VersionOf(entry));
        }

        return contents;
    }

    /// <summary>All blocks that the store has, each once.</summary>
    public HashSet<ulong> Blocks()
    {
        HashSet<ulong> blocks = [_root.Value];
        foreach (Entry entry in Walk(_root))
        {
            for (uint i = 0; i < entry.Extent.Count; i++)
            {
                Assert.True(blocks.Add(entry.Extent.First.Value + i), $"block {entry.Extent.First + i} belongs to two entries");
            }
        }

        return blocks;
    }

    public void Put(ulong key, ulong version, uint blocks)
    {
        if (Read(_root).Count == Fanout)
        {
            SplitRoot();
        }

        BlockNumber node = _root;
        while (IsInner(node))
        {
            Entry child = Child(node, key);
            if (Read(child.Extent.First).Count == Fanout)
            {
                Split(node, child.Extent.First);
                child = Child(node, key);
            }

            node = child.Extent.First;
        }

        Entry? old = Read(node).Find(entry => entry.Key == key) is { Kind: Value } found ? found : null;
        BlockExtent extent = FindFree(blocks);
        FrameNumber[] frames = new FrameNumber[blocks];
        for (int i = 0; i < frames.Length; i++)
        {
            frames[i] = TakeFrame();
            Span<byte> bytes = _disk.Frames.Bytes(frames[i]);
            BinaryPrimitives.WriteUInt64LittleEndian(bytes, key);
            BinaryPrimitives.WriteUInt64LittleEndian(bytes[8..], version);
            BinaryPrimitives.WriteUInt64LittleEndian(bytes[16..], (ulong)i);
        }

        int slot = old?.Slot ?? FreeSlot(node);
        Commit(() =>
        {
            Write(node, slot, extent, Value, key);
            if (old is { } gone)
            {
                _transaction.ClaimFree(gone.Extent, _templates[2], node, slot);
            }

            _transaction.ClaimAllocate(extent, _templates[2], node, slot, frames);
        });
    }

    public void Delete(ulong key)
    {
        // The lowest node on the way whose other entries remain: what hangs below its entry goes with the key.
        (BlockNumber Node, Entry Entry)? cut = null;
        List<BlockNumber> path = [];
        BlockNumber node = _root;
        for (bool atLeaf = false; !atLeaf;)
        {
            path.Add(node);
            atLeaf = !IsInner(node);
            List<Entry> entries = Read(node);
            Entry next = atLeaf ? entries.Find(entry => entry.Key == key) : Child(node, key);
            if (next.Kind == 0)
            {
                return;
            }

            if (entries.Count > 1 || cut is null)
            {
                cut = (node, next);
            }

            node = next.Extent.First;
        }

        Commit(() =>
        {
            Clear(cut!.Value.Node, cut.Value.Entry.Slot);
            _transaction.ClaimFreeTree(cut.Value.Entry.Extent, TemplateOf(cut.Value.Entry.Kind), cut.Value.Node, cut.Value.Entry.Slot);
        });

        for (int i = path.IndexOf(cut!.Value.Node) - 1; i >= 0; i--)
        {
            MergeBelow(path[i]);
        }
    }

    /// <summary>Whether <see cref="Sync"/> tries the commit log first.</summary>
    public bool UsesLog { get; set; }

    public void Sync()
    {
        while (_disk.DirtyBlocks > 0 || _disk.UnflushedBlocks > 0)
        {
            if (UsesLog && _disk.TryCommit(_key))
            {
                continue;
            }

            int count = _disk.PlanWriteBack(_plan);
            Assert.True(count > 0 || _disk.UnflushedBlocks > 0, "nothing can be written and nothing waits for a flush");
            Assert.Equal(XnStatus.Ok, _disk.WriteBack(_key, _plan.AsSpan(0, count)));
            _disk.Flush();
        }
    }

    /// <summary>Some of what may be written now, in any selection.</summary>
    public void WriteSome(Random random)
    {
        int count = _disk.PlanWriteBack(_plan);
        random.Shuffle(_plan.AsSpan(0, count));
        Assert.Equal(XnStatus.Ok, _disk.WriteBack(_key, _plan.AsSpan(0, random.Next(count + 1))));
    }

    private static TemplateSource Tree(string name, string? acl) => new()
    {
        Name = name,
        ReadSetBytes = 16,
        Partitions = [new PartitionGroup(EntriesOffset, EntryBytes, Entries)],
        Owns = Assembler.Assemble(Owns),
        Acl = acl is null ? null : Assembler.Assemble(acl),
        Children = ["tree.value", "tree.node"],
    };

    private TemplateId TemplateOf(uint kind) => kind == Node ? _templates[1] : _templates[2];

    /// <summary>A node's entries by key.</summary>
    private List<Entry> Read(BlockNumber node)
    {
        Assert.True(_disk.TryGetFrame(_key, node, out FrameNumber frame), $"{node} is not in core");
        List<Entry> entries = [];
        for (int slot = 0; slot < Entries; slot++)
        {
            ReadOnlySpan<byte> bytes = _disk.Frames.Bytes(frame).Slice(EntriesOffset + (slot * EntryBytes), EntryBytes);
            uint kind = BinaryPrimitives.ReadUInt32LittleEndian(bytes[12..]);
            if (kind != 0)
            {
                BlockExtent extent = new(new BlockNumber(BinaryPrimitives.ReadUInt64LittleEndian(bytes)), BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]));
                entries.Add(new Entry(slot, extent, kind, BinaryPrimitives.ReadUInt64LittleEndian(bytes[16..])));
            }
        }

        _disk.Frames.Release(frame);
        entries.Sort((a, b) => a.Key.CompareTo(b.Key));
        return entries;
    }

    private bool IsInner(BlockNumber node) => Read(node).Exists(entry => entry.Kind == Node);

    private Entry Child(BlockNumber node, ulong key)
    {
        List<Entry> entries = Read(node);
        return entries[Math.Max(0, entries.FindLastIndex(entry => entry.Key <= key))];
    }

    private IEnumerable<Entry> Walk(BlockNumber node)
    {
        foreach (Entry entry in Read(node))
        {
            yield return entry;
            if (entry.Kind == Node)
            {
                foreach (Entry below in Walk(entry.Extent.First))
                {
                    yield return below;
                }
            }
        }
    }

    private int FreeSlot(BlockNumber node)
    {
        List<Entry> entries = Read(node);
        return Enumerable.Range(0, Entries).First(slot => !entries.Exists(entry => entry.Slot == slot));
    }

    private FrameNumber TakeFrame()
    {
        Assert.True(_disk.Frames.TryAllocate(_key, out FrameNumber frame, zero: true));
        return frame;
    }

    private void Write(BlockNumber node, int slot, BlockExtent extent, uint kind, ulong key)
    {
        Span<byte> bytes = stackalloc byte[EntryBytes];
        bytes.Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, extent.First.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[8..], extent.Count);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[12..], kind);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[16..], key);
        _transaction.Write(node, EntriesOffset + (slot * EntryBytes), bytes);
    }

    private void Clear(BlockNumber node, int slot) => _transaction.Write(node, EntriesOffset + (slot * EntryBytes), new byte[EntryBytes]);

    private void Move(BlockNumber from, Entry entry, BlockNumber to, int slot)
    {
        Write(to, slot, entry.Extent, entry.Kind, entry.Key);
        _transaction.ClaimMove(entry.Extent, TemplateOf(entry.Kind), from, entry.Slot, to, slot);
    }

    /// <summary>Applies a change; what stands in its way because of order is gone after a sync.</summary>
    private void Commit(Action fill)
    {
        for (bool again = false; ; again = true)
        {
            _transaction.Clear();
            fill();
            XnStatus status = _disk.Apply(_key, _transaction);
            if (status == XnStatus.OrderCycle && !again)
            {
                Sync();
                continue;
            }

            Assert.True(status == XnStatus.Ok, $"{status}: {_transaction.LastRefusal}");
            return;
        }
    }

    private void SplitRoot()
    {
        List<Entry> entries = Read(_root);
        BlockExtent child = FindFree(1);
        FrameNumber[] frame = [TakeFrame()];
        Commit(() =>
        {
            foreach (Entry entry in entries)
            {
                Clear(_root, entry.Slot);
                Move(_root, entry, child.First, entry.Slot);
                OrderAfterChild(entry, child.First);
            }

            Write(_root, 0, child, Node, 0);
            _transaction.ClaimAllocate(child, _templates[1], _root, 0, frame);
        });
    }

    /// <summary>The upper half of a full node goes to a new one at its right.</summary>
    private void Split(BlockNumber parent, BlockNumber node)
    {
        List<Entry> entries = Read(node);
        BlockExtent right = FindFree(1);
        FrameNumber[] frame = [TakeFrame()];
        int slot = FreeSlot(parent);
        Entry self = Read(parent).Find(entry => entry.Extent.First == node);
        Commit(() =>
        {
            // The first child may hold keys below its own: it must not come to stand behind its other half.
            Write(parent, self.Slot, self.Extent, Node, Math.Min(self.Key, entries[0].Key));
            Write(parent, slot, right, Node, entries[Fanout / 2].Key);
            _transaction.ClaimAllocate(right, _templates[1], parent, slot, frame);
            foreach (Entry entry in entries[(Fanout / 2)..])
            {
                Clear(node, entry.Slot);
                Move(node, entry, right.First, entry.Slot);
                OrderAfterChild(entry, right.First);
            }
        });
    }

    /// <summary>
    /// What a new node shows instead of the old one must not be older than what the old one waits for: a child may have taken over a neighbour's entries that the old image still leads to.
    /// </summary>
    private void OrderAfterChild(Entry child, BlockNumber node)
    {
        if (child.Kind == Node)
        {
            _transaction.Order(child.Extent.First, node);
        }
    }

    /// <summary>Neighbours that fit into one node become one: the right one's entries go to the left one.</summary>
    private void MergeBelow(BlockNumber parent)
    {
        List<Entry> children = Read(parent);
        for (int i = 0; i + 1 < children.Count; i++)
        {
            if (children[i].Kind != Node)
            {
                return;
            }

            (BlockNumber left, BlockNumber right) = (children[i].Extent.First, children[i + 1].Extent.First);
            List<Entry> moving = Read(right);
            List<Entry> there = Read(left);
            if (there.Count + moving.Count > Fanout)
            {
                continue;
            }

            Queue<int> slots = new(Enumerable.Range(0, Entries).Where(slot => !there.Exists(entry => entry.Slot == slot)));
            Entry gone = children[i + 1];
            Commit(() =>
            {
                Queue<int> free = new(slots);
                foreach (Entry entry in moving)
                {
                    Clear(right, entry.Slot);
                    Move(right, entry, left, free.Dequeue());
                    if (entry.Kind == Node)
                    {
                        _transaction.Order(parent, entry.Extent.First);
                    }
                }

                Clear(parent, gone.Slot);
                _transaction.ClaimFree(gone.Extent, _templates[1], parent, gone.Slot);
            });
            return;
        }
    }

    private void Bring(BlockNumber node)
    {
        foreach (Entry entry in Read(node))
        {
            FrameNumber[] frames = [.. Enumerable.Range(0, (int)entry.Extent.Count).Select(_ => TakeFrame())];
            _disk.Read(_key, [new XnReadRequest(node, entry.Slot, entry.Extent)], frames, out int unused);
            foreach (FrameNumber frame in frames.AsSpan(0, unused))
            {
                _disk.Frames.Release(frame);
            }

            if (entry.Kind == Node)
            {
                Bring(entry.Extent.First);
            }
        }
    }

    /// <summary>Drops entries that do not belong into a node: their place is its neighbour.</summary>
    private void Settle(BlockNumber node, ulong from, ulong to)
    {
        foreach (Entry entry in Read(node).Where(entry => entry.Key >= to || (entry.Kind == Value && entry.Key < from)))
        {
            Commit(() =>
            {
                Clear(node, entry.Slot);
                _transaction.ClaimFreeTree(entry.Extent, TemplateOf(entry.Kind), node, entry.Slot);
            });
        }

        List<Entry> entries = Read(node);
        for (int i = 0; i < entries.Count; i++)
        {
            if (entries[i].Kind == Node)
            {
                Settle(entries[i].Extent.First, i == 0 ? from : entries[i].Key, i + 1 < entries.Count ? entries[i + 1].Key : to);
            }
        }
    }

    private ulong VersionOf(Entry entry)
    {
        ulong version = 0;
        for (uint i = 0; i < entry.Extent.Count; i++)
        {
            Assert.True(_disk.TryGetFrame(_key, entry.Extent.First + i, out FrameNumber frame));
            ReadOnlySpan<byte> bytes = _disk.Frames.Bytes(frame);
            (ulong key, ulong stamp, ulong index) =
                (BinaryPrimitives.ReadUInt64LittleEndian(bytes), BinaryPrimitives.ReadUInt64LittleEndian(bytes[8..]), BinaryPrimitives.ReadUInt64LittleEndian(bytes[16..]));
            _disk.Frames.Release(frame);
            Assert.True(key == entry.Key && index == i && (i == 0 || stamp == version), $"the value of {entry.Key} at {entry.Extent} is block {index} of {key}, version {stamp}");
            version = stamp;
        }

        return version;
    }

    private BlockExtent FindFree(uint count)
    {
        uint run = 0;
        for (ulong block = _disk.DataStart.Value; block < _disk.BlockCount; block++)
        {
            run = (_disk.FreeMap[(int)(block / 64)] >> (int)(block % 64) & 1) != 0 ? run + 1 : 0;
            if (run == count)
            {
                return new BlockExtent(new BlockNumber(block + 1 - count), count);
            }
        }

        if (_disk.WillFreeBlocks == 0)
        {
            throw new InvalidOperationException("the disk is full");
        }

        Sync();
        return FindFree(count);
    }
}
