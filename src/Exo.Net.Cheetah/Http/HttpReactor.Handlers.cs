// SPDX-License-Identifier: MIT
using System.Numerics;

namespace Exo.Net.Cheetah.Http;

/// <summary>
/// Requests that the application answers. Unlike a document's, the body is wanted: the request comes again until it is whole, as one does that waits for a document.
/// <code>
/// path ─> route ─> method ─> (100 Continue) ─> whole? ─> handler ───────────────────────> response
///                     └> 405                             └> deferred: ticket ─> handler ─┘
/// </code>
/// </summary>
internal abstract partial class HttpReactor
{
    private readonly HandlerRoutes handlers;
    private readonly ResponseBuffer handled;
    private byte[] bodyRoom = [];
    private long handledCount, handlerFailureCount;

    /// <summary>Requests that handlers answered, failures included.</summary>
    protected long HandledCount => Volatile.Read(ref handledCount);

    /// <summary>Of those, how many handlers failed at.</summary>
    protected long HandlerFailureCount => Volatile.Read(ref handlerFailureCount);

    /// <summary>Bytes a request may have that must be at hand whole.</summary>
    protected static int RequestBytesMax(CheetahServerOptions options, HandlerRoutes handlers) =>
        options.RequestHeadBytesMax + (handlers.IsEmpty ? 0 : options.HandlerBodyBytesMax);

    // A target that has no path, or none that can be decoded, is nobody's: it is refused as ever.
    private HandlerRoute? FindHandlers(scoped in RequestHead head, scoped ReadOnlySpan<byte> request, out ReadOnlySpan<byte> path)
    {
        path = default;
        if (head.Form is TargetForm.Authority or TargetForm.Asterisk || !TargetPath.TryDecode(head.Path.In(request), pathRoom, out int lengthBytes))
        {
            return null;
        }

        path = pathRoom.AsSpan(0, lengthBytes);
        return handlers.Find(path);
    }

    // As Answer. False also when more of the body has to come.
    private bool AnswerByHandler(HttpConnection connection, in RequestHead head, ReadOnlySpan<byte> request, ReadOnlySpan<byte> path, HandlerRoute route)
    {
        HandlerEntry? entry = route.Find(CheetahRequest.MethodOf(head, request));
        int status = entry is null ? (head.Method == Method.Unknown ? 501 : 405)
            : head.ExpectsUnknown ? 417
            : head.ContentLengthBytes > Options.HandlerBodyBytesMax ? 413
            : 0;
        if (status == 0)
        {
            ParseStatus arrival = head.IsChunked ? connection.Chunked.Advance(request[head.LengthBytes..], Options.HandlerBodyBytesMax, limits.FieldCount)
                : request.Length - head.LengthBytes < head.ContentLengthBytes ? ParseStatus.NeedMore
                : ParseStatus.Complete;
            if (arrival == ParseStatus.NeedMore)
            {
                SayContinue(connection, head);
                return false;
            }

            status = arrival == ParseStatus.Refused ? connection.Chunked.RefusalStatus : 0;
        }

        bool bodyEnds = status != 0 && Responder.BodyEndsConnection(head, Options.DiscardedBodyBytesMax);
        if (status == 0)
        {
            var asked = new CheetahRequest(connection, head, request, path, BodyOf(connection, head, request));
            CheetahHandler? handler = entry!.Handler ?? Prepared(connection, asked, entry.Deferred!);
            if (connection.Ticket is not null)
            {
                return false;
            }

            status = handler is not null && Run(handler, asked) ? 0 : 500;
        }

        bool closes = !head.KeepsConnection || bodyEnds || ClosesAll, saysKeepAlive = !head.IsHttp11 && !closes, isHead = head.Method == Method.Head;
        Document? body = null;
        if (status == 0 && !isHead && !Responder.IsOnePiece(handled) && (body = Cache.TryHouse(handled.BodyMemory)) is null)
        {
            status = 503;
        }

        ResponseOutcome outcome;
        if (status == 0)
        {
            outcome = Responder.Handled(Responses, handled, body, isHead, closes, saysKeepAlive);
        }
        else if (status == 405)
        {
            outcome = Responder.Page(Responses, 405, route.NotAllowed, isHead, closes, saysKeepAlive);
        }
        else
        {
            outcome = Responder.Page(Responses, status, isHead, closes, saysKeepAlive);
        }

        handledCount++;
        connection.HasSaidContinue = false;
        EndRequest(connection, head, request, outcome, closes, bodyEnds);
        return true;
    }

