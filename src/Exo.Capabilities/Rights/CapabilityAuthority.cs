// SPDX-License-Identifier: MIT
namespace Exo.Capabilities;

/// <summary>
/// The source of all capabilities of one machine. Capabilities of different authorities never dominate one another, so that two machines in one
/// process cannot be played off against each other. Whoever holds <see cref="Root"/> holds everything below this authority. Thread-safe.
/// </summary>
public sealed class CapabilityAuthority
{
    private CapabilityAuthority()
    {
        Root = new Capability(this, CapabilityName.Root, Rights.All);
    }

    /// <summary>The root capability: the empty name with all rights.</summary>
    public Capability Root { get; }

    /// <summary>Guards the trees of forged capabilities. Checks never take it.</summary>
    internal Lock Forging { get; } = new();

    /// <summary>Makes a new authority.</summary>
    public static CapabilityAuthority Create() => new();
}
