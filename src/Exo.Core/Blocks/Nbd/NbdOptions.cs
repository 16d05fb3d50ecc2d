// SPDX-License-Identifier: MIT
using System.Net.Security;

namespace Exo.Core.Blocks.Nbd;

/// <summary>How an export of an NBD server is used; beside <see cref="BlockDeviceOptions"/>, whose read-only wish and queue depth apply.</summary>
public sealed class NbdOptions
{
    /// <summary>
    /// Connections, 1 to 16. More than one is used only where the server promises that a flush on one covers all
    /// (NBD_FLAG_CAN_MULTI_CONN). The queue depth is that of each.
    /// </summary>
    public int Connections { get; init; } = 1;

    /// <summary>How long connecting and negotiating may take, in milliseconds.</summary>
    public int ConnectTimeoutMs { get; init; } = 10_000;

    /// <summary>
    /// After a connection broke: for how long a new one is tried before every request fails, in milliseconds. What was not
    /// acknowledged is sent again on the new one. The time runs until a server answers a request. 0: never.
    /// </summary>
    public int ReconnectTimeoutMs { get; init; } = 30_000;

    /// <summary>A server that owes answers and sends nothing for so many milliseconds counts as gone; 0: wait for ever.</summary>
    public int ReplyTimeoutMs { get; init; } = 60_000;

    /// <summary>
    /// For <c>nbds:</c> URIs: certificates to present, how the server's is judged. Null: the system's trust, the URI's host name.
    /// </summary>
    public SslClientAuthenticationOptions? Tls { get; init; }

    /// <summary>The clock of the time limits on reconnection.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    internal void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(Connections, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(Connections, 16);
        ArgumentOutOfRangeException.ThrowIfLessThan(ConnectTimeoutMs, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(ReconnectTimeoutMs);
        ArgumentOutOfRangeException.ThrowIfNegative(ReplyTimeoutMs);
        ArgumentNullException.ThrowIfNull(TimeProvider);
    }
}
