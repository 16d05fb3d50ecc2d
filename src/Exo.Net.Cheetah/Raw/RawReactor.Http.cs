// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Tcp;

namespace Exo.Net.Cheetah.Raw;

/// <summary>Requests and responses: what the stack calls for one connection.</summary>
internal sealed partial class RawReactor
{
    /// <summary>Bytes queued to a client beyond which its next request waits.</summary>
    private const long QueuedBytesMax = 1 << 20;

    private const int LingerMs = 5000;

    void ITcpHandler.OnOpened(TcpConnection connection)
    {
        if (openCount >= Options.ConnectionsMax || isDraining)
        {
            refusedConnectionCount++;
            connection.Abort();
            return;
        }

        var client = new RawConnection(connection) { Index = connections.Count };
        connection.Tag = client;
        connections.Add(client);
        acceptedCount++;
        openCount++;
        SetDeadline(client, DeadlineKind.Idle, Options.IdleTimeout);
    }

    int ITcpHandler.OnReceived(TcpConnection connection, ReadOnlySpan<byte> bytes)
    {
        if (connection.Tag is not RawConnection client || client.IsClosing)
        {
            return bytes.Length;
        }

        queue.Current = client;
        client.IsAnswerable = false;
        int used = Consume(client, bytes);
        while (client.Flow is { HasBegun: true } && TryFinish(client) && !client.ClosesAfterSend && used < bytes.Length)
        {
            used += Consume(client, bytes[used..]);
        }

        queue.Current = null;
        connection.MayBeLent = client.IsAnswerable && used == bytes.Length && client is { Ticket: null, Flow: null, WaitsForRoom: false, ClosesAfterSend: false };
        if (queue.HasFailed)
        {
            queue.HasFailed = false;
            abortedCount++;
            connection.Abort();
            return 0;
        }

        if (client.ClosesAfterSend && client.Flow is null)
        {
            CloseAfterSend(client);
            return bytes.Length;
        }

        if (client.Ticket is not null || client.Flow is not null || client.WaitsForRoom)
        {
            connection.PauseReceive();
        }
        else if (connection.QueuedBytes > 64 * 1024)
        {
            Watch(client);
        }
        else if (used == bytes.Length && client.BodyBytesToSkip == 0)
        {
            SetDeadline(client, DeadlineKind.Idle, Options.IdleTimeout);
        }
        else if (client.DeadlineKind != DeadlineKind.Request)
        {
            SetDeadline(client, DeadlineKind.Request, Options.RequestTimeout);
        }

        return used;
    }

    void ITcpHandler.OnAcknowledged(TcpConnection connection)
    {
        if (connection.Tag is not RawConnection client)
        {
            return;
        }

        if (client.Flow is { HasBegun: true })
        {
            GoOn(client);
        }
        else if (client.WaitsForRoom && connection.QueuedBytes < QueuedBytesMax / 2)
        {
            client.WaitsForRoom = false;
            if (client.Ticket is null)
            {
                connection.ResumeReceive();
            }
        }
    }

    void ITcpHandler.OnPeerClosed(TcpConnection connection)
    {
        // A client that closes its side may still wait for what it has asked for.
        if (connection.Tag is RawConnection { Flow: null } client)
        {
            CloseAfterSend(client);
        }
        else if (connection.Tag is RawConnection sentTo)
        {
            sentTo.ClosesAfterSend = true;
        }
    }

    void ITcpHandler.OnClosed(TcpConnection connection, TcpCloseReason reason)
    {
        if (connection.Tag is not RawConnection client)
        {
            return;
        }

        abortedCount += reason is TcpCloseReason.Reset or TcpCloseReason.TimedOut ? 1 : 0;
        connection.Tag = null;
        Wheel.Remove(client);
        client.Ticket = null;
        EndFlow(client);
        client.Arrived.Document?.Release();
        client.Arrived = default;
        client.HasArrived = false;
        RawConnection last = connections[^1];
        connections[client.Index] = last;
        last.Index = client.Index;
        connections.RemoveAt(connections.Count - 1);
        openCount--;
    }

