// SPDX-License-Identifier: MIT
namespace Exo.Core.Blocks.Nbd;

/// <summary>What a server said about an export, checked.</summary>
internal sealed record NbdExport
{
    public required ulong LengthBytes { get; init; }

    public required ushort Flags { get; init; }

    public int MinimumBlockBytes { get; init; } = 1;

    public int PreferredBlockBytes { get; init; } = 4096;

    public int MaximumPayloadBytes { get; init; } = NbdProtocol.PayloadBytesMax;

    /// <summary>Replies to reads come in chunks.</summary>
    public bool IsStructured { get; init; }

    /// <summary>The number of base:allocation, if the server has it.</summary>
    public uint? AllocationContext { get; init; }

    public bool IsReadOnly => Has(NbdProtocol.ExportReadOnly);

    public bool Has(ushort flag) => (Flags & flag) != 0;

    /// <summary>Whether an export found after a reconnection can stand in for this one.</summary>
    public bool CanBeReplacedBy(NbdExport other) =>
        other.LengthBytes >= LengthBytes && other.Flags == Flags && other.IsStructured == IsStructured
        && other.MinimumBlockBytes <= MinimumBlockBytes && other.MaximumPayloadBytes >= MaximumPayloadBytes
        && other.AllocationContext.HasValue == AllocationContext.HasValue;
}
