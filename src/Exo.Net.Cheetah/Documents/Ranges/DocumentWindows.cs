// SPDX-License-Identifier: MIT
using System.Numerics;
using Exo.Core.Memory;
using Exo.Net.Cheetah.Http;

namespace Exo.Net.Cheetah.Ranges;

/// <summary>
/// The frames in which documents are that are not at hand whole: a window for each response, of ranges read ahead of what its client takes.
/// <code>
/// document    |cell 0        |cell 1        |cell 2    ...        ranges begin and end at frames, and cross no cell
/// a response          |sent, unacknowledged|here|coming|          together no more than its window
/// another                            |here|coming|                what both want at a time is read and held once
/// </code>
/// All windows together hold no more than <see cref="BudgetBytes"/>, a quarter of the pool, however many responses there are and however slow their clients: windows become smaller with the number of responses, and a response for which
/// nothing is left waits in line. It holds nothing that it could not send meanwhile, so nobody waits for anybody who waits; where it is frames that are missing, a response whose next range finds none gives up what it holds behind that.
/// <para>Ranges are asked for on the reactors' threads and read wherever the source does; who waits is told by his reactor's own means (<see cref="ResponseFlow.Wake"/>), once.</para>
/// </summary>
internal sealed class DocumentWindows(FramePool frames, long windowBytes, DocumentCache cache, TimeSpan patience, CancellationToken stopping)
{
    /// <summary>Longest range.</summary>
    public const int CellBytes = 256 << 10;

    private const int RangeBytesMin = 16 << 10, WindowBytesMin = 4 * RangeBytesMin;

    // How soon a range is asked for again for which there are no frames.
    private static readonly TimeSpan RetryAfter = TimeSpan.FromMilliseconds(10);

    // Guards everything below, and the lists of ranges; never held while a source or a response is called.
    private readonly Lock gate = new();
    private readonly Dictionary<(Document Document, long Cell), HeldRange> cells = [];
    private readonly Queue<ResponseFlow> line = new();
    private int flowCount;
    private long heldBytes, heldBytesMax, readCount, copiedBytes;

    /// <summary>Bytes of frames that all windows together may hold.</summary>
    public long BudgetBytes { get; } = Math.Max(WindowBytesMin, (long)frames.FrameCount * FramePool.FrameBytes / 4);

    /// <summary>Bytes of frames that windows hold.</summary>
    public long HeldBytes => Volatile.Read(ref heldBytes);

    /// <summary>The most that they have held.</summary>
    public long HeldBytesMax => Volatile.Read(ref heldBytesMax);

    /// <summary>Ranges asked of sources.</summary>
    public long ReadCount => Volatile.Read(ref readCount);

    /// <summary>Bytes copied because a source gave no frames.</summary>
    public long CopiedBytes => Volatile.Read(ref copiedBytes);

    /// <summary>Responses under way.</summary>
    public int FlowCount => Volatile.Read(ref flowCount);

    /// <summary>Bytes that one response may hold now.</summary>
    public long WindowBytes => Math.Clamp(BudgetBytes / Math.Max(1, FlowCount), WindowBytesMin, windowBytes);

    /// <summary>Longest range that is read now.</summary>
    public int RangeBytes => (int)Math.Clamp((long)BitOperations.RoundUpToPowerOf2((ulong)(WindowBytes / 4) + 1) / 2, RangeBytesMin, CellBytes);

    /// <summary>A response begins to want ranges.</summary>
    public void Begin() => Interlocked.Increment(ref flowCount);

    /// <summary>A response wants nothing more: if it had been given its turn, the next has it.</summary>
    public void End()
    {
        Interlocked.Decrement(ref flowCount);
        NextInLine()?.Wake();
    }

    /// <summary>
    /// A range that has a byte of a document and begins no later, held for the caller, who is told when it is here if it is not yet. Null when there is no room: the caller is told when there may be.
    /// </summary>
    /// <param name="document">One that is read range by range; the caller holds it.</param>
    /// <param name="offsetBytes">The byte.</param>
    /// <param name="lengthBytes">How much is wanted from there on, at least 1: more is not read, but for the rest of a frame.</param>
    /// <param name="flow">Who is told.</param>
    public HeldRange? TryTake(Document document, long offsetBytes, long lengthBytes, ResponseFlow flow)
    {
        HeldRange range;
        long cell = offsetBytes / CellBytes;
        lock (gate)
        {
            for (HeldRange? other = cells.GetValueOrDefault((document, cell)); other is not null; other = other.NextInCell)
            {
                if (other.StartBytes <= offsetBytes && offsetBytes < other.EndBytes && other.Status is RangeStatus.Coming or RangeStatus.Here && other.TryRetain())
                {
                    if (other.Status == RangeStatus.Coming)
                    {
                        other.Waiting.Add(flow);
                    }

                    return other;
                }
            }

            if (Reserve(document, offsetBytes, lengthBytes) is not { } reserved)
            {
                if (!flow.IsInLine)
                {
                    flow.IsInLine = true;
                    line.Enqueue(flow);
                }

                return null;
            }

            range = reserved;
            flow.IsInLine = false;
            range.NextInCell = cells.GetValueOrDefault((document, cell));
            cells[(document, cell)] = range;
            readCount++;
        }

        bool retained = range.TryRetain() && document.TryRetain();
        Invariant.Check(retained);   // who reads holds the one, and the caller the other
        cache.BeginRead();
        _ = ReadAsync(range);
        lock (gate)
        {
            if (range.Status == RangeStatus.Coming)
            {
                range.Waiting.Add(flow);
            }
        }

        return range;
    }

