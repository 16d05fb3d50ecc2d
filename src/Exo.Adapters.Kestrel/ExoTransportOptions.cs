// SPDX-License-Identifier: MIT
using Exo.Core.Net;
using Exo.Net.Cheetah;

namespace Exo.Adapters.Kestrel;

/// <summary>Settings of an <see cref="ExoTransportFactory"/>.</summary>
public sealed class ExoTransportOptions
{
    /// <summary>The interface, up, for the transport alone. It stays the caller's, who disposes of it after the host. Its frames hold packets and what is sent until it is acknowledged.</summary>
    public NetworkDevice? Device { get; set; }

    /// <summary>Addresses and limits of the TCP/IP stack on it.</summary>
    public NetworkStackOptions? Network { get; set; }

    /// <summary>Connections that may wait to be accepted, for each endpoint (512); one more is reset.</summary>
    public int Backlog { get; set; } = 512;

    /// <summary>How long the stack goes on after the host has stopped, so that what was sent last is acknowledged, or sent again if it was lost (1 s). It ends as soon as no connection is left.</summary>
    public TimeSpan LingerTime { get; set; } = TimeSpan.FromSeconds(1);
}
