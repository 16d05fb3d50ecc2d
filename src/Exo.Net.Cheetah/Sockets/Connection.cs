// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Sockets;

/// <summary>
/// One client. Only its reactor's thread touches it. An idle connection keeps no buffer: bytes are kept only when a request
/// has come in part, or must wait for the responses before it.
/// <code>
/// open ──request──> (waits for a document) ──> (waits for the socket) ──> open
///   └── close asked, error, limit ──> sends what is left ──> lingers until the peer closes ──> closed
/// </code>
/// </summary>
internal sealed class Connection(int slot) : HttpConnection
{
    private InternetAddress remoteAddress;

    /// <summary>Index in the reactor's table.</summary>
    public int Slot { get; } = slot;

    /// <summary>Changes with each use of the slot, so that an event of a former use is known.</summary>
    public uint Generation;

    /// <summary>The descriptor; -1 when closed.</summary>
    public int Socket = -1;

    public override InternetAddress RemoteAddress => remoteAddress;

    /// <summary>Bytes received and not consumed, with a buffer only while there are some.</summary>
    public byte[]? Stored;
    public int StoredBytes;

    /// <summary>Responses the socket did not take; no request is read while there are some.</summary>
    public SendQueue? Pending;

    /// <summary>Only waiting for the peer to close.</summary>
    public bool IsLingering;

    /// <summary>The peer has sent its last byte.</summary>
    public bool PeerHasClosed;

    /// <summary>epoll reported a hang-up: read until the end, a short read is not the end.</summary>
    public bool HangUpSeen;

    /// <summary>In the reactor's list of connections that have more to do.</summary>
    public bool IsReady;

    public override IPEndPoint RemoteEndPoint => ListeningSocket.PeerOf(Socket);

    public override bool IsFromLoopback => IPAddress.IsLoopback(RemoteEndPoint.Address);

    /// <summary>Makes the object new for another client.</summary>
    public void Reset(int socket, InternetAddress remote)
    {
        Invariant.Check(Socket < 0 && Pending is null && Ticket is null && Flow is null && Stored is null && WheelTick < 0);
        Socket = socket;
        remoteAddress = remote;
        Parser = default;
        Chunked = default;
        StoredBytes = 0;
        BodyBytesToSkip = 0;
        HasArrived = HasSaidContinue = ClosesAfterSend = LingersBeforeClose = IsLingering = PeerHasClosed = HangUpSeen = false;
        Arrived = default;
        ChangedCount = 0;
        SentBytes = SentBytesAtJudgement = 0;
    }
}
