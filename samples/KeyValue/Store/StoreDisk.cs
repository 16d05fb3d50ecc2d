// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Memory;
using Exo.Core.Blocks;
using Exo.Storage.XN;
using KeyValue.Format;

namespace KeyValue.Store;

/// <summary>The store's part of the disk: its root block with the manifest, and what the manifest owns. Only the writer changes it.</summary>
internal sealed class StoreDisk
{
    private readonly XnTransaction _transaction = new();
    private readonly TemplateId[] _templates;

    private StoreDisk(XnVolume xn, TemplateId[] templates, BlockNumber root, Manifest manifest)
    {
        Xn = xn;
        Key = xn.Frames.RootCredential;
        _templates = templates;
        Root = root;
        Manifest = manifest;
    }

    public XnVolume Xn { get; }

    public Credential Key { get; }

    public BlockNumber Root { get; }

    public Manifest Manifest { get; }

    /// <summary>Makes a store with a log, and publishes it as a root of the disk when all of it is durable.</summary>
    public static StoreDisk Create(XnVolume xn, string name, int logBlocks)
    {
        Credential key = xn.Frames.RootCredential;
        TemplateId[] templates = xn.InstallTemplates(key, KeyValueTemplates.All);
        StoreDisk disk = new(xn, templates, xn.CreateRoot(key, templates[0], hint: default, contents: default), new Manifest());
        BlockExtent log = disk.FindFree((uint)logBlocks) ?? throw new KeyValueException(KeyValueError.Full, $"the disk has no {logBlocks} free blocks in a row for the log");
        FrameNumber[] frames = new FrameNumber[logBlocks];
        for (int i = 0; i < frames.Length; i++)
        {
            if (!xn.Frames.TryAllocate(key, out frames[i], zero: true))
            {
                throw new KeyValueException(KeyValueError.Full, $"{logBlocks} frames of memory are not free for the log");
            }
        }

        disk.Manifest.Entries[0] = new ManifestEntry(log, EntryKind.Log);
        Check(disk.Apply(change => change.ClaimAllocate(log, templates[1], disk.Root, 0, frames)));
        disk.WriteBack(log);
        disk.Settle();
        xn.PublishRoot(key, name, disk.Root);
        return disk;
    }

    /// <exception cref="KeyValueException">NotFound, Damaged.</exception>
    public static StoreDisk Open(XnVolume xn, string name)
    {
        Credential key = xn.Frames.RootCredential;
        RootEntry root = xn.Roots.FirstOrDefault(entry => entry.Name == name);
        TemplateId[] templates = [.. KeyValueTemplates.All.Select(source => xn.Templates.FirstOrDefault(found => found.Name == source.Name).Id)];
        if (root.Name is null || root.Template != templates[0])
        {
            throw new KeyValueException(KeyValueError.NotFound, $"the disk has no key-value store '{name}'");
        }

        _ = xn.OpenRoot(key, name);
        if (!xn.TryGetFrame(key, root.Block, out FrameNumber frame))
        {
            throw new KeyValueException(KeyValueError.NotFound, $"the root of the store '{name}' has left memory");
        }

        Manifest manifest;
        try
        {
            manifest = Manifest.Read(xn.Frames.Bytes(frame)[..Manifest.SizeBytes], root.Block);
        }
        finally
        {
            xn.Frames.Release(frame);
        }

        StoreDisk disk = new(xn, templates, root.Block, manifest);
        if (manifest.Entries[0].Kind != EntryKind.Log)
        {
            throw new KeyValueException(KeyValueError.Damaged, $"block {root.Block}: the manifest names no log");
        }

        disk.FreeDiscarded();
        return disk;
    }

    /// <summary>Takes blocks for a table that is about to be made. Until it is published a crash gives them back.</summary>
    /// <returns>The entry, or -1 when there is no room.</returns>
    public int Reserve(uint blocks, ulong age)
    {
        int slot = Manifest.FirstEmpty;
        while (slot >= 0 && FindFree(blocks) is { } extent)
        {
            Manifest.Entries[slot] = new ManifestEntry(extent, EntryKind.Discarded, age);
            XnStatus status = Apply(change => change.ClaimAllocate(extent, _templates[2], Root, slot));
            if (status == XnStatus.Ok)
            {
                return slot;
            }

            // Somebody else of this disk was faster: look again.
            Manifest.Entries[slot] = default;
            if (status != XnStatus.NotFree)
            {
                Check(status);
            }
        }

        return -1;
    }

