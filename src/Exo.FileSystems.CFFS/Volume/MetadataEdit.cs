// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Volume;

/// <summary>
/// Collects a change of metadata as images of whole sectors plus claims about blocks, seals the sectors (checksum, owner) and hands everything to XN
/// as one transaction. There is one per volume, used only under <see cref="VolumeCore.Metadata"/>; nothing is allocated in steady state.
/// Typical use: <c>Begin; Sector(...) → change the image; Transaction.Claim...; Apply</c>.
/// </summary>
internal sealed class MetadataEdit(VolumeCore core)
{
    // A block of records or of an extent tree that moves: its sectors at both places, the pointer to it, the record.
    private const int ImagesMax = (2 * Layout.Sector.PerBlock) + 2;

    private readonly byte[] _images = new byte[ImagesMax * Layout.Sector.SizeBytes];
    private readonly (BlockNumber Block, int Sector, SectorKind Kind, ulong Owner)[] _targets = new (BlockNumber, int, SectorKind, ulong)[ImagesMax];
    private int _count;

    /// <summary>The transaction, for claims.</summary>
    public XnTransaction Transaction { get; } = new();

    public void Begin()
    {
        Invariant.Check(core.Metadata.IsHeldByCurrentThread);
        Transaction.Clear();
        _count = 0;
    }

    /// <summary>The image of a sector, as it is now (with what this edit has changed in it already).</summary>
    public Span<byte> Sector(BlockNumber block, FrameNumber frame, int sector, SectorKind kind, ulong owner)
    {
        for (int i = 0; i < _count; i++)
        {
            if (_targets[i].Block == block && _targets[i].Sector == sector)
            {
                return Image(i);
            }
        }

        Span<byte> image = Add(block, sector, kind, owner);
        core.Cache.Bytes(frame).Slice(sector * Layout.Sector.SizeBytes, Layout.Sector.SizeBytes).CopyTo(image);
        return image;
    }

    /// <summary>The image of a sector of a block that this same transaction allocates: zeros.</summary>
    public Span<byte> FreshSector(BlockNumber block, int sector, SectorKind kind, ulong owner)
    {
        Span<byte> image = Add(block, sector, kind, owner);
        image.Clear();
        return image;
    }

    /// <summary>Stages the fixed fields of an inode's record.</summary>
    public Span<byte> Stage(Inode inode, in Record record)
    {
        Span<byte> sector = Sector(inode.SlotBlock, inode.SlotFrame, inode.SlotIndex >> 2, SectorKind.Slots, inode.Container?.Number ?? 0);
        record.Emit(sector, inode.SlotIndex & 3);
        return sector;
    }

    /// <summary>Hands the change to XN. On anything but Ok nothing has changed.</summary>
    public XnStatus TryApply()
    {
        for (int i = 0; i < _count; i++)
        {
            (BlockNumber block, int sector, SectorKind kind, ulong owner) = _targets[i];
            Span<byte> image = Image(i);
            if (image[..Layout.Sector.PayloadBytes].ContainsAnyExcept((byte)0))
            {
                Layout.Sector.Seal(image, core.Seed, (block.Value * Layout.Sector.PerBlock) + (uint)sector, kind, owner);
            }
            else
            {
                image.Clear();
            }

            Transaction.Write(block, sector * Layout.Sector.SizeBytes, image);
        }

        XnStatus status;
        SpinWait wait = default;
        while ((status = core.Disk.Apply(core.Key, Transaction)) == XnStatus.Busy)
        {
            // A block that goes is being read: through another owner's pointer, or with its neighbours. Reads end without this lock.
            wait.SpinOnce();
        }

        return status;
    }

    /// <summary>Hands the change to XN, which must accept it: C-FFS has checked everything that XN checks.</summary>
    public void Apply()
    {
        XnStatus status = TryApply();
        if (status != XnStatus.Ok)
        {
            throw Refused(status);
        }
    }

    /// <summary>Hands a change with orders to XN. False when pending orders contradict them: nothing has changed, and a commit removes those.</summary>
    public bool TryApplyOrdered()
    {
        XnStatus status = TryApply();
        return status switch
        {
            XnStatus.Ok => true,
            XnStatus.OrderCycle => false,
            _ => throw Refused(status),
        };
    }

    /// <summary>What to throw when XN refuses a change.</summary>
    public CffsException Refused(XnStatus status) => new(CffsError.Corrupt, $"XN refused a change of metadata ({status}): {Transaction.LastRefusal}");

    private Span<byte> Add(BlockNumber block, int sector, SectorKind kind, ulong owner)
    {
        Invariant.Check(_count < ImagesMax);
        _targets[_count] = (block, sector, kind, owner);
        return Image(_count++);
    }

    private Span<byte> Image(int index) => _images.AsSpan(index * Layout.Sector.SizeBytes, Layout.Sector.SizeBytes);
}
