// SPDX-License-Identifier: MIT
using Exo.Core.DownloadedCode;

namespace Exo.Storage.XN;

/// <summary>Properties of a template.</summary>
[Flags]
public enum TemplateFlags
{
    /// <summary>None.</summary>
    None = 0,

    /// <summary>
    /// A pointer to a block of this template must not reach the disk before the block's own first contents are durable, as for metadata.
    /// For file data it keeps a crash from showing what an earlier owner left in the block.
    /// </summary>
    InitialiseFirst = 1,

    /// <summary>
    /// More than one partition may point to a block of this template (<see cref="XnTransaction.ClaimShare"/>); XN counts them, and the block is free when the removal of the last pointer,
    /// and of all before it, is durable. As long as more than one points to it the block does not change: who wants to write copies it first. Data only.
    /// </summary>
    Counted = 2,
}

/// <summary>
/// A row of partitions: partition k covers <see cref="TemplateSource.ReadSetBytes"/> bytes from <paramref name="OffsetBytes"/> + k × <paramref name="StrideBytes"/>.
/// </summary>
/// <param name="OffsetBytes">Offset of the first one in the block.</param>
/// <param name="StrideBytes">Distance between neighbours.</param>
/// <param name="Count">Number of partitions.</param>
public readonly record struct PartitionGroup(int OffsetBytes, int StrideBytes, int Count);

/// <summary>
/// A kind of block, as its author describes it to XN (SOSP '97, section 4.2). Partitions are disjoint pieces of a block; <c>owns</c> runs on one piece at a
/// time, so the cost of a checked change does not depend on how many pointers the block holds.
/// </summary>
public sealed class TemplateSource
{
    /// <summary>Name, 1 to 63 bytes of UTF-8.</summary>
    public required string Name { get; init; }

    /// <summary>Properties.</summary>
    public TemplateFlags Flags { get; init; }

    /// <summary>Bytes of each partition's read set; 0 when there are no partitions.</summary>
    public int ReadSetBytes { get; init; }

    /// <summary>The partitions, numbered through the groups in order.</summary>
    public IReadOnlyList<PartitionGroup> Partitions { get; init; } = [];

    /// <summary>Which blocks a partition points to (<see cref="TemplateContracts.Owns"/>). Null: none; then the block is data.</summary>
    public Program? Owns { get; init; }

    /// <summary>Who may do what (<see cref="TemplateContracts.Acl"/>). Null: the parent decides.</summary>
    public Program? Acl { get; init; }

    /// <summary>Bytes in use (<see cref="TemplateContracts.Size"/>). Null: all of the block.</summary>
    public Program? Size { get; init; }

    /// <summary>Which changes of such a block are legal (<see cref="TemplateContracts.Approve"/>). Null: all whose pointers are claimed. Metadata only.</summary>
    public Program? Approve { get; init; }

    /// <summary>
    /// Bytes that <see cref="Approve"/> judges at a time, whole sectors that a block is a multiple of: 512, 1024, 2048 or 4096. It runs for the units that a transaction changes and no others.
    /// 0 without it.
    /// </summary>
    public int ApproveUnitBytes { get; init; }

    /// <summary>Names of the templates that <c>owns</c> emits by index: of the same batch, or installed before.</summary>
    public IReadOnlyList<string> Children { get; init; } = [];
}
