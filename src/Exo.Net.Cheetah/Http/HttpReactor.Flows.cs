// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Ranges;

namespace Exo.Net.Cheetah.Http;

/// <summary>
/// Responses with documents that are not at hand whole. The request waits for the first range as one does for its document, so that what cannot be read is answered with a status, and what has changed is looked up anew; from then on
/// the connection answers nothing else, and its transport moves range after range. What goes wrong after that ends it with a reset: a length has been promised.
/// <code>
/// document ─> flow ─> first range here? ──> begun ─> ranges move as they come and as there is room ─> the next request
///                └> ticket: the client waits     └> time-out, changed, failed: reset
/// </code>
/// </summary>
internal abstract partial class HttpReactor
{
    // A document that is found changed as often as that is somebody's who writes all the time.
    private const int ChangedMax = 3;

    private byte[]? flowRoom;

    /// <summary>Nothing more of it is sent.</summary>
    protected static void EndFlow(HttpConnection connection)
    {
        connection.Flow?.End();
        connection.Flow = null;
    }

    // What the response with a document is written to that is not at hand; null: to the queue.
    private ResponseFlow? FlowFor(Document? document, bool isHead, bool closes) =>
        document is { IsRanged: true } && !isHead ? new(Cache.Windows, flowRoom ??= new byte[ResponseQueue.HeadBytesMax], closes) : null;

    // Whether the response can be queued, or is already. If not the connection waits for its first range.
    private bool TryAnswer(HttpConnection connection, ResponseFlow flow, ResponseOutcome outcome)
    {
        flow.Outcome = outcome;
        if (flow.Document is null)
        {
            flow.CopyTo(Responses);
            return true;
        }

        connection.Flow = flow;
        flow.Start(NewsOf(connection, flow));
        if (flow.First == RangeStatus.Here)
        {
            flow.HasBegun = true;
            return true;
        }

        connection.Ticket = MakeTicket(connection);
        SetDeadline(connection, DeadlineKind.Document, Options.DocumentTimeout);
        if (flow.First != RangeStatus.Coming)
        {
            flow.Wake();   // it has failed at once: heard in a moment
        }

        return false;
    }

    // What has become of the first range: 200 if the response begins with it, 0 if the document is to be looked up.
    private int StatusOf(HttpConnection connection, ResponseFlow flow)
    {
        connection.HasArrived = false;
        connection.Arrived = default;
        switch (flow.First)
        {
            case RangeStatus.Here:
                flow.HasBegun = true;
                return 200;
            case RangeStatus.Changed:
                Cache.Forget(flow.Document!);
                EndFlow(connection);
                return ++connection.ChangedCount > ChangedMax ? 503 : 0;
            default:
                EndFlow(connection);
                connection.ChangedCount = ChangedMax + 1;   // and no page for it that might fail in the same way
                return 500;
        }
    }
}
