// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Layout;
using Exo.Simulation.Disks;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Tests.Check;

/// <summary>
/// Damage to the commit log of a crashed volume, at random or by one who knows the format and puts every checksum right: those of the images (which become sectors of C-FFS by a replay), of the transactions and of the superblocks.
/// </summary>
internal sealed class LogMutation(SimulatedBlockDevice disk, FramePool frames, Random random)
{
    private static readonly ulong[] s_extremes = [0, 1, 2, 16, 255, 4095, 4096, 1UL << 32, 1UL << 51, 1UL << 61, long.MaxValue, ulong.MaxValue];

    private readonly XnSuperblock _superblock = Newest(disk);

    /// <summary>What was done, for a failure's message.</summary>
    public List<string> Log { get; } = [];

    public void Apply()
    {
        int choice = random.Next(9);
        List<(ulong At, int Length)> transactions = Transactions();
        if (transactions.Count == 0 || choice == 8)
        {
            DamageSuperblocks();
            return;
        }

        (ulong at, int length) = transactions[random.Next(transactions.Count)];
        byte[] bytes = Read(at, length);
        _ = LogRecord.TryParseHeader(bytes, out LogRecord.Header header);
        bool isSealed = choice > 0;
        Log.Add($"{choice}: transaction at {at}, {length} blocks, {header.EntryCount} entries");
        switch (choice)
        {
            case 0 or 1:
                bytes[random.Next(bytes.Length)] ^= (byte)random.Next(1, 256);
                break;
            case 2:
                SetField(bytes, LogRecord.Fields[random.Next(1, LogRecord.Fields.Length)], 0);
                break;
            case 3 when header.EntryCount > 0:
                SetField(bytes, LogRecord.EntryFields[random.Next(LogRecord.EntryFields.Length)], LogRecord.HeaderBytes + (random.Next(header.EntryCount) * LogRecord.EntryBytes));
                break;
            case 4 when header.EntryCount > 1:
                // One block's images for another block.
                int one = LogRecord.HeaderBytes + (random.Next(header.EntryCount) * LogRecord.EntryBytes);
                int other = LogRecord.HeaderBytes + (random.Next(header.EntryCount) * LogRecord.EntryBytes);
                byte[] block = bytes.AsSpan(one, 8).ToArray();
                bytes.AsSpan(other, 8).CopyTo(bytes.AsSpan(one));
                block.CopyTo(bytes, other);
                break;
            case 5:
                // An old transaction comes again, as the successor of the last one.
                (ulong lastAt, int lastLength) = transactions[^1];
                _ = LogRecord.TryParseHeader(Read(lastAt, lastLength), out LogRecord.Header last);
                BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(LogRecord.SequenceOffset), last.Sequence + 1);
                at = lastAt + (ulong)lastLength;
                if (at + (ulong)length > _superblock.LogStart + _superblock.LogBlocks)
                {
                    return;
                }

                break;
            default:
                DamageImage(bytes, header);
                break;
        }

        if (isSealed)
        {
            LogRecord.WriteChecksum(bytes, LogRecord.Add(LogRecord.Begin(at, bytes.AsSpan(0, LogRecord.BlockBytes)), bytes.AsSpan(LogRecord.BlockBytes)));
        }

