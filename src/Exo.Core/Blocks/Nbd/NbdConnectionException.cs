// SPDX-License-Identifier: MIT
using Exo.Core.Linux;

namespace Exo.Core.Blocks.Nbd;

/// <summary>Why a connection is of no more use. Stays inside: callers see a <see cref="BlockDeviceException"/> with the same number.</summary>
internal sealed class NbdConnectionException(int errno, string message) : IOException(message)
{
    /// <summary>Error number of Linux.</summary>
    public int Errno { get; } = errno;

    /// <summary>
    /// The peer said what the protocol, the export or its policy does not allow: asking again would not help. Otherwise the
    /// connection broke, which a new one may mend.
    /// </summary>
    public bool IsFinal { get; private init; }

    /// <summary>The peer broke the protocol.</summary>
    public static NbdConnectionException Violation(string what) =>
        new(Libc.ErrnoProtocol, $"the peer broke the NBD protocol: {what}") { IsFinal = true };

    /// <summary>The server refuses.</summary>
    public static NbdConnectionException Refusal(int errno, string what) => new(errno, what) { IsFinal = true };

    /// <summary>The peer has closed the connection.</summary>
    public static NbdConnectionException Closed() => new(Libc.ErrnoConnectionReset, "the peer closed the connection");
}