    // Chunks are put together in one piece of memory of the reactor's, which is as long as the longest so far.
    private ReadOnlySpan<byte> BodyOf(HttpConnection connection, in RequestHead head, ReadOnlySpan<byte> request)
    {
        if (!head.IsChunked)
        {
            return request.Slice(head.LengthBytes, (int)head.ContentLengthBytes);
        }

        int lengthBytes = connection.Chunked.DataBytes;
        if (bodyRoom.Length < lengthBytes)
        {
            bodyRoom = new byte[(int)BitOperations.RoundUpToPowerOf2((uint)lengthBytes)];
        }

        Span<byte> body = bodyRoom.AsSpan(0, lengthBytes);
        connection.Chunked.CopyTo(request[head.LengthBytes..], body);
        return body;
    }

    // RFC 9110 section 10.1.1; only to who waits for it, once.
    private void SayContinue(HttpConnection connection, in RequestHead head)
    {
        if (head.ExpectsContinue && !connection.HasSaidContinue)
        {
            connection.HasSaidContinue = true;
            ReadOnlySpan<byte> go = "HTTP/1.1 100 Continue\r\n\r\n"u8;
            go.CopyTo(Responses.Room);
            Responses.Add(go.Length);
        }
    }

    // Who writes the response. Null with a ticket: not known yet; without: nobody, the deferred handler has failed.
    private CheetahHandler? Prepared(HttpConnection connection, in CheetahRequest request, CheetahDeferredHandler deferred)
    {
        if (connection.HasArrived)
        {
            CheetahHandler? arrived = connection.Arrived.Handler;
            connection.HasArrived = false;
            connection.Arrived = default;
            return arrived;
        }

        try
        {
            ValueTask<CheetahHandler> preparing = deferred(request, handlers.Stopping);
            if (preparing.IsCompleted)
            {
                return OrThrow(preparing.GetAwaiter().GetResult());
            }

            IDocumentWaiter ticket = MakeTicket(connection);
            connection.Ticket = ticket;
            handlers.BeginWaiting();
            _ = PrepareAsync(preparing, ticket);
            SetDeadline(connection, DeadlineKind.Document, Options.DocumentTimeout);
        }
        catch (Exception failure) when (failure is not InvariantException)
        {
            Report(failure);
        }

        return null;
    }

    private static CheetahHandler OrThrow(CheetahHandler? handler) => handler ?? throw new InvalidOperationException("A deferred handler gave back no handler.");

    private async Task PrepareAsync(ValueTask<CheetahHandler> preparing, IDocumentWaiter ticket)
    {
        DocumentResult result = new(DocumentResultStatus.Failed);
        try
        {
            result = new DocumentResult(DocumentResultStatus.Found, Handler: OrThrow(await preparing.ConfigureAwait(false)));
        }
        catch (Exception failure) when (failure is not InvariantException)
        {
            Report(failure);
        }

        ticket.Complete(result);
        handlers.EndWaiting();
    }

    private bool Run(CheetahHandler handler, in CheetahRequest request)
    {
        handled.Reset();
        try
        {
            handler(request, new CheetahResponse(handled));
            if (handled.HasNoBody && !handled.Body.IsEmpty)
            {
                throw new InvalidOperationException($"A handler wrote a body with status {handled.Status}, which has none.");
            }

            return true;
        }
        catch (Exception failure) when (failure is not InvariantException)
        {
            Report(failure);
            return false;
        }
    }

    // On whatever thread; who is told may fail as well.
    private void Report(Exception failure)
    {
        Interlocked.Increment(ref handlerFailureCount);
        try
        {
            Options.HandlerFailed?.Invoke(failure);
        }
        catch (Exception again) when (again is not InvariantException)
        {
            // There is nobody left to tell.
        }
    }
}
