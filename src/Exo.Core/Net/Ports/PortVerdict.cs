// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Environments;

namespace Exo.Core.Net;

/// <summary>Why a port was not bound. A closed list.</summary>
public enum PortRefusal : byte
{
    /// <summary>It was.</summary>
    None = 0,

    /// <summary>No capability that was presented dominates one that the port was granted to.</summary>
    Access = 1,

    /// <summary>Somebody has it: another binding, a filter that may accept its packets, or a socket of the kernel's.</summary>
    Taken = 2,

    /// <summary>A quota stands against it.</summary>
    Quota = 3,
}

/// <summary>The answer to a request for a port.</summary>
/// <param name="Refusal">The rule that stood against it, or none.</param>
/// <param name="Protocol">The protocol's number.</param>
/// <param name="Port">The port.</param>
/// <param name="Access">With <see cref="PortRefusal.Access"/>: the rule of the guard.</param>
/// <param name="Holder">With <see cref="PortRefusal.Taken"/>: who has it; null: the kernel.</param>
/// <param name="Quota">With <see cref="PortRefusal.Quota"/>: whose.</param>
public readonly record struct PortVerdict(PortRefusal Refusal, byte Protocol, ushort Port, AccessRefusal Access = default, ExoEnvironment? Holder = null, QuotaVerdict Quota = default)
{
    /// <summary>True when the port is bound.</summary>
    public bool IsBound => Refusal == PortRefusal.None;

    /// <summary>For people.</summary>
    public override string ToString() => Refusal switch
    {
        PortRefusal.None => $"port {Port} is bound",
        PortRefusal.Access => $"port {Port} is not granted to who asks for it ({Access})",
        PortRefusal.Taken when Holder is null => $"port {Port} is taken: another program of this machine has it",
        PortRefusal.Taken => $"port {Port} is taken by {Holder}",
        _ => $"port {Port} is beyond the quota of {Quota.LimitedBy} ({Quota.Refusal})",
    };
}

/// <summary>A port was refused.</summary>
public sealed class PortRefusedException(PortVerdict verdict) : IOException($"Refused: {verdict}.")
{
    /// <summary>Which port, and the rule that stood against it.</summary>
    public PortVerdict Verdict { get; } = verdict;
}
