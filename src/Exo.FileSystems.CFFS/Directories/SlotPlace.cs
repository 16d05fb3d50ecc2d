// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.FileSystems.CFFS.Directories;

/// <summary>A slot of a directory's block that is in core: the frame is retained for whoever holds the place.</summary>
/// <param name="Block">The block.</param>
/// <param name="Frame">Its frame.</param>
/// <param name="Index">Slot within the block, 0..31.</param>
/// <param name="Address">Slot address within the directory.</param>
internal readonly record struct SlotPlace(BlockNumber Block, FrameNumber Frame, int Index, uint Address)
{
    public int SectorIndex => Index >> 2;

    public int InSector => Index & 3;
}
