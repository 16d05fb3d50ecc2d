// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// The states of a connection (RFC 9293 section 3.3.2). LISTEN is a port's, not a connection's, and TIME-WAIT is kept in a small entry of
/// its own after the connection has gone.
/// <code>
///               SYN seen                         ACK of SYN
/// (LISTEN) ────────────────&gt; SYN-RECEIVED ─────────────────&gt; ESTABLISHED ──CloseSend──&gt; FIN-WAIT-1 ──ACK──&gt; FIN-WAIT-2
///               ┌──SYN only────┘                 ┌────────────────┘ │                     │  │FIN               │FIN
/// SYN-SENT ─────┴──SYN and ACK───────────────────┘                  │FIN                  │  └─&gt; CLOSING ─ACK─┐ │
///                                                CLOSE-WAIT &lt;───────┘              FIN+ACK└─────────────────&gt; TIME-WAIT
///                                                    └──CloseSend──&gt; LAST-ACK ──ACK──&gt; CLOSED
/// </code>
/// </summary>
public enum TcpState : byte
{
    /// <summary>Over, or not begun.</summary>
    Closed,

    /// <summary>Asked for by this side.</summary>
    SynSent,

    /// <summary>Asked for by the peer, or by both at once; the own SYN is not acknowledged.</summary>
    SynReceived,

    /// <summary>Bytes flow both ways.</summary>
    Established,

    /// <summary>This side has closed; its FIN is not acknowledged, perhaps not sent.</summary>
    FinWait1,

    /// <summary>This side has closed and the peer knows; the peer may send.</summary>
    FinWait2,

    /// <summary>The peer has closed; this side may send.</summary>
    CloseWait,

    /// <summary>Both closed at once; the own FIN is not acknowledged.</summary>
    Closing,

    /// <summary>The peer closed first, then this side; the own FIN is not acknowledged.</summary>
    LastAck,

    /// <summary>Both have closed; late segments are waited for.</summary>
    TimeWait,
}

/// <summary>Why a connection is over.</summary>
public enum TcpCloseReason : byte
{
    /// <summary>Both sides have closed and everything was acknowledged.</summary>
    Graceful,

    /// <summary>The peer refused it: a reset in answer to the SYN.</summary>
    Refused,

    /// <summary>The peer reset it.</summary>
    Reset,

    /// <summary>Retransmissions, keep-alives or probes were not answered.</summary>
    TimedOut,

    /// <summary>No way to the peer.</summary>
    Unreachable,

    /// <summary>This side aborted it.</summary>
    Aborted,
}
