// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using System.Text;
using Exo.Net.Cheetah.Logging;

namespace Exo.Net.Cheetah.Http;

/// <summary>
/// From the bytes of clients to responses in a queue: what a reactor does whatever its transport is, which derives from this and says where responses go and how
/// a client waits. One thread.
/// <code>
/// bytes ─> parse ─> refuse ─> log
///                ├> the application's handler writes the response ─> log (HttpReactor.Handlers.cs)
///                └> find the document ─> respond ─> log, the next request
///                                     └> ticket: the client waits, the same bytes come again when the lookup has come back
/// </code>
/// </summary>
internal abstract partial class HttpReactor
{
    private const int StatusWaiting = 0;

    private readonly RequestLimits limits;
    private readonly byte[] pathRoom;
    private readonly AccessRing? log;
    private readonly Dictionary<int, byte[]> errorPages;

    // Written by the reactor's thread, read by any; torn reads cannot happen on 64-bit machines.
    private long requestCount, refusedCount, hitCount;

    private protected HttpReactor(CheetahServerOptions options, DocumentCache cache, HandlerRoutes handlers, AccessLog? log, bool usesPrebuiltHeads = true)
    {
        Options = options;
        Cache = cache;
        this.handlers = handlers;
        handled = new ResponseBuffer(handlers.IsEmpty ? 0 : options.HandlerResponseBytesMax);
        limits = new RequestLimits(options.RequestLineBytesMax, options.RequestHeadBytesMax, options.FieldCountMax);
        pathRoom = new byte[options.RequestLineBytesMax + IndexName.Length];
        this.log = log?.AddRing();
        errorPages = options.ErrorPages.ToDictionary(page => page.Key, page => Encoding.UTF8.GetBytes(page.Value));
        Responder = new Responder(BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong))), usesPrebuiltHeads);
    }

    /// <summary>Requests answered, with whatever status.</summary>
    protected long RequestCount => Volatile.Read(ref requestCount);

    /// <summary>Requests that were none.</summary>
    protected long RefusedCount => Volatile.Read(ref refusedCount);

    /// <summary>Documents that were at hand.</summary>
    protected long HitCount => Volatile.Read(ref hitCount);

    protected CheetahServerOptions Options { get; }

    protected DocumentCache Cache { get; }

    protected Responder Responder { get; }

    protected DeadlineWheel Wheel { get; } = new(0);

    /// <summary>Milliseconds since the reactor was made, as of this turn.</summary>
    protected long NowMs { get; set; }

    /// <summary>Every response closes its connection.</summary>
    protected abstract bool ClosesAll { get; }

    /// <summary>Where responses go now.</summary>
    protected abstract ResponseQueue Responses { get; }

    private static ReadOnlySpan<byte> IndexName => "index.html"u8;

    /// <summary>What the open connections are doing. On the reactor's thread.</summary>
    public abstract ConnectionStates CountConnections();

    /// <summary>Whether the next request of a client may be answered now; if not, its bytes come again.</summary>
    protected abstract bool MayAnswer(HttpConnection connection);

    /// <summary>Somebody who brings the answer of a lookup back to this reactor's thread.</summary>
    protected abstract IDocumentWaiter MakeTicket(HttpConnection connection);

    /// <summary>What tells this reactor, from any thread, that there is news of a response, which it hears on its own: <see cref="ResponseFlow.Wake"/>.</summary>
    protected abstract Action NewsOf(HttpConnection connection, ResponseFlow flow);

    /// <summary>A request is about to be answered with a document.</summary>
    protected virtual void OnAnswer(HttpConnection connection, in RequestHead head, ReadOnlySpan<byte> request, Document document, bool closes, bool saysKeepAlive)
    {
    }

    /// <summary>Answers the requests in data, as many as are whole. Returns how many bytes are done with.</summary>
    protected int Consume(HttpConnection connection, ReadOnlySpan<byte> data)
    {
        int used = 0;
        while (used < data.Length && !connection.ClosesAfterSend)
        {
            if (connection.BodyBytesToSkip > 0)
            {
                int skipped = (int)Math.Min(connection.BodyBytesToSkip, data.Length - used);
                connection.BodyBytesToSkip -= skipped;
                used += skipped;
                continue;
            }

            if (!MayAnswer(connection))
            {
                break;
            }

            ReadOnlySpan<byte> request = data[used..];
            ParseStatus status = connection.Parser.Advance(request, limits);
            if (status == ParseStatus.NeedMore)
            {
                break;
            }

            if (status == ParseStatus.Refused)
            {
                refusedCount++;
                Refuse(connection, request, connection.Parser.RefusalStatus);
                return data.Length;
            }

            if (!Answer(connection, connection.Parser.Head, request))
            {
                break;   // waits for its document; read again when that has come
            }

            used += connection.Parser.Head.LengthBytes;
            connection.Parser = default;
            connection.Chunked = default;
            connection.DeadlineKind = DeadlineKind.Idle;
        }

        return used;
    }

    /// <summary>A last page for what is no request, or has waited too long: the connection ends with it, and nothing behind it is read.</summary>
    protected void Refuse(HttpConnection connection, ReadOnlySpan<byte> request, int status)
    {
        EndFlow(connection);
        ResponseOutcome outcome = Responder.Page(Responses, status, isHead: false, closes: true, saysKeepAlive: false);
        connection.ClosesAfterSend = true;
        connection.LingersBeforeClose = true;
        Log(connection, request, outcome);
    }

    protected void SetDeadline(HttpConnection connection, DeadlineKind kind, TimeSpan after)
    {
        connection.DeadlineKind = kind;
        Wheel.Set(connection, NowMs + (long)after.TotalMilliseconds);
    }

    // Writes the response to one whole request. False when its document must be waited for.
    private bool Answer(HttpConnection connection, in RequestHead head, ReadOnlySpan<byte> request)
    {
        ReadOnlySpan<byte> path = default;
        if (!handlers.IsEmpty && FindHandlers(head, request, out path) is { } route)
        {
            return AnswerByHandler(connection, head, request, path, route);
        }

        bool bodyEnds = Responder.BodyEndsConnection(head, Options.DiscardedBodyBytesMax);
        bool closes = !head.KeepsConnection || bodyEnds || ClosesAll;
        bool saysKeepAlive = !head.IsHttp11 && !closes;
        bool isHead = head.Method == Method.Head;
        ResponseOutcome outcome;
        int status = Responder.StatusByMethodAndBody(head, Options.DiscardedBodyBytesMax);
        if (status == 0)
        {
            DocumentResult found = default;
            ResponseFlow? flowing = null;
            status = connection.Flow is { } flow ? StatusOf(connection, flow) : 0;
            if (status == 200)
            {
                EndRequest(connection, head, request, connection.Flow!.Outcome, connection.Flow.Closes || closes, bodyEnds);
                return true;
            }

            status = status != 0 ? status : connection.PageStatus != 0 ? connection.PageStatus : TryFind(connection, head, request, out found, ref path);
            switch (status)
            {
                case StatusWaiting:
                    return false;
                case 200:
                    Document document = AcceptedCodings.Choose(found.Document!, head, request);
                    OnAnswer(connection, head, request, document, closes, saysKeepAlive);
                    if (document != found.Document)
                    {
                        bool retained = document.TryRetain();
                        Invariant.Check(retained);   // the original holds it
                        found.Document!.Release();
                    }

                    flowing = FlowFor(document, isHead, closes);
                    outcome = Responder.Document(flowing ?? Responses, head, request, document, closes, saysKeepAlive);
                    break;
                case 308 when Responder.TryRedirectToFolder(Responses, head, path, head.Query.In(request), closes, saysKeepAlive, out outcome):
                    break;
                case 404 or 500 or 503 when errorPages.Count > 0 && connection.ChangedCount <= ChangedMax && errorPages.TryGetValue(status, out byte[]? page):
                    if (!TryFindPage(connection, status, page, out Document? of))
                    {
                        return false;
                    }

                    flowing = FlowFor(of, isHead, closes);
                    outcome = of is null ? Responder.Page(Responses, status, isHead, closes, saysKeepAlive) : Responder.ErrorPage(flowing ?? Responses, status, of, isHead, closes, saysKeepAlive);
                    break;
                default:
                    outcome = Responder.Page(Responses, status == 308 ? 414 : status, isHead, closes, saysKeepAlive);
                    break;
            }

            if (flowing is not null && !TryAnswer(connection, flowing, outcome))
            {
                return false;
            }
        }
        else
        {
            outcome = Responder.Page(Responses, status, isHead, closes, saysKeepAlive);
        }

        EndRequest(connection, head, request, outcome, closes, bodyEnds);
        return true;
    }

    private void EndRequest(HttpConnection connection, in RequestHead head, ReadOnlySpan<byte> request, ResponseOutcome outcome, bool closes, bool bodyEnds)
    {
        requestCount++;
        connection.ChangedCount = 0;
        Log(connection, request, outcome);
        connection.ClosesAfterSend = closes;
        connection.LingersBeforeClose |= bodyEnds || (closes && head.HasBody);
        connection.BodyBytesToSkip = closes ? 0 : head.IsChunked ? connection.Chunked.LengthBytes : head.ContentLengthBytes;
    }

    // A response has been decided on. The request may have come in part, or be none.
    private void Log(HttpConnection connection, ReadOnlySpan<byte> request, ResponseOutcome outcome)
    {
        if (log is not null)
        {
            ref readonly RequestHead head = ref connection.Parser.Head;
            log.Write(
                Responder.NowUnixSeconds, connection.RemoteAddress, outcome, connection.Parser.RequestLine(request, limits),
                head.Referer.Count > 0, head.Referer.In(request), head.UserAgent.Count > 0, head.UserAgent.In(request));
        }
    }

    // The document for an error's page, retained, or null where it cannot be had. False when it must be waited for.
    private bool TryFindPage(HttpConnection connection, int status, byte[] path, out Document? page)
    {
        DocumentResult found;
        if (connection.PageStatus != 0)
        {
            found = connection.Arrived;
            connection.HasArrived = false;
            connection.Arrived = default;
            connection.PageStatus = 0;
        }
        else if (Cache.TryGet(path, out Document? atHand))
        {
            found = new DocumentResult(DocumentResultStatus.Found, atHand);
        }
        else
        {
            IDocumentWaiter ticket = MakeTicket(connection);
            connection.Ticket = ticket;
            if (!Cache.TryLoad(path, ticket, out found))
            {
                connection.PageStatus = status;
                SetDeadline(connection, DeadlineKind.Document, Options.DocumentTimeout);
                page = null;
                return false;
            }

            connection.Ticket = null;
        }

        page = found.Document;
        return true;
    }

    // The status a target comes to; with 200 a document, retained; with 308 the path of the folder. The path may have been decoded already.
    private int TryFind(HttpConnection connection, scoped in RequestHead head, scoped ReadOnlySpan<byte> request, out DocumentResult found, ref ReadOnlySpan<byte> path)
    {
        found = default;
        int lengthBytes = path.Length;
        if (lengthBytes == 0 && !TargetPath.TryDecode(head.Path.In(request), pathRoom, out lengthBytes))
        {
            return 400;
        }

        if (pathRoom[lengthBytes - 1] == '/')
        {
            IndexName.CopyTo(pathRoom.AsSpan(lengthBytes));
            lengthBytes += IndexName.Length;
        }

        path = pathRoom.AsSpan(0, lengthBytes);
        if (connection.HasArrived)
        {
            found = connection.Arrived;
            connection.HasArrived = false;
            connection.Arrived = default;
        }
        else if (Cache.TryGet(path, out Document? document))
        {
            hitCount++;
            found = new DocumentResult(DocumentResultStatus.Found, document);
        }
        else
        {
            IDocumentWaiter ticket = MakeTicket(connection);
            connection.Ticket = ticket;
            if (!Cache.TryLoad(path, ticket, out found))
            {
                SetDeadline(connection, DeadlineKind.Document, Options.DocumentTimeout);
                return StatusWaiting;
            }

            connection.Ticket = null;
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
}