        Write(at, bytes);
    }

    private List<(ulong At, int Length)> Transactions()
    {
        List<(ulong, int)> found = [];
        for (ulong at = _superblock.LogStart; at < _superblock.LogStart + _superblock.LogBlocks;)
        {
            if (!LogRecord.TryParseHeader(Read(at, 1), out LogRecord.Header header) || header.LogEpoch != _superblock.LogEpoch || at + (ulong)header.LengthBlocks > _superblock.LogStart + _superblock.LogBlocks)
            {
                break;
            }

            found.Add((at, header.LengthBlocks));
            at += (ulong)header.LengthBlocks;
        }

        return found;
    }

    private void SetField(byte[] bytes, XnField field, int offset)
    {
        byte[] value = new byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(value, random.Next(2) == 0 ? (ulong)random.Next(2100) : s_extremes[random.Next(s_extremes.Length)]);
        Log.Add($"{field} := {Convert.ToHexString(value.AsSpan(0, field.SizeBytes))}");
        value.AsSpan(0, field.SizeBytes).CopyTo(bytes.AsSpan(offset + field.OffsetBytes));
    }

    /// <summary>Changes a sector of C-FFS in the log, and seals it as C-FFS does.</summary>
    private void DamageImage(byte[] bytes, in LogRecord.Header header)
    {
        int image = LogRecord.ImagesOffset(header.EntryCount);
        List<(ulong Sector, int Offset)> images = [];
        for (int i = 0; i < header.EntryCount; i++)
        {
            LogRecord.Entry entry = LogRecord.ParseEntry(bytes.AsSpan(LogRecord.HeaderBytes + (i * LogRecord.EntryBytes)));
            for (int sector = 0; sector < LogRecord.SectorsPerBlock && image + LogRecord.SectorBytes <= bytes.Length; sector++)
            {
                if ((entry.ImageSectors >> sector & 1) != 0)
                {
                    images.Add(((entry.Block * LogRecord.SectorsPerBlock) + (ulong)sector, image));
                    image += LogRecord.SectorBytes;
                }
            }
        }

        images.RemoveAll(one => KindOf(bytes.AsSpan(one.Offset, Sector.SizeBytes)) is not (SectorKind.Slots or SectorKind.Tree or SectorKind.State));
        if (images.Count == 0)
        {
            return;
        }

        (ulong number, int at) = images[random.Next(images.Count)];
        Span<byte> bytesOfIt = bytes.AsSpan(at, Sector.SizeBytes);
        SectorKind kind = KindOf(bytesOfIt);
        if (random.Next(3) == 0)
        {
            Span<byte> from = bytes.AsSpan(images[random.Next(images.Count)].Offset, Sector.PayloadBytes);
            from.CopyTo(bytesOfIt);
        }
        else
        {
            LayoutField field = Slot.Fields[random.Next(Slot.Fields.Length - 1)];
            byte[] value = new byte[8];
            BinaryPrimitives.WriteUInt64LittleEndian(value, random.Next(2) == 0 ? (ulong)random.Next(2100) : s_extremes[random.Next(s_extremes.Length)]);
            value.AsSpan(0, field.SizeBytes).CopyTo(bytesOfIt[((random.Next(Slot.PerSector) * Slot.SizeBytes) + field.OffsetBytes)..]);
        }

        Log.Add($"an image of sector {number}, a {kind}");
        Sector.Seal(bytesOfIt, FuzzVolume.Logged.Value.Seed, number, kind, BinaryPrimitives.ReadUInt64LittleEndian(bytesOfIt[Sector.Owner..]));
    }

    private static SectorKind KindOf(ReadOnlySpan<byte> sector) => (SectorKind)BinaryPrimitives.ReadUInt32LittleEndian(sector[Sector.Magic..]);

    /// <summary>Where XN's superblock says that the log is, and which one.</summary>
    private void DamageSuperblocks()
    {
        int offset = random.Next(5) switch
        {
            0 => XnSuperblock.LogStartOffset,
            1 => XnSuperblock.LogBlocksOffset,
            2 => XnSuperblock.LogEpochOffset,
            3 => XnSuperblock.CleanOffset,
            _ => XnSuperblock.DataStartOffset,
        };
        ulong value = random.Next(2) == 0 ? (ulong)random.Next(2100) : s_extremes[random.Next(s_extremes.Length)];
        Log.Add($"superblocks: {value} at {offset}");
        for (ulong copy = 0; copy < (random.Next(3) == 0 ? 1UL : 2UL); copy++)
        {
            byte[] block = Read(copy, 1);
            if (offset == XnSuperblock.CleanOffset)
            {
                BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(offset), (uint)value);
            }
            else
            {
                BinaryPrimitives.WriteUInt64LittleEndian(block.AsSpan(offset), value);
            }

            XnChecksum.Seal(block.AsSpan(0, XnSuperblock.SizeBytes), copy);
            Write(copy, block);
        }
    }

    private static XnSuperblock Newest(SimulatedBlockDevice disk)
    {
        XnSuperblock newest = default;
        for (ulong copy = 0; copy < 2; copy++)
        {
            if (XnSuperblock.TryParse(disk.Snapshot()[copy][..XnSuperblock.SizeBytes], copy, out XnSuperblock parsed, out _) && parsed.Generation >= newest.Generation)
            {
                newest = parsed;
            }
        }

        return newest;
    }

    private byte[] Read(ulong first, int count)
    {
        DiskContents contents = disk.Snapshot();
        byte[] bytes = new byte[count * LogRecord.BlockBytes];
        for (int i = 0; i < count; i++)
        {
            contents[first + (ulong)i].CopyTo(bytes.AsSpan(i * LogRecord.BlockBytes));
        }

        return bytes;
    }

    private void Write(ulong first, byte[] bytes)
    {
        FrameNumber[] frame = new FrameNumber[1];
        Assert.True(frames.TryAllocate(frames.RootCredential, out frame[0]));
        for (int i = 0; i < bytes.Length / LogRecord.BlockBytes; i++)
        {
            bytes.AsSpan(i * LogRecord.BlockBytes, LogRecord.BlockBytes).CopyTo(frames.Bytes(frame[0]));
            BlockRequest[] request = [BlockRequest.Write(new BlockNumber(first + (ulong)i), frame)];
            disk.Execute(request);
        }

        frames.Release(frame[0]);
    }
}
