// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.DownloadedCode;

namespace Exo.Storage.XN.Tests.Stamped;

/// <summary>
/// The format of a small library OS for tests: a tree of nodes over extents of data. Every block begins with a serial number that is never used twice, and the pointer to it repeats it:
/// a pointer that leads to anything but what it was made for is seen at once.
/// <code>
/// node:  0 serial u64 | 8 owner's name, 8 bytes (root only) | ... | 512 entries of 32 bytes: start u64, count u32, kind u32 (1 data, 2 node), serial u64, 0
/// data:  0 serial u64 | 8 index of the block in its extent u64
/// </code>
/// </summary>
internal static class StampedFormat
{
    public const int EntriesOffset = 512;
    public const int EntryBytes = 32;
    public const int EntriesMax = 112;
    public const int EntriesPerSector = 512 / EntryBytes;
    public const int ReadSetBytes = 16;
    public const int OwnerOffset = 8;

    public const uint Data = 1;
    public const uint Node = 2;

    private const string Owns = """
            ldxw r3, [r1+12]
            jeq r3, 0, done
            sub r3, 1
            ldxw r2, [r1+8]
            ldxdw r1, [r1+0]
            call 1
        done:
            mov r0, 0
            exit
        """;

    /// <summary>Grants what a capability's rights cover when its name is empty or the owner's eight bytes.</summary>
    private const string Acl = """
            mov r6, r1
            mov r7, r3
            mov r0, 0
            ldxw r2, [r7+4]
            ldxw r3, [r7+16]
            mov r4, r2
            and r4, r3
            jne r4, r2, done
            ldxw r8, [r7+20]
            jeq r8, 0, yes
            ldxdw r1, [r7+24]
            ldxdw r2, [r6+8]
            jne r1, r2, done
        yes:
            mov r0, 1
        done:
            exit
        """;

    public static TemplateSource[] Templates { get; } =
    [
        Tree("stamped.root", Assembler.Assemble(Acl)),
        Tree("stamped.node", null),
        new TemplateSource { Name = "stamped.data", Flags = TemplateFlags.InitialiseFirst | TemplateFlags.Counted },
    ];

    public static int OffsetOf(int entry) => EntriesOffset + (entry * EntryBytes);

    public static byte[] Entry(BlockExtent extent, uint kind, ulong serial)
    {
        byte[] entry = new byte[EntryBytes];
        BinaryPrimitives.WriteUInt64LittleEndian(entry, extent.First.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(entry.AsSpan(8), extent.Count);
        BinaryPrimitives.WriteUInt32LittleEndian(entry.AsSpan(12), kind);
        BinaryPrimitives.WriteUInt64LittleEndian(entry.AsSpan(16), serial);
        return entry;
    }

    public static (BlockExtent Extent, uint Kind, ulong Serial) Parse(ReadOnlySpan<byte> node, int entry)
    {
        ReadOnlySpan<byte> bytes = node.Slice(OffsetOf(entry), EntryBytes);
        return (
            new BlockExtent(new BlockNumber(BinaryPrimitives.ReadUInt64LittleEndian(bytes)), BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..])),
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[12..]),
            BinaryPrimitives.ReadUInt64LittleEndian(bytes[16..]));
    }

    private static TemplateSource Tree(string name, Program? acl) => new()
    {
        Name = name,
        ReadSetBytes = ReadSetBytes,
        Partitions = [new PartitionGroup(EntriesOffset, EntryBytes, EntriesMax)],
        Owns = Assembler.Assemble(Owns),
        Acl = acl,
        Children = ["stamped.data", "stamped.node"],
    };
}
