// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Exo.FileSystems.CFFS.Layout;

/// <summary>A rename between directories, or one that leaves a whiteout, or an exchange of two names, announced before it is carried out (docs/cffs-format.md, "Intent log").</summary>
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
    public const int OtherInodeOffset = 48;
    public const int OtherNameSequenceOffset = 56;
    public const int OtherFromAddressOffset = 60;
    public const int OtherToAddressOffset = 64;
    public const int WhiteoutUserOffset = 68;
    public const int WhiteoutGroupOffset = 72;

    public const uint Pending = 1 << 0;
    public const uint Exchange = 1 << 1;
    public const uint Whiteout = 1 << 2;

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
        new(nameof(OtherInode), OtherInodeOffset, 8),
        new(nameof(OtherNameSequence), OtherNameSequenceOffset, 4),
        new(nameof(OtherFromAddress), OtherFromAddressOffset, 4),
        new(nameof(OtherToAddress), OtherToAddressOffset, 4),
        new(nameof(WhiteoutUser), WhiteoutUserOffset, 4),
        new(nameof(WhiteoutGroup), WhiteoutGroupOffset, 4),
    ];

    public ulong Inode;
    public ulong FromDirectory;
    public ulong ToDirectory;
    public uint NameSequence;
    public uint State;
    public ulong Epoch;
    public uint FromAddress;
    public uint ToAddress;
    public ulong OtherInode;
    public uint OtherNameSequence;
    public uint OtherFromAddress;
    public uint OtherToAddress;
    public uint WhiteoutUser;
    public uint WhiteoutGroup;

    /// <summary>Another inode moves the other way, and both moves are one change.</summary>
    public readonly bool IsExchange => (State & Exchange) != 0;

    /// <summary>Where the inode was a whiteout takes its name: <see cref="OtherInode"/>, with <see cref="OtherNameSequence"/>.</summary>
    public readonly bool IsWhiteout => (State & Whiteout) != 0;

    /// <summary>The move of an exchange's other inode, as one by itself.</summary>
    public readonly Intent Other => new()
    {
        Inode = OtherInode,
        FromDirectory = ToDirectory,
        ToDirectory = FromDirectory,
        NameSequence = OtherNameSequence,
        State = State,
        Epoch = Epoch,
        FromAddress = OtherFromAddress,
        ToAddress = OtherToAddress,
    };

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
        OtherInode = BinaryPrimitives.ReadUInt64LittleEndian(sector[OtherInodeOffset..]),
        OtherNameSequence = BinaryPrimitives.ReadUInt32LittleEndian(sector[OtherNameSequenceOffset..]),
        OtherFromAddress = BinaryPrimitives.ReadUInt32LittleEndian(sector[OtherFromAddressOffset..]),
        OtherToAddress = BinaryPrimitives.ReadUInt32LittleEndian(sector[OtherToAddressOffset..]),
        WhiteoutUser = BinaryPrimitives.ReadUInt32LittleEndian(sector[WhiteoutUserOffset..]),
        WhiteoutGroup = BinaryPrimitives.ReadUInt32LittleEndian(sector[WhiteoutGroupOffset..]),
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
        BinaryPrimitives.WriteUInt64LittleEndian(sector[OtherInodeOffset..], OtherInode);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[OtherNameSequenceOffset..], OtherNameSequence);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[OtherFromAddressOffset..], OtherFromAddress);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[OtherToAddressOffset..], OtherToAddress);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[WhiteoutUserOffset..], WhiteoutUser);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[WhiteoutGroupOffset..], WhiteoutGroup);
    }
}
