// SPDX-License-Identifier: MIT
namespace Exo.Core.Blocks;

/// <summary>How a disk is divided.</summary>
public enum PartitionScheme
{
    /// <summary>Master boot record: four primary partitions, and logical ones in a chain inside an extended one.</summary>
    Mbr,

    /// <summary>GUID partition table (UEFI specification 2.10, chapter 5).</summary>
    Gpt,
}

/// <summary>A part of a disk, inside it and at least one sector long.</summary>
public sealed record Partition
{
    /// <summary>The number that Linux gives it: the entry's place in the table from 1 on; logical ones of an MBR from 5 on.</summary>
    public required int Number { get; init; }

    /// <summary>The name in a GPT; empty in an MBR.</summary>
    public string Name { get; init; } = "";

    /// <summary>What it is for: a GUID in a GPT, one byte as <c>0x83</c> in an MBR.</summary>
    public required string Type { get; init; }

    /// <summary>The partition's own GUID in a GPT; else empty.</summary>
    public Guid Id { get; init; }

    /// <summary>Where it begins on the disk, in bytes.</summary>
    public required long StartBytes { get; init; }

    /// <summary>Its length in bytes.</summary>
    public required long LengthBytes { get; init; }

    /// <inheritdoc/>
    public override string ToString() => Name.Length > 0 ? $"{Number} \"{Name}\" ({LengthBytes} bytes)" : $"{Number} ({LengthBytes} bytes)";

    internal bool Overlaps(Partition other) =>
        other.Number != Number && other.StartBytes < StartBytes + LengthBytes && StartBytes < other.StartBytes + other.LengthBytes;
}
