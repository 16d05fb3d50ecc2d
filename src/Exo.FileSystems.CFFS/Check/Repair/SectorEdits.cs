// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Check;

/// <summary>When a planned change is written: each step is durable before the next begins.</summary>
internal enum RepairStep
{
    /// <summary>XN's catalogues and the superblock of C-FFS.</summary>
    Roots,

    /// <summary>What nothing points to yet: fresh blocks, records in lost+found.</summary>
    New,

    /// <summary>Everything else: pointers to the new, and what goes.</summary>
    Old,
}

/// <summary>
/// The plan: the disk as it is, with changed sectors laid over it. What is read through it has the changes; <see cref="Write"/> carries them out.
/// </summary>
internal sealed class SectorEdits(BlockDevice device, RawBlocks blocks, ulong seed)
{
    private readonly Dictionary<ulong, (byte[] Bytes, RepairStep Step)> _sectors = [];
    private readonly byte[] _block = new byte[4096];

    public delegate void Edit(Span<byte> sector);

    public int Count => _sectors.Count;

    /// <summary>Copies one block as it will be. False when it cannot be read and is not planned anew.</summary>
    public bool TryRead(ulong block, Span<byte> into)
    {
        bool isRead = blocks.TryRead(block, into);
        if (!isRead)
        {
            into.Clear();
        }

        int planned = Overlay(block, into);
        return isRead || planned == Sector.PerBlock;
    }

    /// <summary>Lays the planned sectors over a block that was read; how many there are.</summary>
    public int Overlay(ulong block, Span<byte> bytes)
    {
        int planned = 0;
        for (int s = 0; s < Sector.PerBlock; s++)
        {
            if (_sectors.TryGetValue((block * Sector.PerBlock) + (ulong)s, out (byte[] Bytes, RepairStep Step) edit))
            {
                edit.Bytes.CopyTo(bytes[(s * Sector.SizeBytes)..]);
                planned++;
            }
        }

        return planned;
    }

    /// <summary>Changes one sector and seals it.</summary>
    public void Change(ulong block, int sector, SectorKind kind, ulong owner, RepairStep step, Edit edit)
    {
        byte[] bytes = Sectors(block, sector, step);
        edit(bytes);
        Sector.Seal(bytes, seed, (block * Sector.PerBlock) + (ulong)sector, kind, owner);
    }

    /// <summary>Makes a sector empty.</summary>
    public void Clear(ulong block, int sector, RepairStep step) => Sectors(block, sector, step).AsSpan().Clear();

    /// <summary>Plans a block as zeros.</summary>
    public void Fresh(ulong block)
    {
        for (int s = 0; s < Sector.PerBlock; s++)
        {
            _sectors[(block * Sector.PerBlock) + (ulong)s] = (new byte[Sector.SizeBytes], RepairStep.New);
        }
    }

    /// <summary>Hands the plan over to another that knows the seed.</summary>
    public void MoveTo(SectorEdits other)
    {
        foreach ((ulong sector, (byte[] Bytes, RepairStep Step) edit) in _sectors)
        {
            other._sectors[sector] = edit;
        }

        _sectors.Clear();
    }

    /// <summary>Replaces a whole block.</summary>
    public void Replace(ulong block, ReadOnlySpan<byte> bytes, RepairStep step)
    {
        for (int s = 0; s < Sector.PerBlock; s++)
        {
            _sectors[(block * Sector.PerBlock) + (ulong)s] = (bytes.Slice(s * Sector.SizeBytes, Sector.SizeBytes).ToArray(), step);
        }
    }

    /// <summary>Writes the changes of one step, durably.</summary>
    /// <exception cref="BlockDeviceException">The device failed.</exception>
    public void Write(RepairStep step)
    {
        ulong[] touched = [.. _sectors.Where(edit => edit.Value.Step == step).Select(edit => edit.Key / Sector.PerBlock).Distinct().Order()];
        if (touched.Length == 0)
        {
            return;
        }

        using ScratchFrames scratch = new(device.Frames, 1);
        foreach (ulong block in touched)
        {
            // What cannot be read and is not planned becomes zeros: empty sectors.
            _ = blocks.TryRead(block, scratch.Bytes(0));
            for (int s = 0; s < Sector.PerBlock; s++)
            {
                if (_sectors.TryGetValue((block * Sector.PerBlock) + (ulong)s, out (byte[] Bytes, RepairStep Step) edit) && edit.Step <= step)
                {
                    edit.Bytes.CopyTo(scratch.Bytes(0)[(s * Sector.SizeBytes)..]);
                }
            }

            BlockRequest[] write = [BlockRequest.Write(new BlockNumber(block), scratch.Frames)];
            device.Execute(write);
        }

        device.Flush();
    }

    /// <summary>The planned bytes of a sector, begun with what the disk holds.</summary>
    private byte[] Sectors(ulong block, int sector, RepairStep step)
    {
        ulong key = (block * Sector.PerBlock) + (ulong)sector;
        if (_sectors.TryGetValue(key, out (byte[] Bytes, RepairStep Step) edit))
        {
            if (step < edit.Step)
            {
                _sectors[key] = (edit.Bytes, step);
            }

            return edit.Bytes;
        }

        if (!blocks.TryRead(block, _block))
        {
            _block.AsSpan().Clear();
        }

        byte[] bytes = _block.AsSpan(sector * Sector.SizeBytes, Sector.SizeBytes).ToArray();
        _sectors.Add(key, (bytes, step));
        return bytes;
    }
}
