// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Relocation;

/// <summary>What has become of a block that was to move.</summary>
internal enum MoveOutcome
{
    Moved,

    /// <summary>It is not there any more, or has moved already.</summary>
    Gone,

    /// <summary>There is no place for it.</summary>
    NoPlace,
}
