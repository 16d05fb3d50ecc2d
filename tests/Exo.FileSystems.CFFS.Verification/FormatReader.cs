// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;

namespace Exo.FileSystems.CFFS.Verification;

/// <summary>Integers, little-endian, and the checksum that both formats use.</summary>
internal static class FormatReader
{
    public const int BlockBytes = 4096;
    public const int SectorBytes = 512;
    public const int SectorsPerBlock = 8;

    public static ushort U16(this ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt16LittleEndian(bytes[at..]);

    public static uint U32(this ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);

    public static ulong U64(this ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt64LittleEndian(bytes[at..]);

    public static bool IsZero(this ReadOnlySpan<byte> bytes) => !bytes.ContainsAnyExcept((byte)0);

    public static ReadOnlySpan<byte> Sector(this ReadOnlySpan<byte> block, int index) => block.Slice(index * SectorBytes, SectorBytes);

    /// <summary>CRC32C (reflected 0x82F63B78, all ones before and inverted after) of some words and then bytes.</summary>
    public static uint Crc32C(ReadOnlySpan<ulong> words, ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> more = default)
    {
        uint crc = uint.MaxValue;
        foreach (ulong word in words)
        {
            crc = BitOperations.Crc32C(crc, word);
        }

        return ~Continue(Continue(crc, bytes), more);
    }

    private static uint Continue(uint crc, ReadOnlySpan<byte> bytes)
    {
        int at = 0;
        for (; at + 8 <= bytes.Length; at += 8)
        {
            crc = BitOperations.Crc32C(crc, bytes.U64(at));
        }

        for (; at < bytes.Length; at++)
        {
            crc = BitOperations.Crc32C(crc, bytes[at]);
        }

        return crc;
    }
}
