// SPDX-License-Identifier: MIT
using Exo.Core.Environments;
using Exo.Core.PacketFilters;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.Net;

/// <summary>
/// A port that an environment has, as a secure binding: filters by which its packets, and messages about packets sent from it, come to the environment. It ends by <see cref="Dispose"/>, by
/// revocation or with its environment.
/// </summary>
public sealed class PortBinding : IDisposable
{
    private readonly InterfacePorts _ports;

    internal PortBinding(InterfacePorts ports, ulong number, ExoEnvironment owner, byte protocol, ushort port)
    {
        _ports = ports;
        Number = number;
        Owner = owner;
        Protocol = protocol;
        Port = port;
    }

    /// <summary>Who has it; charged for it as <see cref="ResourceKind.Ports"/>, and for each of its filters.</summary>
    public ExoEnvironment Owner { get; }

    /// <summary>The protocol's number.</summary>
    public byte Protocol { get; }

    /// <summary>The port.</summary>
    public ushort Port { get; }

    /// <summary>Its physical name: counted from 1 in the order of binding, never used again.</summary>
    public ulong Number { get; }

    /// <summary>Whether packets of the port come by it still.</summary>
    public bool IsValid => Filters.Count > 0 && Filters.TrueForAll(static filter => filter.IsInstalled);

    internal List<InstalledFilter> Filters { get; } = [];

    /// <summary>Sockets of the kernel's that are bound to the port, so that it gives it to nobody.</summary>
    internal List<SafeFileHandle> Reservations { get; } = [];

    /// <summary>Gives the port back. Twice is once.</summary>
    public void Dispose() => _ports.GiveBack(this);

    /// <inheritdoc/>
    public override string ToString() => $"port {Port} of {Owner}";
}
