// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Map;

/// <summary>An equal share of the disk, by what most of its blocks in use are.</summary>
/// <param name="Kind">The kind.</param>
/// <param name="Directory">For contents of files the directory, as a place in <see cref="BlockMap.Directories"/>; -1: none.</param>
/// <param name="Quarters">How much of it is in use, in quarters, rounded up; 0: it is free.</param>
internal readonly record struct MapCell(CffsBlockKind Kind, int Directory, int Quarters);

/// <summary>A directory and the blocks of the files in it.</summary>
/// <param name="Path">Its path, escaped.</param>
/// <param name="Blocks">Blocks of files whose names are in it, without those that others own too.</param>
internal sealed record MapDirectory(string Path, ulong Blocks);
