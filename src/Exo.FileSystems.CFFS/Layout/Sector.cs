// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Exo.FileSystems.CFFS.Layout;

/// <summary>What a sector holds: the magic number of its trailer.</summary>
internal enum SectorKind : uint
{
    State = 0x52505553,
    Guard = 0x44524147,
    Slots = 0x544F4C53,
    Tree = 0x45455254,
    Intent = 0x4E544E49,
    Index = 0x58444E49,
}

/// <summary>
/// The 16-byte trailer of every checksummed sector (docs/cffs-format.md, "Sector trailer").
/// <code>
/// | 0 .. 495 payload | 496 checksum | 500 magic | 504 owner |
/// </code>
/// </summary>
internal static class Sector
{
    public const int SizeBytes = 512;
    public const int PerBlock = 8;
    public const int PayloadBytes = 496;
    public const int Checksum = 496;
    public const int Magic = 500;
    public const int Owner = 504;

    public static readonly LayoutField[] Fields =
    [
        new(nameof(Checksum), Checksum, 4),
        new(nameof(Magic), Magic, 4),
        new(nameof(Owner), Owner, 8),
    ];

    /// <summary>Writes the trailer of a sector whose payload is complete.</summary>
    public static void Seal(Span<byte> sector, ulong volumeSeed, ulong sectorNumber, SectorKind kind, ulong owner)
    {
        Invariant.Check(sector.Length == SizeBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[Magic..], (uint)kind);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[Owner..], owner);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[Checksum..], ComputeChecksum(sector, volumeSeed, sectorNumber));
    }

    /// <summary>True when the sector is empty (all zero) or its checksum, magic and owner are as expected.</summary>
    public static bool IsValid(ReadOnlySpan<byte> sector, ulong volumeSeed, ulong sectorNumber, SectorKind kind, ulong owner)
    {
        Invariant.Check(sector.Length == SizeBytes);
        if (BinaryPrimitives.ReadUInt32LittleEndian(sector[Magic..]) != (uint)kind)
        {
            return IsEmpty(sector);
        }

        return BinaryPrimitives.ReadUInt64LittleEndian(sector[Owner..]) == owner
            && BinaryPrimitives.ReadUInt32LittleEndian(sector[Checksum..]) == ComputeChecksum(sector, volumeSeed, sectorNumber);
    }

    /// <summary>True when every byte is zero: a sector never used since its block was allocated.</summary>
    public static bool IsEmpty(ReadOnlySpan<byte> sector) => !sector.ContainsAnyExcept((byte)0);

    /// <summary>CRC32C over the seed, the sector number, and the sector without its checksum field.</summary>
    public static uint ComputeChecksum(ReadOnlySpan<byte> sector, ulong volumeSeed, ulong sectorNumber)
    {
        uint crc = BitOperations.Crc32C(~0u, volumeSeed);
        crc = BitOperations.Crc32C(crc, sectorNumber);
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(sector[..Checksum]);
        foreach (ulong word in words)
        {
            crc = BitOperations.Crc32C(crc, BitConverter.IsLittleEndian ? word : BinaryPrimitives.ReverseEndianness(word));
        }

        crc = BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt32LittleEndian(sector[Magic..]));
        return ~BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt64LittleEndian(sector[Owner..]));
    }
}
