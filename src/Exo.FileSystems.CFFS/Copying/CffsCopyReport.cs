// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS;

/// <summary>What a copy of a tree has made so far.</summary>
/// <param name="Directories">Directories, with the tree's own.</param>
/// <param name="Files">Regular files, each once.</param>
/// <param name="Others">Symbolic links, FIFOs, sockets and devices.</param>
/// <param name="Links">Further names of files that have several.</param>
/// <param name="Bytes">Bytes of contents that were copied: holes are none.</param>
/// <param name="SharedBytes">Bytes of files that share the original's blocks.</param>
public sealed record CffsCopyReport(long Directories, long Files, long Others, long Links, long Bytes, long SharedBytes);
