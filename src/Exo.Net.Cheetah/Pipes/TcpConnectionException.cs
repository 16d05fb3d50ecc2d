// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Tcp;

namespace Exo.Net.Cheetah.Pipes;

/// <summary>A connection ended before its time, or did not begin.</summary>
public sealed class TcpConnectionException : IOException
{
    internal TcpConnectionException(TcpCloseReason reason)
        : base(reason switch
        {
            TcpCloseReason.Refused => "The peer refused the connection.",
            TcpCloseReason.Reset => "The peer reset the connection.",
            TcpCloseReason.TimedOut => "The peer does not answer.",
            TcpCloseReason.Unreachable => "There is no way to the peer.",
            _ => "The connection was aborted.",
        }) => Reason = reason;

    /// <summary>Why.</summary>
    public TcpCloseReason Reason { get; }
}
