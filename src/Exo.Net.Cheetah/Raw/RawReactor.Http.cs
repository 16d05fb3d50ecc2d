// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Tcp;

namespace Exo.Net.Cheetah.Raw;

/// <summary>Requests and responses: what the stack calls for one connection.</summary>
internal sealed partial class RawReactor : ITcpHandler
{
    /// <summary>Bytes queued to a client beyond which its next request waits.</summary>
    private const long QueuedBytesMax = 1 << 20;

    private const int LingerMs = 5000, StatusWaiting = 0;

    private static ReadOnlySpan<byte> IndexName => "index.html"u8;

    void ITcpHandler.OnOpened(TcpConnection connection)
    {
        if (openCount >= options.ConnectionsMax || isDraining)
        {
            connection.Abort();
            return;
        }

        var client = new RawConnection(connection);
        connection.Tag = client;
        connections.Add(client);
        acceptedCount++;
        openCount++;
        SetDeadline(client, DeadlineKind.Idle, options.IdleTimeout);
    }

    int ITcpHandler.OnReceived(TcpConnection connection, ReadOnlySpan<byte> bytes)
    {
        if (connection.Tag is not RawConnection client || client.IsClosing)
        {
            return bytes.Length;
        }

        queue.Current = client;
        int used = Consume(client, bytes);
        queue.Current = null;
        if (queue.HasFailed)
        {
            queue.HasFailed = false;
            abortedCount++;
            connection.Abort();
            return 0;
        }

        if (client.ClosesAfterSend)
        {
            CloseAfterSend(client);
            return bytes.Length;
        }

        if (client.Ticket is not null || client.WaitsForRoom)
        {
            connection.PauseReceive();
        }
        else if (connection.QueuedBytes > 64 * 1024)
        {
            Watch(client);
        }
        else if (used == bytes.Length && client.BodyBytesToSkip == 0)
        {
            SetDeadline(client, DeadlineKind.Idle, options.IdleTimeout);
        }
        else if (client.DeadlineKind != DeadlineKind.Request)
        {
            SetDeadline(client, DeadlineKind.Request, options.RequestTimeout);
        }

        return used;
    }

