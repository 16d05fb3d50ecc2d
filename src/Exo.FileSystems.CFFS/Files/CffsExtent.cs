// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.FileSystems.CFFS;

/// <summary>A run of a file's contents and where it lies, as the FIEMAP ioctl tells it. What is between two of them is a hole.</summary>
/// <param name="Offset">Offset in the file, in bytes.</param>
/// <param name="LengthBytes">Length; that of the last one may reach beyond the file's end.</param>
/// <param name="Block">The first block on the disk; null for contents that lie in a directory sector with the inode.</param>
/// <param name="IsShared">Others own these blocks too: the next write here goes to fresh ones.</param>
public readonly record struct CffsExtent(long Offset, long LengthBytes, BlockNumber? Block, bool IsShared);
