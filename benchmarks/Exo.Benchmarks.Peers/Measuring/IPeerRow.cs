// SPDX-License-Identifier: MIT
using Exo.Benchmarks.Peers.Machine;

namespace Exo.Benchmarks.Peers.Measuring;

/// <summary>
/// One comparison: the same work done by Exo and by a peer, by turns. A row is made, prepared once, run in rounds and disposed of; it takes back whatever it made.
/// </summary>
internal interface IPeerRow : IDisposable
{
    /// <summary>What it is called on the command line.</summary>
    string Name { get; }

    /// <summary>What is done, in one line.</summary>
    string Work { get; }

    /// <summary>Whom Exo is compared with.</summary>
    string Peer { get; }

    /// <summary>The unit of the figures.</summary>
    string Unit { get; }

    /// <summary>Requests per second are better when they are more; seconds when they are fewer.</summary>
    bool MoreIsBetter { get; }

    /// <summary>What this machine lacks, or null.</summary>
    string? Missing();

    /// <summary>Makes what the rounds need.</summary>
    void Prepare(WorkFolder folder);

    /// <summary>One round of Exo.</summary>
    double RunExo();

    /// <summary>One round of the peer.</summary>
    double RunPeer();
}