    /// <summary>A lookup has come back, perhaps for a connection that waits no more.</summary>
    public static void OnDocument(RawTicket ticket, RawConnection client, DocumentResult result)
    {
        if (client.Ticket != ticket || client.Tcp.Tag != client)
        {
            result.Document?.Release();
            return;
        }

        client.Ticket = null;
        client.HasArrived = true;
        client.Arrived = result;
        client.DeadlineKind = DeadlineKind.Idle;
        if (!client.WaitsForRoom)
        {
            client.Tcp.ResumeReceive();
        }
    }

    protected override bool MayAnswer(HttpConnection connection)
    {
        var client = (RawConnection)connection;
        if (client.Flow is { HasBegun: true })
        {
            return false;
        }

        if (client.Tcp.QueuedBytes < QueuedBytesMax)
        {
            return !queue.HasFailed;
        }

        client.WaitsForRoom = true;
        Watch(client);
        return false;
    }

    protected override IDocumentWaiter MakeTicket(HttpConnection connection) => new RawTicket(this, (RawConnection)connection);

    // The FIN rides on the last segment of the response; what the client still sends is thrown away (RFC 9112 section 9.6).
    private void CloseAfterSend(RawConnection client)
    {
        if (client.IsClosing)
        {
            return;
        }

        client.IsClosing = true;
        Watch(client);
        client.Tcp.Close();
    }

    private void Watch(RawConnection client)
    {
        client.SentBytesAtJudgement = client.AcknowledgedBytes;
        SetDeadline(client, DeadlineKind.Send, client.Tcp.QueuedBytes > 0 ? Options.SendTimeout : TimeSpan.FromMilliseconds(LingerMs));
    }

    private void OnDeadline(RawConnection client)
    {
        if (HasBeenAnswered(client))
        {
            return;
        }

        if (client.Flow is { HasBegun: true } && client.Tcp.QueuedBytes == 0)
        {
            // It is the document that stands still.
            if (client.DeadlineKind != DeadlineKind.Document)
            {
                SetDeadline(client, DeadlineKind.Document, Options.DocumentTimeout);
                return;
            }

            timeOutCount++;
            client.Tcp.Abort();
            return;
        }

        if (client.Tcp.QueuedBytes > 0 && client.DeadlineKind != DeadlineKind.Document)
        {
            // Slow is allowed, standing still is not.
            bool keepsPace = client.AcknowledgedBytes - client.SentBytesAtJudgement >= Options.SendTimeout.TotalSeconds * Options.SendBytesPerSecondMin;
            if (keepsPace || client.DeadlineKind != DeadlineKind.Send)
            {
                Watch(client);
                return;
            }
        }
        else if (client.DeadlineKind is DeadlineKind.Request or DeadlineKind.Document && client.BodyBytesToSkip == 0 && !client.IsClosing)
        {
            timeOutCount++;
            queue.Current = client;
            Refuse(client, client.Tcp.Received is { } received ? received.Bytes : default, client.DeadlineKind == DeadlineKind.Request ? 408 : 503);
            queue.Current = null;
            queue.HasFailed = false;
            client.Ticket = null;
            CloseAfterSend(client);
            return;
        }
        else if (client.DeadlineKind == DeadlineKind.Send && !client.IsClosing)
        {
            SetDeadline(client, DeadlineKind.Idle, Options.IdleTimeout);
            return;
        }

        if (client.DeadlineKind == DeadlineKind.Idle && !client.IsClosing)
        {
            timeOutCount++;
            CloseAfterSend(client);
            return;
        }

        if (client.IsClosing && client.Tcp.State == TcpState.FinWait2)
        {
            // Everything has arrived, and the client, which may be slow to read it, has not closed. It is forgotten without a word: a reset would take from it what it has not read.
            stack.Tcp.Close(client.Tcp, TcpCloseReason.Aborted);
            return;
        }

        timeOutCount += client.IsClosing && client.Tcp.QueuedBytes == 0 ? 0 : 1;
        client.Tcp.Abort();
    }
}
