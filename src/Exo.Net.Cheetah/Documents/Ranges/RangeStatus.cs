// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Ranges;

/// <summary>How far a range of a document is.</summary>
internal enum RangeStatus : byte
{
    /// <summary>It is being read.</summary>
    Coming,

    /// <summary>It is in frames, until the last who holds it lets go.</summary>
    Here,

    /// <summary>The document is not any more what it was.</summary>
    Changed,

    /// <summary>It could not be read.</summary>
    Failed,
}
