// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.Storage.XN;

/// <summary>
/// What a crash has left in the commit log: the transactions from its beginning that are whole, one after the other, of the superblock's log epoch. The first that is torn, of another
/// epoch, or not the successor of the one before ends it: whatever comes after was never promised to anyone.
/// </summary>
internal sealed class LogScan
{
    private const int BatchBlocks = 64;

    // By sector of the disk: its newest image.
    private readonly Dictionary<ulong, ReadOnlyMemory<byte>> _images = [];
    private readonly HashSet<ulong> _blocks = [];

    private LogScan()
    {
    }

    /// <summary>Whole transactions found.</summary>
    public long Transactions { get; private set; }

    /// <summary>The device could not read a part of the log: what it says is not all that it said.</summary>
    public bool IsUnreadable { get; private set; }

    /// <summary>Nothing to bring home.</summary>
    public bool IsEmpty => _blocks.Count == 0;

    /// <summary>The blocks that the log has images of, in disk order.</summary>
    public ulong[] Blocks()
    {
        ulong[] sorted = [.. _blocks];
        Array.Sort(sorted);
        return sorted;
    }

    public bool Contains(ulong block) => _blocks.Contains(block);

    /// <summary>Every sector of a block has an image.</summary>
    public bool IsWhole(ulong block)
    {
        for (int sector = 0; sector < LogRecord.SectorsPerBlock; sector++)
        {
            if (!_images.ContainsKey((block * LogRecord.SectorsPerBlock) + (ulong)sector))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Puts the images of a block's sectors over what the disk has in their place.</summary>
    public void Patch(ulong block, Span<byte> bytes)
    {
        for (int sector = 0; sector < LogRecord.SectorsPerBlock; sector++)
        {
            if (_images.TryGetValue((block * LogRecord.SectorsPerBlock) + (ulong)sector, out ReadOnlyMemory<byte> image))
            {
                image.Span.CopyTo(bytes[(sector * LogRecord.SectorBytes)..]);
            }
        }
    }

    /// <summary>Reads the log of a volume that was not unmounted. Null when there is none, or nothing in it.</summary>
    public static LogScan? Read(BlockDevice device, in XnSuperblock superblock)
    {
        if (superblock.LogStart == 0 || superblock.Clean != 0)
        {
            return null;
        }

        LogScan scan = new();
        using ScratchFrames scratch = new(device.Frames, Math.Clamp(device.Frames.FreeCount / 4, 1, BatchBlocks));
        ulong? expected = null;
        for (ulong at = 0; at < superblock.LogBlocks;)
        {
            if (scan.TryReadTransaction(device, superblock, at, expected, scratch) is not { } bytes)
            {
                break;
            }

            _ = LogRecord.TryParseHeader(bytes, out LogRecord.Header header);
            scan.Note(superblock, header, bytes);
            expected = header.Sequence + 1;
            at += (ulong)header.LengthBlocks;
        }

        return scan.Transactions > 0 || scan.IsUnreadable ? scan : null;
    }

    private byte[]? TryReadTransaction(BlockDevice device, in XnSuperblock superblock, ulong at, ulong? expected, ScratchFrames scratch)
    {
        ulong first = superblock.LogStart + at;
        if (!TryRead(device, first, 1, scratch) || !LogRecord.TryParseHeader(scratch.Bytes(0), out LogRecord.Header header) || header.VolumeId != superblock.VolumeId
            || header.LogEpoch != superblock.LogEpoch || (expected is { } sequence && header.Sequence != sequence) || (ulong)header.LengthBlocks > superblock.LogBlocks - at)
        {
            return null;
        }

        byte[] bytes = new byte[header.LengthBlocks * LogRecord.BlockBytes];
        scratch.Bytes(0).CopyTo(bytes);
        for (int done = 1; done < header.LengthBlocks;)
        {
            int count = Math.Min(scratch.Frames.Length, header.LengthBlocks - done);
            if (!TryRead(device, first + (ulong)done, count, scratch))
            {
                return null;
            }

            for (int i = 0; i < count; i++)
            {
                scratch.Bytes(i).CopyTo(bytes.AsSpan((done + i) * LogRecord.BlockBytes));
            }

            done += count;
        }

        ulong sum = LogRecord.Begin(first, bytes.AsSpan(0, LogRecord.BlockBytes));
        return LogRecord.Add(sum, bytes.AsSpan(LogRecord.BlockBytes)) == LogRecord.ReadChecksum(bytes) ? bytes : null;
    }

    private bool TryRead(BlockDevice device, ulong first, int count, ScratchFrames scratch)
    {
        BlockRequest[] read = [BlockRequest.Read(new BlockNumber(first), scratch.Frames.AsMemory(0, count))];
        try
        {
            device.Execute(read);
            return true;
        }
        catch (BlockDeviceException)
        {
            IsUnreadable = true;
            return false;
        }
    }

    private void Note(in XnSuperblock superblock, in LogRecord.Header header, byte[] bytes)
    {
        Transactions++;
        int image = LogRecord.ImagesOffset(header.EntryCount);
        for (int i = 0; i < header.EntryCount; i++)
        {
            LogRecord.Entry entry = LogRecord.ParseEntry(bytes.AsSpan(LogRecord.HeaderBytes + (i * LogRecord.EntryBytes)));
            bool isOurs = entry.Block >= superblock.DataStart && entry.Block < superblock.BlockCount;
            for (int sector = 0; sector < LogRecord.SectorsPerBlock; sector++)
            {
                bool hasImage = (entry.ImageSectors >> sector & 1) != 0;
                if (hasImage && image + LogRecord.SectorBytes > bytes.Length)
                {
                    // The checksum fits and the contents do not: nobody wrote this by a crash.
                    return;
                }

                ulong number = (entry.Block * LogRecord.SectorsPerBlock) + (ulong)sector;
                if (isOurs && (hasImage || (entry.ZeroSectors >> sector & 1) != 0))
                {
                    _images[number] = hasImage ? bytes.AsMemory(image, LogRecord.SectorBytes) : s_zeros;
                    _blocks.Add(entry.Block);
                }

                image += hasImage ? LogRecord.SectorBytes : 0;
            }
        }
    }

    private static readonly byte[] s_zeros = new byte[LogRecord.SectorBytes];
}
