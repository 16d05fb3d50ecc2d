// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;

namespace Exo.Samples.Tests.KeyValue;

/// <summary>Reads a store out of the bytes of a disk by samples/KeyValue/FORMAT.md alone, with none of the store's code.</summary>
internal static class IndependentReader
{
    public static SortedDictionary<string, string> Read(byte[] disk, ulong root)
    {
        ReadOnlySpan<byte> manifest = disk.AsSpan((int)root * 4096, 512);
        Assert.Equal(XxHash3.HashToUInt64(manifest[8..], (long)root), U64(manifest, 0));
        Assert.Equal("KVST"u8, manifest.Slice(8, 4));
        Assert.Equal(1u, U32(manifest, 12));
        SortedDictionary<string, string?> entries = new(StringComparer.Ordinal);
        List<(ulong Age, int Offset)> tables = [];
        for (int offset = 64 + 32; offset < 512; offset += 32)
        {
            if (U32(manifest, offset + 12) == 2)
            {
                tables.Add((U64(manifest, offset + 16), offset));
            }
        }

        foreach ((ulong age, int offset) in tables.OrderBy(table => table.Age))
        {
            ReadTable(disk, U64(manifest, offset), age, U32(manifest, offset + 24), U32(manifest, offset + 28), entries);
        }

        Assert.Equal(1u, U32(manifest, 64 + 12));
        ReadLog(disk.AsSpan((int)U64(manifest, 64) * 4096, (int)U32(manifest, 64 + 8) * 4096), U64(manifest, 16), entries);
        return new SortedDictionary<string, string>(entries.Where(entry => entry.Value is not null).ToDictionary(entry => entry.Key, entry => entry.Value!), StringComparer.Ordinal);
    }

    private static void ReadTable(byte[] disk, ulong start, ulong age, uint indexStart, uint indexBlocks, SortedDictionary<string, string?> entries)
    {
        ulong expected = 0;
        for (uint i = 0; i < indexBlocks; i++)
        {
            foreach ((string firstKey, byte[]? place) in ReadPage(disk, start + indexStart + i, age))
            {
                Assert.Equal(expected, U32(place, 0));
                List<(string Key, byte[]? Value)> page = ReadPage(disk, start + U32(place, 0), age);
                Assert.Equal(firstKey, page[0].Key);
                foreach ((string key, byte[]? value) in page)
                {
                    entries[key] = value is null ? null : Encoding.UTF8.GetString(value);
                }

                expected += U32(place, 4);
            }
        }

        Assert.Equal(indexStart, expected);
    }

    private static List<(string Key, byte[]? Value)> ReadPage(byte[] disk, ulong block, ulong age)
    {
        ReadOnlySpan<byte> page = disk.AsSpan((int)block * 4096);
        page = page[..((int)U32(page, 12) * 4096)];
        Assert.Equal(XxHash3.HashToUInt64(page[8..], (long)block), U64(page, 0));
        Assert.Equal("KVPG"u8, page.Slice(8, 4));
        Assert.Equal(age, U64(page, 16));
        List<(string Key, byte[]? Value)> entries = [];
        for (int i = 0; i < U32(page, 24); i++)
        {
            ReadOnlySpan<byte> record = page[(int)U32(page, (int)U32(page, 28) + (i * 4))..];
            entries.Add(Take(ref record));
        }

        Assert.Equal(entries.Select(entry => entry.Key).Order(StringComparer.Ordinal).Distinct(), entries.Select(entry => entry.Key));
        return entries;
    }

    private static void ReadLog(ReadOnlySpan<byte> log, ulong epoch, SortedDictionary<string, string?> entries)
    {
        int at = 0;
        for (ulong number = 1; at < log.Length; number++)
        {
            ReadOnlySpan<byte> batch = log[at..];
            if (!batch.Slice(8, 4).SequenceEqual("KVLB"u8) || U64(batch, 16) != epoch || U64(batch, 24) != number)
            {
                return;
            }

            batch = batch[..(32 + (int)U32(batch, 12))];
            Assert.Equal(XxHash3.HashToUInt64(batch[8..], at), U64(batch, 0));
            at += (batch.Length + 511) / 512 * 512;
            for (ReadOnlySpan<byte> records = batch[32..]; records.Length > 0;)
            {
                (string key, byte[]? value) = Take(ref records);
                entries[key] = value is null ? null : Encoding.UTF8.GetString(value);
            }
        }
    }

    private static (string Key, byte[]? Value) Take(ref ReadOnlySpan<byte> records)
    {
        int keyLength = BinaryPrimitives.ReadUInt16LittleEndian(records);
        int valueLength = (int)U32(records, 4);
        string key = Encoding.UTF8.GetString(records.Slice(8, keyLength));
        byte[]? value = records[2] == 1 ? null : records.Slice(8 + keyLength, valueLength).ToArray();
        records = records[(8 + keyLength + valueLength)..];
        return (key, value);
    }

    private static uint U32(ReadOnlySpan<byte> bytes, int offset) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[offset..]);

    private static ulong U64(ReadOnlySpan<byte> bytes, int offset) => BinaryPrimitives.ReadUInt64LittleEndian(bytes[offset..]);
}