    /// <summary>Nobody holds a range any more.</summary>
    public void GiveBack(HeldRange range)
    {
        ResponseFlow? next;
        lock (gate)
        {
            Unlist(range);
            heldBytes -= RoomOf(range.LengthBytes);
            next = NextInLine();
        }

        range.Lent?.Dispose();
        Document.ReleaseRuns(frames, range.OwnRuns);
        range.Document.Release();
        next?.Wake();
    }

    // Under the lock. The range has its reader as its only holder.
    private HeldRange? Reserve(Document document, long offsetBytes, long lengthBytes)
    {
        for (int rangeBytes = RangeBytes; ; rangeBytes = RangeBytesMin)
        {
            long start = offsetBytes / FramePool.FrameBytes * FramePool.FrameBytes;
            long end = Math.Min(((offsetBytes / rangeBytes) + 1) * rangeBytes, document.LengthBytes);
            end = Math.Min(end, start + RoomOf(offsetBytes + lengthBytes - start));
            long room = RoomOf(end - start);
            if (heldBytes == 0 || heldBytes + room <= BudgetBytes)
            {
                heldBytes += room;
                heldBytesMax = Math.Max(heldBytesMax, heldBytes);
                return new HeldRange(this, document, start, (int)(end - start));
            }

            if (rangeBytes == RangeBytesMin)
            {
                return null;
            }
        }
    }

    private ResponseFlow? NextInLine()
    {
        lock (gate)
        {
            while (line.TryDequeue(out ResponseFlow? flow))
            {
                if (flow.IsInLine && !flow.IsOver)
                {
                    flow.IsInLine = false;
                    return flow;
                }
            }
        }

        return null;
    }

    private async Task ReadAsync(HeldRange range)
    {
        RangeStatus status = RangeStatus.Failed;
        try
        {
            status = await FetchAsync(range).ConfigureAwait(false);
        }
        catch (Exception failure) when (failure is not InvariantException)
        {
            // Whoever waits for it is told.
        }

        ResponseFlow[] waiting;
        lock (gate)
        {
            range.Settle(status);
            waiting = [.. range.Waiting];
            range.Waiting.Clear();
        }

        foreach (ResponseFlow flow in waiting)
        {
            flow.Wake();
        }

        range.Release();
        cache.EndRead();
    }

    private async ValueTask<RangeStatus> FetchAsync(HeldRange range)
    {
        IDocumentRanges source = range.Document.Content.Ranges!;
        for (TimeSpan waited = TimeSpan.Zero; ; waited += RetryAfter)
        {
            DocumentRange? read = await source.ReadAsync(range.StartBytes, range.LengthBytes, stopping).ConfigureAwait(false);
            if (read is null)
            {
                return RangeStatus.Changed;
            }

            if (read != DocumentRange.OutOfFrames)
            {
                if (read.LengthBytes != range.LengthBytes)
                {
                    read.Dispose();
                    return RangeStatus.Failed;
                }

                if (TryTakeIn(range, read))
                {
                    return RangeStatus.Here;
                }
            }

            if (!cache.TryMakeRoomForRange(range.LengthBytes))
            {
                if (TryGiveUp(range, isOutOfPatience: waited > patience))
                {
                    return RangeStatus.Failed;
                }

                Starve(range);
                await Task.Delay(RetryAfter, stopping).ConfigureAwait(false);   // what is being sent now makes room
            }
        }
    }

    // Nobody joins who waits for it from here on: to be failed by a range that was given up because nobody wanted it would be a reset for nothing.
    private bool TryGiveUp(HeldRange range, bool isOutOfPatience)
    {
        lock (gate)
        {
            if (!isOutOfPatience && !range.IsForsaken)
            {
                return false;
            }

            range.Settle(RangeStatus.Failed);
            return true;
        }
    }

    // Once: those who wait for it hear of it, and those who come look.
    private void Starve(HeldRange range)
    {
        ResponseFlow[] waiting;
        lock (gate)
        {
            waiting = range.IsStarving ? [] : [.. range.Waiting];
            range.IsStarving = true;
        }

        foreach (ResponseFlow flow in waiting)
        {
            flow.Wake();
        }
    }

    private bool TryTakeIn(HeldRange range, DocumentRange read)
    {
        if (read.IsInFrames)
        {
            try
            {
                range.TakeIn(FramePieces.Of(frames, read.Runs, read.FirstByteOffset, range.LengthBytes), read, []);
            }
            catch
            {
                read.Dispose();
                throw;
            }

            return true;
        }

        if (Document.CopyIn(frames, read.Bytes.Span) is not { } own)
        {
            return false;
        }

        Interlocked.Add(ref copiedBytes, range.LengthBytes);
        range.TakeIn(FramePieces.Of(frames, own, 0, range.LengthBytes), null, own);
        return true;
    }

    private void Unlist(HeldRange range)
    {
        (Document, long) cell = (range.Document, range.StartBytes / CellBytes);
        HeldRange? first = cells[cell];
        if (first == range)
        {
            if (range.NextInCell is { } next)
            {
                cells[cell] = next;
            }
            else
            {
                cells.Remove(cell);
            }

            return;
        }

        while (first!.NextInCell != range)
        {
            first = first.NextInCell;
        }

        first.NextInCell = range.NextInCell;
    }

    private static long RoomOf(long lengthBytes) => (lengthBytes + FramePool.FrameBytes - 1) / FramePool.FrameBytes * FramePool.FrameBytes;
}
