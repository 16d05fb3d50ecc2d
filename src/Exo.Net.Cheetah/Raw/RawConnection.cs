// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Raw;

/// <summary>One client on the own stack. What has come in part waits in the connection's receive queue, and what has not left in its send queue: nothing is kept here.</summary>
internal sealed class RawConnection(TcpConnection tcp) : HttpConnection
{
    public TcpConnection Tcp { get; } = tcp;

    public override InternetAddress RemoteAddress => Tcp.Key.Remote;

    /// <summary>Its place in the reactor's list.</summary>
    public int Index;

    /// <summary>Bytes given to the stack.</summary>
    public long QueuedBytes;

    /// <summary>No more is read until the client has taken some of what it was sent.</summary>
    public bool WaitsForRoom;

    /// <summary>The last response has been queued; the stack ends the connection.</summary>
    public bool IsClosing;

    /// <summary>The last request is one that a handler could have answered: it may answer the next.</summary>
    public bool IsAnswerable;

    public override IPEndPoint RemoteEndPoint => Tcp.RemoteEndPoint;

    public override bool IsFromLoopback => false;

    /// <summary>Bytes the client has acknowledged, but for answers of a handler that the stack has not heard of.</summary>
    public long AcknowledgedBytes => QueuedBytes + Tcp.TakenOverBytes - Tcp.QueuedBytes;
}

/// <summary>One connection waiting for one lookup.</summary>
internal sealed class RawTicket(RawReactor reactor, RawConnection connection) : IDocumentWaiter
{
    public void Complete(DocumentResult result) => reactor.Post(() => RawReactor.OnDocument(this, connection, result));
}
