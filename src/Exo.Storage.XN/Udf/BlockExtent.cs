// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.Storage.XN;

/// <summary>A run of adjacent blocks.</summary>
/// <param name="First">First block.</param>
/// <param name="Count">Number of blocks.</param>
public readonly record struct BlockExtent(BlockNumber First, uint Count)
{
    /// <summary>The block after the last one.</summary>
    public BlockNumber End => First + Count;

    /// <summary>True when the block lies in the extent.</summary>
    public bool Contains(BlockNumber block) => block.Value - First.Value < Count;

    /// <inheritdoc/>
    public override string ToString() => Count == 1 ? $"{First.Value}" : $"{First.Value}..{First.Value + Count - 1}";
}

/// <summary>The persistent number of a template: its slot in the type catalogue. 0 is none.</summary>
public readonly record struct TemplateId(uint Value);

/// <summary>A run of blocks with the template that interprets them: what <c>owns</c> emits.</summary>
public readonly record struct TypedExtent(BlockExtent Extent, TemplateId Template)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Extent} of template {Template.Value}";
}
