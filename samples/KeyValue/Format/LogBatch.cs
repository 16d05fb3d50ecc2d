// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.IO.Hashing;

namespace KeyValue.Format;

/// <summary>
/// What the log consists of: batches, each from a sector's beginning on, so that no committed byte is ever written again. A batch is on the disk whole (its checksum says so) or does not count.
/// <code>
/// 0 checksum u64 | 8 "KVLB" | 12 bytes of the records u32 | 16 log epoch u64 | 24 number u64 | 32 records …
/// record: 0 key length u16 | 2 deleted u8 | 3 0 | 4 value length u32 | 8 key | value
/// </code>
/// The first batch of an epoch has number 1. The checksum is of bytes 8 to the end, its seed the batch's offset in the log.
/// </summary>
internal static class LogBatch
{
    public const int SectorBytes = 512;
    public const int HeaderBytes = 32;
    public const int RecordHeaderBytes = 8;
    private const uint Magic = 0x424C564B;

    /// <summary>Bytes of the log that a batch takes up.</summary>
    public static int SpaceBytes(int recordBytes) => (HeaderBytes + recordBytes + SectorBytes - 1) / SectorBytes * SectorBytes;

    /// <summary>Fills in the header of a batch whose records stand behind it.</summary>
    public static void Seal(Span<byte> batch, ulong epoch, ulong number, int offsetBytes)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(batch[8..], Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(batch[12..], (uint)(batch.Length - HeaderBytes));
        BinaryPrimitives.WriteUInt64LittleEndian(batch[16..], epoch);
        BinaryPrimitives.WriteUInt64LittleEndian(batch[24..], number);
        BinaryPrimitives.WriteUInt64LittleEndian(batch, XxHash3.HashToUInt64(batch[8..], offsetBytes));
    }

    /// <summary>The records of the batch that begins at an offset of the log, if there is a whole one of this epoch.</summary>
    public static bool TryRead(ReadOnlySpan<byte> log, int offsetBytes, ulong epoch, out ulong number, out ReadOnlySpan<byte> records)
    {
        number = 0;
        records = default;
        ReadOnlySpan<byte> batch = log[offsetBytes..];
        if (batch.Length < HeaderBytes || BinaryPrimitives.ReadUInt32LittleEndian(batch[8..]) != Magic || BinaryPrimitives.ReadUInt64LittleEndian(batch[16..]) != epoch)
        {
            return false;
        }

        ulong length = HeaderBytes + (ulong)BinaryPrimitives.ReadUInt32LittleEndian(batch[12..]);
        if (length > (ulong)batch.Length || BinaryPrimitives.ReadUInt64LittleEndian(batch) != XxHash3.HashToUInt64(batch[8..(int)length], offsetBytes))
        {
            return false;
        }

        number = BinaryPrimitives.ReadUInt64LittleEndian(batch[24..]);
        records = batch[HeaderBytes..(int)length];
        return true;
    }

    public static int RecordBytes(int keyLength, int valueLength) => RecordHeaderBytes + keyLength + valueLength;

    public static void WriteRecord(Span<byte> record, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, bool isDeleted)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(record, (ushort)key.Length);
        record[2] = isDeleted ? (byte)1 : (byte)0;
        record[3] = 0;
        BinaryPrimitives.WriteUInt32LittleEndian(record[4..], (uint)value.Length);
        key.CopyTo(record[RecordHeaderBytes..]);
        value.CopyTo(record[(RecordHeaderBytes + key.Length)..]);
    }

    /// <summary>Takes the first record off; false at the end, or where no record can be.</summary>
    public static bool TryTake(ref ReadOnlySpan<byte> records, out ReadOnlySpan<byte> key, out ReadOnlySpan<byte> value, out bool isDeleted)
    {
        key = value = default;
        isDeleted = false;
        if (records.Length < RecordHeaderBytes)
        {
            return false;
        }

        int keyLength = BinaryPrimitives.ReadUInt16LittleEndian(records);
        ulong valueLength = BinaryPrimitives.ReadUInt32LittleEndian(records[4..]);
        if (RecordHeaderBytes + (ulong)keyLength + valueLength > (ulong)records.Length)
        {
            return false;
        }

        isDeleted = records[2] != 0;
        key = records.Slice(RecordHeaderBytes, keyLength);
        value = records.Slice(RecordHeaderBytes + keyLength, (int)valueLength);
        records = records[(RecordHeaderBytes + keyLength + (int)valueLength)..];
        return true;
    }
}
