// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.FileSystems.CFFS;

namespace Exo.Adapters.Fuse.Messages;

/// <summary>Structures of linux/fuse.h that answers are made of.</summary>
internal static class FuseStructures
{
    public const int AttributesBytes = 88;
    public const int EntryBytes = 40 + AttributesBytes;
    public const int DirectoryEntryBytes = 24;

    // For ever: what the kernel knows stays true until it changes it itself, or is told.
    private const ulong ValidSeconds = uint.MaxValue;

    /// <summary>struct fuse_attr.</summary>
    public static void WriteAttributes(Span<byte> at, in CffsStat stat)
    {
        PutLong(at, 0, stat.Inode);
        PutLong(at, 8, (ulong)stat.Size);
        PutLong(at, 16, SectorsOf(stat));
        (long seconds, uint nanoseconds) = Split(stat.AccessTimeNs);
        PutLong(at, 24, (ulong)seconds);
        PutWord(at, 48, nanoseconds);
        (seconds, nanoseconds) = Split(stat.ModifyTimeNs);
        PutLong(at, 32, (ulong)seconds);
        PutWord(at, 52, nanoseconds);
        (seconds, nanoseconds) = Split(stat.ChangeTimeNs);
        PutLong(at, 40, (ulong)seconds);
        PutWord(at, 56, nanoseconds);
        PutWord(at, 60, stat.Mode);
        PutWord(at, 64, stat.Links);
        PutWord(at, 68, stat.User);
        PutWord(at, 72, stat.Group);
        PutWord(at, 76, (uint)stat.DeviceNumber);
        PutWord(at, 80, CffsSpace.BlockBytes);
    }

    /// <summary>struct fuse_entry_out. Inode numbers are never used again, so every generation is 0.</summary>
    public static void WriteEntry(Span<byte> at, ulong node, in CffsStat stat)
    {
        PutLong(at, 0, node);
        PutLong(at, 16, ValidSeconds);
        PutLong(at, 24, ValidSeconds);
        WriteAttributes(at[40..], stat);
    }

    /// <summary>A name that does not exist, to be remembered.</summary>
    public static void WriteAbsence(Span<byte> at) => PutLong(at, 16, ValidSeconds);

    /// <summary>struct fuse_attr_out.</summary>
    public static void WriteAttributesOut(Span<byte> at, in CffsStat stat)
    {
        PutLong(at, 0, ValidSeconds);
        WriteAttributes(at[16..], stat);
    }

    /// <summary>struct fuse_statx_out, 288 bytes: all of STATX_BASIC_STATS and the time of birth.</summary>
    public static void WriteStatX(Span<byte> at, in CffsStat stat)
    {
        const uint BasicStatsAndBirth = 0xFFF;
        PutLong(at, 0, ValidSeconds);
        Span<byte> x = at[32..];
        PutWord(x, 0, BasicStatsAndBirth);
        PutWord(x, 4, CffsSpace.BlockBytes);
        PutWord(x, 16, stat.Links);
        PutWord(x, 20, stat.User);
        PutWord(x, 24, stat.Group);
        BinaryPrimitives.WriteUInt16LittleEndian(x[28..], stat.Mode);
        PutLong(x, 32, stat.Inode);
        PutLong(x, 40, (ulong)stat.Size);
        PutLong(x, 48, SectorsOf(stat));
        PutTime(x, 64, stat.AccessTimeNs);
        PutTime(x, 80, stat.BirthTimeNs);
        PutTime(x, 96, stat.ChangeTimeNs);
        PutTime(x, 112, stat.ModifyTimeNs);

        // dev_t as new_encode_dev packs it: minor 0..7, major 8..19, minor 8..19 of it at 20..31.
        uint device = (uint)stat.DeviceNumber;
        PutWord(x, 128, (device >> 8) & 0xFFF);
        PutWord(x, 132, (device & 0xFF) | ((device >> 12) & 0xFFF00));
    }

    /// <summary>st_blocks, in units of 512 bytes. Contents without blocks of their own count as what they would fill: programs take a file that has a length and no blocks for one hole.</summary>
    private static ulong SectorsOf(in CffsStat stat)
    {
        const int SectorBytes = 512;
        ulong inline = stat.Kind == CffsKind.File ? (ulong)(stat.InlineBytes + SectorBytes - 1) / SectorBytes : 0;
        return (stat.AllocatedBlocks * (CffsSpace.BlockBytes / SectorBytes)) + inline;
    }

    /// <summary>Bytes of struct fuse_dirent with its name, padded.</summary>
    public static int DirectoryEntryLength(int nameBytes) => (DirectoryEntryBytes + nameBytes + 7) & ~7;

    /// <summary>struct fuse_dirent.</summary>
    public static void WriteDirectoryEntry(Span<byte> at, ulong inode, ulong nextPosition, CffsKind kind, ReadOnlySpan<byte> name)
    {
        PutLong(at, 0, inode);
        PutLong(at, 8, nextPosition);
        PutWord(at, 16, (uint)name.Length);
        PutWord(at, 20, TypeOf(kind));
        name.CopyTo(at[DirectoryEntryBytes..]);
    }

    public static void PutWord(Span<byte> at, int offset, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(at[offset..], value);

    public static void PutLong(Span<byte> at, int offset, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(at[offset..], value);

    private static void PutTime(Span<byte> at, int offset, long ns)
    {
        (long seconds, uint nanoseconds) = Split(ns);
        PutLong(at, offset, (ulong)seconds);
        PutWord(at, offset + 8, nanoseconds);
    }

    // Before 1970 the seconds are rounded down and the nanoseconds still count up.
    private static (long Seconds, uint Nanoseconds) Split(long ns)
    {
        (long seconds, long rest) = Math.DivRem(ns, 1_000_000_000L);
        return rest < 0 ? (seconds - 1, (uint)(rest + 1_000_000_000L)) : (seconds, (uint)rest);
    }

    // DT_* of dirent.h: the type bits of st_mode.
    private static uint TypeOf(CffsKind kind) => kind switch
    {
        CffsKind.Directory => 4,
        CffsKind.SymbolicLink => 10,
        CffsKind.CharacterDevice => 2,
        CffsKind.BlockDevice => 6,
        CffsKind.Fifo => 1,
        CffsKind.Socket => 12,
        _ => 8,
    };
}
