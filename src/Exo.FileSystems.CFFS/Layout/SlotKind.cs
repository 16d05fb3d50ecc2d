// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Layout;

/// <summary>The first byte of a slot.</summary>
internal enum SlotKind : byte
{
    Free = 0,
    Continuation = 1,
    File = 2,
    Directory = 3,
    SymbolicLink = 4,
    Special = 5,
    ExternalLink = 6,
    Log = 7,

    /// <summary>No record: the block that holds the contents of its sector's packed files (<see cref="Layout.Pack"/>).</summary>
    Pack = 8,
}
