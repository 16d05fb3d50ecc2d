// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Ranges;

namespace Exo.Net.Cheetah.Http;

/// <summary>Where a response that is fetched while it is sent stands.</summary>
internal enum FlowStep : byte
{
    /// <summary>A range has been queued.</summary>
    Moved,

    /// <summary>The next range is not here yet; there will be news.</summary>
    Waits,

    /// <summary>All of it has been queued.</summary>
    Done,

    /// <summary>It cannot be gone on with.</summary>
    Failed,
}

/// <summary>
/// One response with bytes of a document that is not at hand whole: what the responder says of it, and a window of ranges that goes along it. On the reactor's thread, but for <see cref="Wake"/>.
/// <code>
///           parts    |head|range a............|head|range b....|last line|        as Responder wrote them
///           ahead              [here][here][coming]                               asked for in order, moved in order
///   queued and sent   ........                                                    the transport's; released as they leave, or are acknowledged
/// </code>
/// It is made when its request is answered, begins when the first range is here (until then nothing has been promised, and the request can still be answered otherwise), and is over when all is queued, or its connection.
/// </summary>
internal sealed class ResponseFlow(DocumentWindows windows, byte[] room, bool closes) : ResponseQueue
{
    private readonly List<Part> parts = [];
    private readonly Queue<Ahead> ahead = new();
    private Document? document;
    private Action? post;
    private int askedPart, movedPart;
    private long askedBytes, movedBytes, aheadBytes;   // of those parts; and of ranges asked for and not moved
    private bool isHeadMoved;
    private int isWoken;
    private volatile bool isOver;

    private readonly record struct Part(byte[] Head, long OffsetBytes, long LengthBytes);

    private readonly record struct Ahead(HeldRange Range, long OffsetBytes, long LengthBytes);

    public override Span<byte> Room => room;

    /// <summary>What it is a response with; null when that has no body.</summary>
    public Document? Document => document;

    /// <summary>What was decided.</summary>
    public ResponseOutcome Outcome { get; set; }

    /// <summary>Its head says that the connection closes.</summary>
    public bool Closes => closes;

    /// <summary>Its first range is here, and its head is or will be sent.</summary>
    public bool HasBegun { get; set; }

    /// <summary>It wants nothing more. For any thread.</summary>
    public bool IsOver => isOver;

    /// <summary>It waits for room. Under the windows' lock.</summary>
    public bool IsInLine { get; set; }

    /// <summary>How the first range is.</summary>
    public RangeStatus First => ahead.TryPeek(out Ahead first) ? first.Range.Status : RangeStatus.Coming;

    /// <summary>Bytes of the range that was moved last.</summary>
    public long LastMovedBytes { get; private set; }

    public override void Add(int headBytes, IPayload? payload = null, long offsetBytes = 0, long lengthBytes = 0)
    {
        parts.Add(new Part(room.AsSpan(0, headBytes).ToArray(), offsetBytes, payload is null ? 0 : lengthBytes));
        if (payload is Document whole && document is null)
        {
            document = whole;
        }
        else
        {
            payload?.Release();   // it is held once
        }
    }

    /// <summary>Copies a response without a body.</summary>
    public void CopyTo(ResponseQueue queue)
    {
        foreach (Part part in parts)
        {
            part.Head.CopyTo(queue.Room);
            queue.Add(part.Head.Length);
        }
    }

    /// <summary>From here on it wants ranges, and somebody is called when there is news of them, on whatever thread.</summary>
    public void Start(Action news)
    {
        post = news;
        windows.Begin();
        Reach(unsentBytes: 0);
    }

    /// <summary>There is news of a range, or may be room. For any thread; many at a time are told as one.</summary>
    public void Wake()
    {
        if (Interlocked.Exchange(ref isWoken, 1) == 0)
        {
            post!();
        }
    }

    /// <summary>The news has been heard: what comes from here on is told again.</summary>
    public void Hear() => Interlocked.Exchange(ref isWoken, 0);

    /// <summary>Asks for ranges as far as the window reaches.</summary>
    /// <param name="unsentBytes">What the transport holds of it.</param>
    public void Reach(long unsentBytes)
    {
        if (ahead.TryPeek(out Ahead first) && first.Range.IsStarving)
        {
            Retreat();
            return;
        }

        // Of a range that is acknowledged in part all is still held: so there is room for one more than is counted.
        long windowBytes = windows.WindowBytes - (2 * windows.RangeBytes);
        while (askedPart < parts.Count && (aheadBytes + unsentBytes == 0 || aheadBytes + unsentBytes <= windowBytes))
        {
            Part part = parts[askedPart];
            if (askedBytes == part.LengthBytes)
            {
                askedPart++;
                askedBytes = 0;
                continue;
            }

            long at = part.OffsetBytes + askedBytes;
            if (windows.TryTake(document!, at, part.LengthBytes - askedBytes, this) is not { } range)
            {
                return;
            }

            long take = Math.Min(range.EndBytes - at, part.LengthBytes - askedBytes);
            ahead.Enqueue(new Ahead(range, at - range.StartBytes, take));
            aheadBytes += take;
            askedBytes += take;
        }
    }

    // The first range finds no frames: those behind it, which cannot be sent before it, may have them. They are asked for again when it is here.
    private void Retreat()
    {
        Ahead first = ahead.Dequeue();
        while (ahead.TryDequeue(out Ahead behind))
        {
            aheadBytes -= behind.LengthBytes;
            behind.Range.Release();
        }

        ahead.Enqueue(first);
        askedPart = movedPart;
        askedBytes = movedBytes;
        for (; askedBytes == parts[askedPart].LengthBytes; askedBytes = 0)
        {
            askedPart++;
        }

        askedBytes += first.LengthBytes;
    }

    /// <summary>Queues the next range, if it is here, with what stands before it.</summary>
    public FlowStep Move(ResponseQueue to)
    {
        for (; movedPart < parts.Count; movedPart++, movedBytes = 0, isHeadMoved = false)
        {
            Part part = parts[movedPart];
            if (movedBytes == part.LengthBytes)
            {
                if (!isHeadMoved)
                {
                    part.Head.CopyTo(to.Room);
                    to.Add(part.Head.Length);
                }

                continue;
            }

            RangeStatus next = First;
            if (next != RangeStatus.Here)
            {
                return next == RangeStatus.Coming ? FlowStep.Waits : FlowStep.Failed;
            }

            Ahead front = ahead.Dequeue();
            int headBytes = isHeadMoved ? 0 : part.Head.Length;
            if (headBytes > 0)
            {
                part.Head.CopyTo(to.Room);
            }

            isHeadMoved = true;
            movedBytes += front.LengthBytes;
            aheadBytes -= front.LengthBytes;
            LastMovedBytes = front.LengthBytes;
            to.Add(headBytes, front.Range, front.OffsetBytes, front.LengthBytes);
            return FlowStep.Moved;
        }

        return FlowStep.Done;
    }

    /// <summary>Gives up what it holds. Once.</summary>
    public void End()
    {
        Invariant.Check(!isOver);
        isOver = true;
        while (ahead.TryDequeue(out Ahead range))
        {
            range.Range.Release();
        }

        windows.End();
        document!.Release();
        document = null;
    }
}