    void ITcpHandler.OnAcknowledged(TcpConnection connection)
    {
        if (connection.Tag is RawConnection { WaitsForRoom: true } client && connection.QueuedBytes < QueuedBytesMax / 2)
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
        if (connection.Tag is RawConnection client)
        {
            CloseAfterSend(client);
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
        wheel.Remove(client);
        client.Ticket = null;
        client.Arrived.Document?.Release();
        client.Arrived = default;
        client.HasArrived = false;
        connections.Remove(client);
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

    // Answers the requests in data, as many as are whole. Returns how many bytes are done with.
    private int Consume(RawConnection client, ReadOnlySpan<byte> data)
    {
        int used = 0;
        while (used < data.Length && !client.ClosesAfterSend && !queue.HasFailed)
        {
            if (client.BodyBytesToSkip > 0)
            {
                int skipped = (int)Math.Min(client.BodyBytesToSkip, data.Length - used);
                client.BodyBytesToSkip -= skipped;
                used += skipped;
                continue;
            }

            if (client.Tcp.QueuedBytes >= QueuedBytesMax)
            {
                client.WaitsForRoom = true;
                Watch(client);
                break;
            }

            ReadOnlySpan<byte> request = data[used..];
            ParseStatus status = client.Parser.Advance(request, limits);
            if (status == ParseStatus.NeedMore)
            {
                break;
            }

            if (status == ParseStatus.Refused)
            {
                refusedCount++;
                responder.Page(queue, client.Parser.RefusalStatus, isHead: false, closes: true, saysKeepAlive: false);
                client.ClosesAfterSend = true;
                return data.Length;
            }

            if (!Answer(client, client.Parser.Head, request))
            {
                break;   // waits for its document; read again when that has come
            }

            used += client.Parser.Head.LengthBytes;
            client.Parser = default;
            client.DeadlineKind = DeadlineKind.Idle;
        }

        return used;
    }

    // Writes the response to one whole request. False when its document must be waited for.
    private bool Answer(RawConnection client, in RequestHead head, ReadOnlySpan<byte> request)
    {
        bool bodyEnds = Responder.BodyEndsConnection(head, options.DiscardedBodyBytesMax);
        bool closes = !head.KeepsConnection || bodyEnds || isDraining;
        bool saysKeepAlive = !head.IsHttp11 && !closes;
        bool isHead = head.Method == Method.Head;
        int status = Responder.StatusByMethodAndBody(head, options.DiscardedBodyBytesMax);
        if (status == 0)
        {
            status = TryFind(client, head, request, out DocumentResult found, out ReadOnlySpan<byte> path);
            switch (status)
            {
                case StatusWaiting:
                    return false;
                case 200:
                    responder.Document(queue, head, request, found.Document!, closes, saysKeepAlive);
                    break;
                case 308 when responder.TryRedirectToFolder(queue, head, path, head.Query.In(request), closes, saysKeepAlive):
                    break;
                default:
                    responder.Page(queue, status == 308 ? 414 : status, isHead, closes, saysKeepAlive);
                    break;
            }
        }
        else
        {
            responder.Page(queue, status, isHead, closes, saysKeepAlive);
        }

        requestCount++;
        client.ClosesAfterSend = closes;
        client.BodyBytesToSkip = closes ? 0 : head.ContentLengthBytes;
        return true;
    }

    // The status a target comes to; with 200 a document, retained; with 308 the path of the folder.
    private int TryFind(RawConnection client, in RequestHead head, ReadOnlySpan<byte> request, out DocumentResult found, out ReadOnlySpan<byte> path)
    {
        found = default;
        path = default;
        if (!TargetPath.TryDecode(head.Path.In(request), pathRoom, out int lengthBytes))
        {
            return 400;
        }

        if (pathRoom[lengthBytes - 1] == '/')
        {
            IndexName.CopyTo(pathRoom.AsSpan(lengthBytes));
            lengthBytes += IndexName.Length;
        }

        path = pathRoom.AsSpan(0, lengthBytes);
        if (client.HasArrived)
        {
            found = client.Arrived;
            client.HasArrived = false;
            client.Arrived = default;
        }
        else if (cache.TryGet(path, out Document? document))
        {
            hitCount++;
            return Found(out found, document);
        }
        else
        {
            var ticket = new RawTicket(this, client);
            client.Ticket = ticket;
            if (!cache.TryLoad(path, ticket, out found))
            {
                SetDeadline(client, DeadlineKind.Document, options.DocumentTimeout);
                return StatusWaiting;
            }

            client.Ticket = null;
        }

        return found.Status switch
        {
            DocumentResultStatus.Found => 200,
            DocumentResultStatus.NotFound => 404,
            DocumentResultStatus.Folder => 308,
            DocumentResultStatus.Unavailable => 503,
            _ => 500,
        };
    }

    private static int Found(out DocumentResult found, Document document)
    {
        found = new DocumentResult(DocumentResultStatus.Found, document);
        return 200;
    }

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
        SetDeadline(client, DeadlineKind.Send, client.Tcp.QueuedBytes > 0 ? options.SendTimeout : TimeSpan.FromMilliseconds(LingerMs));
    }

    private void OnDeadline(RawConnection client)
    {
        if (client.Tcp.QueuedBytes > 0 && client.DeadlineKind != DeadlineKind.Document)
        {
            // Slow is allowed, standing still is not.
            bool keepsPace = client.AcknowledgedBytes - client.SentBytesAtJudgement >= options.SendTimeout.TotalSeconds * options.SendBytesPerSecondMin;
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
            responder.Page(queue, client.DeadlineKind == DeadlineKind.Request ? 408 : 503, isHead: false, closes: true, saysKeepAlive: false);
            queue.Current = null;
            queue.HasFailed = false;
            client.Ticket = null;
            CloseAfterSend(client);
            return;
        }
        else if (client.DeadlineKind == DeadlineKind.Send && !client.IsClosing)
        {
            SetDeadline(client, DeadlineKind.Idle, options.IdleTimeout);
            return;
        }

        if (client.DeadlineKind == DeadlineKind.Idle && !client.IsClosing)
        {
            timeOutCount++;
            CloseAfterSend(client);
            return;
        }

        timeOutCount += client.IsClosing && client.Tcp.QueuedBytes == 0 ? 0 : 1;
        client.Tcp.Abort();
    }

    private void SetDeadline(RawConnection client, DeadlineKind kind, TimeSpan after)
    {
        client.DeadlineKind = kind;
        wheel.Set(client, nowMs + (long)after.TotalMilliseconds);
    }
}