    /// <summary>
    /// The one change that makes a table count: what it replaces does not any more, its unused blocks are given back, and the log begins anew. Durable on return: all of that, and what was written before.
    /// </summary>
    public void Publish(int slot, BlockExtent used, uint indexStart, uint indexBlocks, IEnumerable<int> replaced)
    {
        ManifestEntry reserved = Manifest.Entries[slot];
        BlockExtent rest = new(used.End, reserved.Extent.Count - used.Count);
        foreach (int old in replaced)
        {
            Manifest.Entries[old] = Manifest.Entries[old] with { Kind = EntryKind.Discarded };
        }

        Manifest.Entries[slot] = used.Count == 0 ? default : reserved with { Extent = used, Kind = EntryKind.Table, IndexStart = indexStart, IndexBlocks = indexBlocks };
        Manifest.LogEpoch++;
        Check(Apply(change =>
        {
            if (rest.Count > 0)
            {
                change.ClaimFree(rest, _templates[2], Root, slot);
            }
        }));
        Settle();
    }

    /// <summary>Gives the blocks of a discarded table back; a crash before the next write of the manifest leaves that to the next opening.</summary>
    public void Free(int slot)
    {
        BlockExtent extent = Manifest.Entries[slot].Extent;
        Manifest.Entries[slot] = default;
        Check(Apply(change => change.ClaimFree(extent, _templates[2], Root, slot)));
    }

    /// <summary>Writes blocks of data that are dirty. They are durable after a flush.</summary>
    public void WriteBack(BlockExtent extent)
    {
        BlockNumber[] blocks = new BlockNumber[extent.Count];
        for (uint i = 0; i < extent.Count; i++)
        {
            blocks[i] = extent.First + i;
        }

        WriteBack(blocks);
    }

    /// <summary>As above. Busy means that another tenant of the disk is just writing everything, this included.</summary>
    public void WriteBack(ReadOnlySpan<BlockNumber> blocks)
    {
        SpinWait wait = default;
        XnStatus status;
        while ((status = Xn.WriteBack(Key, blocks)) == XnStatus.Busy)
        {
            wait.SpinOnce();
        }

        Check(status);
    }

    /// <summary>Makes the manifest durable, after all that has to be durable before it.</summary>
    public void Settle()
    {
        foreach (BlockNumber block in Xn.PlanWriteBack(Root))
        {
            WriteBack([block]);
            Xn.Flush();
        }

        Xn.Flush();
    }

    public static void Check(XnStatus status)
    {
        if (status != XnStatus.Ok)
        {
            throw new XnException(status, $"XN refuses what the store has asked for: {status}");
        }
    }

    /// <summary>Frees what a crash, or a cursor that was open at the end, has left. Nothing has to be durable.</summary>
    private void FreeDiscarded()
    {
        for (int slot = 0; slot < Manifest.EntriesMax && !Xn.IsReadOnly; slot++)
        {
            if (Manifest.Entries[slot].Kind == EntryKind.Discarded)
            {
                Free(slot);
            }
        }
    }

    /// <summary>Writes the manifest into the root block, together with what that means for XN. When XN refuses, the block is as it was.</summary>
    private XnStatus Apply(Action<XnTransaction> claim)
    {
        Span<byte> sector = stackalloc byte[Manifest.SizeBytes];
        Manifest.Write(sector, Root);
        _transaction.Clear();
        _transaction.Write(Root, 0, sector);
        claim(_transaction);
        return Xn.Apply(Key, _transaction);
    }

    /// <summary>The first free run from the disk's middle on: C-FFS fills a disk from its beginning.</summary>
    private BlockExtent? FindFree(uint blocks)
    {
        ulong middle = Math.Max(Xn.DataStart.Value, Xn.BlockCount / 2);
        return FindFree(blocks, middle, Xn.BlockCount) ?? FindFree(blocks, Xn.DataStart.Value, Xn.BlockCount);
    }

    private BlockExtent? FindFree(uint blocks, ulong from, ulong to)
    {
        ReadOnlySpan<ulong> map = Xn.FreeMap;
        uint run = 0;
        for (ulong block = from; block < to; block++)
        {
            bool isFree = (map[(int)(block / 64)] >> (int)(block % 64) & 1) != 0;
            run = isFree ? run + 1 : 0;
            if (run == blocks)
            {
                return new BlockExtent(new BlockNumber(block + 1 - blocks), blocks);
            }
        }

        return null;
    }
}
