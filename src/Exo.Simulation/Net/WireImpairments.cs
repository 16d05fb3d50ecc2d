// SPDX-License-Identifier: MIT
namespace Exo.Simulation.Net;

/// <summary>
/// What a <see cref="SimulatedWire"/> does to packets. Probabilities are from 0 to 1 for every packet (of a super-packet for every segment); the default is a
/// perfect wire.
/// </summary>
public sealed record WireImpairments
{
    /// <summary>A wire that delivers everything at once.</summary>
    public static WireImpairments None { get; } = new();

    /// <summary>The packet is lost.</summary>
    public double Loss { get; init; }

    /// <summary>The packet arrives twice.</summary>
    public double Duplication { get; init; }

    /// <summary>The packet is late by <see cref="ReorderingDelay"/>, so that later ones overtake it.</summary>
    public double Reordering { get; init; }

    /// <summary>How late a reordered packet is.</summary>
    public TimeSpan ReorderingDelay { get; init; } = TimeSpan.FromMilliseconds(1);

    /// <summary>One bit behind the Ethernet header is wrong.</summary>
    public double Corruption { get; init; }

    /// <summary>How long a packet is under way, one way.</summary>
    public TimeSpan Delay { get; init; }

    /// <summary>Up to so much more, drawn for every packet. Alone it reorders nothing.</summary>
    public TimeSpan Jitter { get; init; }

    /// <summary>Bits per second of each sender; 0 = no limit. Packets wait in a queue in front of it.</summary>
    public long BitsPerSecond { get; init; }

    /// <summary>Room of that queue in bytes; a packet that does not fit is lost. 0 = no limit.</summary>
    public long QueueBytes { get; init; }

    /// <summary>The packet is marked (CE, RFC 3168 section 5) if its sender allows that (ECT); others pass.</summary>
    public double Marking { get; init; }

    /// <summary>Packets that find so many bytes waiting in the queue, or more, are marked if their sender allows that. 0 = none.</summary>
    public long MarkingQueueBytes { get; init; }

    /// <summary>
    /// The longest IP packet that gets through; a longer one vanishes (a black hole, RFC 2923 section 2.1). 0 = no limit but the devices' own.
    /// </summary>
    public int PathMtuBytes { get; init; }
}
