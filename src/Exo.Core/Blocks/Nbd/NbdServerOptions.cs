// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Security;

namespace Exo.Core.Blocks.Nbd;

/// <summary>What a <see cref="NbdServer"/> serves, where, and to whom.</summary>
public sealed class NbdServerOptions
{
    /// <summary>An <see cref="IPEndPoint"/> (port 0 takes a free one) or a UNIX socket's.</summary>
    public EndPoint EndPoint { get; init; } = new IPEndPoint(IPAddress.Loopback, NbdProtocol.DefaultPort);

    /// <summary>The export's name. A client that asks for the empty name, the default export, gets it too.</summary>
    public string ExportName { get; init; } = "";

    /// <summary>Refuse every change, whatever the device would take.</summary>
    public bool ReadOnly { get; init; }

    /// <summary>Clients at a time; further ones are turned away. Each has one thread and up to some 40 MiB of frames while it asks for that much.</summary>
    public int ConnectionsMax { get; init; } = 64;

    /// <summary>How long a client may take to negotiate, in milliseconds.</summary>
    public int HandshakeTimeoutMs { get; init; } = 10_000;

    /// <summary>With a certificate, TLS is offered and, unless <see cref="IsTlsOptional"/>, demanded.</summary>
    public SslServerAuthenticationOptions? Tls { get; init; }

    /// <summary>Serve clients without TLS too.</summary>
    public bool IsTlsOptional { get; init; }

    internal void Validate()
    {
        ArgumentNullException.ThrowIfNull(EndPoint);
        ArgumentNullException.ThrowIfNull(ExportName);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(System.Text.Encoding.UTF8.GetByteCount(ExportName), NbdProtocol.StringBytesMax, nameof(ExportName));
        ArgumentOutOfRangeException.ThrowIfLessThan(ConnectionsMax, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(HandshakeTimeoutMs, 1);
    }
}
