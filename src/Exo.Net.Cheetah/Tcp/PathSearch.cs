// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Tcp;

/// <summary>What a connection whose path was found small knows of its search for larger packets; others have none.</summary>
internal sealed class PathSearch
{
    /// <summary>When the next larger size may be tried.</summary>
    public long RetryUs { get; set; }

    /// <summary>The size that is being tried: one segment of it is under way. 0 = none.</summary>
    public int ProbedMtuBytes { get; set; }
}
