// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Exo.FileSystems.CFFS.Layout;

/// <summary>A rename between directories, announced before it is carried out (docs/cffs-format.md, "Intent log").</summary>
internal struct Intent
{
    public const int LogBlocks = 8;

    public const int InodeOffset = 0;
    public const int FromDirectoryOffset = 8;
    public const int ToDirectoryOffset = 16;
    public const int NameSequenceOffset = 24;
    public const int StateOffset = 28;
    public const int EpochOffset = 32;
    public const int FromAddressOffset = 40;
    public const int ToAddressOffset = 44;

    public const uint Pending = 1 << 0;

    public static readonly LayoutField[] Fields =
    [
        new(nameof(Inode), InodeOffset, 8),
        new(nameof(FromDirectory), FromDirectoryOffset, 8),
        new(nameof(ToDirectory), ToDirectoryOffset, 8),
        new(nameof(NameSequence), NameSequenceOffset, 4),
        new(nameof(State), StateOffset, 4),
        new(nameof(Epoch), EpochOffset, 8),
        new(nameof(FromAddress), FromAddressOffset, 4),
        new(nameof(ToAddress), ToAddressOffset, 4),
    ];

    public ulong Inode;
    public ulong FromDirectory;
    public ulong ToDirectory;
    public uint NameSequence;
    public uint State;
    public ulong Epoch;
    public uint FromAddress;
    public uint ToAddress;

    public static Intent Read(ReadOnlySpan<byte> sector) => new()
    {
        Inode = BinaryPrimitives.ReadUInt64LittleEndian(sector[InodeOffset..]),
        FromDirectory = BinaryPrimitives.ReadUInt64LittleEndian(sector[FromDirectoryOffset..]),
        ToDirectory = BinaryPrimitives.ReadUInt64LittleEndian(sector[ToDirectoryOffset..]),
        NameSequence = BinaryPrimitives.ReadUInt32LittleEndian(sector[NameSequenceOffset..]),
        State = BinaryPrimitives.ReadUInt32LittleEndian(sector[StateOffset..]),
        Epoch = BinaryPrimitives.ReadUInt64LittleEndian(sector[EpochOffset..]),
        FromAddress = BinaryPrimitives.ReadUInt32LittleEndian(sector[FromAddressOffset..]),
        ToAddress = BinaryPrimitives.ReadUInt32LittleEndian(sector[ToAddressOffset..]),
    };

    public readonly void Emit(Span<byte> sector)
    {
        sector[..Sector.PayloadBytes].Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(sector[InodeOffset..], Inode);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[FromDirectoryOffset..], FromDirectory);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[ToDirectoryOffset..], ToDirectory);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[NameSequenceOffset..], NameSequence);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[StateOffset..], State);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[EpochOffset..], Epoch);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[FromAddressOffset..], FromAddress);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[ToAddressOffset..], ToAddress);
    }
}
