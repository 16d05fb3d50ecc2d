// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Http;

/// <summary>Which time is running on a connection.</summary>
internal enum DeadlineKind : byte
{
    Idle,
    Request,
    Document,
    Send,
    Linger,
}

/// <summary>What HTTP remembers of one client, on whatever transport. One thread.</summary>
internal abstract class HttpConnection
{
    public RequestParser Parser;

    /// <summary>Who the client is. On sockets only while there is a log.</summary>
    public abstract InternetAddress RemoteAddress { get; }

    /// <summary>The body behind that head, where it is chunked and somebody wants it.</summary>
    public ChunkedBody Chunked;

    /// <summary>Bytes of a body still to be read past.</summary>
    public long BodyBytesToSkip;

    /// <summary>The lookup has come back; the request waiting for it is the first in what has come and is kept.</summary>
    public bool HasArrived;
    public DocumentResult Arrived;

    /// <summary>What is waited for, or has come, is the page for this status; 0 = it is the document that was asked for.</summary>
    public int PageStatus;

    /// <summary>The lookup being waited for; null when none, so that a late answer is known.</summary>
    public IDocumentWaiter? Ticket;

    /// <summary>The response under way whose document is not at hand whole; null when none. Until it has begun, its request is the first in what has come, and waits.</summary>
    public ResponseFlow? Flow;

    /// <summary>How often the document of the first request in what has come was not any more what it had been.</summary>
    public int ChangedCount;

    /// <summary>Bytes may be unread when it closes: who closes at once would reset, and that could destroy the response.</summary>
    public bool LingersBeforeClose;

    /// <summary>No more requests are read; close when all is sent.</summary>
    public bool ClosesAfterSend;

    /// <summary>The client has been told to send the body of its next request.</summary>
    public bool HasSaidContinue;

    public DeadlineKind DeadlineKind;
    public long DeadlineMs;

    /// <summary>Bytes this connection has been sent, and how many of them when its pace was last judged.</summary>
    public long SentBytes;
    public long SentBytesAtJudgement;

    /// <summary>The client's address and port.</summary>
    public abstract IPEndPoint RemoteEndPoint { get; }

    /// <summary>The client is on this machine.</summary>
    public abstract bool IsFromLoopback { get; }

    // The wheel's links.
    public long WheelTick = -1;
    public HttpConnection? WheelNext;
    public HttpConnection? WheelPrevious;
}
