// SPDX-License-Identifier: MIT
using System.Numerics;

namespace Exo.Net.Cheetah.Logging;

/// <summary>
/// A thread that makes lines of what reactors have written into their rings, and writes many at a time.
/// <code>
/// asleep ──a record──> waits for more ──interval, or a ring is half full──> formats and writes all ──> asleep
/// </code>
/// A record costs its reactor a look at a word that seldom changes; it wakes the thread at most once an interval, and once for each half of its ring.
/// </summary>
internal sealed class AccessLog : IAsyncDisposable
{
    private const int Awake = 0, Gathering = 1, Asleep = 2;
    private const int BatchBytes = 1 << 16;

    private readonly AccessLogOptions options;
    private readonly AccessLogLine line;
    private readonly byte[] batch;
    private readonly AutoResetEvent signal = new(false);
    private readonly TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock gate = new();
    private readonly List<Request> requests = [];
    private volatile AccessRing[] rings = [];
    private Stream output;
    private int batchUsed, batchLines;
    private bool isInsideLine;
    private int state;
    private volatile bool hasRequests, isEnding;
    private long writtenCount, lostCount;

    private readonly record struct Request(bool Reopens, TaskCompletionSource Done);

    /// <summary>Opens the output and starts the thread.</summary>
    /// <exception cref="IOException">The file cannot be opened.</exception>
    public AccessLog(AccessLogOptions options, int requestHeadBytesMax, TimeProvider time)
    {
        this.options = options;
        line = new AccessLogLine(options.Format, time.LocalTimeZone);
        batch = new byte[BatchBytes + AccessLogLine.LengthBytesMax(requestHeadBytesMax)];
        output = options.Output ?? AppendedFile.Open(options.Path!);
        new Thread(Run) { IsBackground = true, Name = "cheetah-log" }.Start();
    }

    /// <summary>Lines written.</summary>
    public long WrittenCount => Volatile.Read(ref writtenCount);

    /// <summary>Records without room, and lines that the output did not take.</summary>
    public long DroppedCount => rings.Sum(ring => ring.DroppedCount) + Volatile.Read(ref lostCount);

    /// <summary>A ring for one more reactor. One thread makes them all.</summary>
    public AccessRing AddRing()
    {
        var ring = new AccessRing(this, (int)BitOperations.RoundUpToPowerOf2((uint)options.RingBytes), options.WhenFull == AccessLogOverflow.Wait);
        rings = [.. rings, ring];
        return ring;
    }

    /// <summary>Completes when what has been recorded before is written.</summary>
    public Task FlushAsync() => AskAsync(reopens: false);

    /// <summary>Completes when what has been recorded before is written and the file has been opened anew; fails, and goes on with the old one, when that cannot be done.</summary>
    public Task ReopenAsync() => AskAsync(reopens: true);

    /// <summary>A reactor has added a record. Any thread.</summary>
    public void OnWritten(bool isHalfFull)
    {
        int now = Volatile.Read(ref state);
        if (now != Awake && (now == Asleep || isHalfFull))
        {
            Wake();
        }
    }

    /// <summary>Has the thread look at the rings, if it does not. Any thread.</summary>
    public void Wake()
    {
        if (Interlocked.Exchange(ref state, Awake) != Awake)
        {
            signal.Set();
        }
    }

    /// <summary>Writes what is left and closes a file. No reactor records any more.</summary>
    public async ValueTask DisposeAsync()
    {
        isEnding = true;
        Wake();
        await ended.Task.ConfigureAwait(false);
    }

    private Task AskAsync(bool reopens)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (gate)
        {
            if (isEnding)
            {
                return Task.CompletedTask;   // all is written, and no file is in use
            }

            requests.Add(new Request(reopens, done));
            hasRequests = true;
        }

        Wake();
        return done.Task;
    }

    private void Run()
    {
        bool ends;
        do
        {
            Rest(Asleep, Timeout.InfiniteTimeSpan);
            Rest(Gathering, options.FlushInterval);
            ends = isEnding;
            Request[] asked = Take();
            foreach (AccessRing ring in rings)
            {
                Drain(ring);
            }

            WriteBatch();
            foreach (Request request in asked)
            {
                Serve(request);
            }
        }
        while (!ends);
        Close();
        ended.SetResult();
    }

    // Whoever adds a record looks at the state without a fence of his own: the fence here is for all threads, so either he sees the state or this sees his record.
    private void Rest(int kind, TimeSpan atMost)
    {
        Volatile.Write(ref state, kind);
        Interlocked.MemoryBarrierProcessWide();
        if (!isEnding && !hasRequests && !rings.Any(kind == Asleep ? static ring => ring.HasRecords : static ring => ring.IsHalfFull))
        {
            signal.WaitOne(atMost);
        }

        Volatile.Write(ref state, Awake);
    }

    private Request[] Take()
    {
        lock (gate)
        {
            Request[] asked = [.. requests];
            requests.Clear();
            hasRequests = false;
            return asked;
        }
    }

    private void Drain(AccessRing ring)
    {
        long end = ring.End;
        while (ring.TryPeek(end, out AccessRecord record, out ReadOnlySpan<byte> texts))
        {
            if (batchUsed + AccessLogLine.LengthBytesMax(texts.Length) > batch.Length)
            {
                WriteBatch();
            }

            batchUsed += line.Format(batch.AsSpan(batchUsed), record, texts);
            batchLines++;
            ring.Release(record.LengthBytes);
        }

        ring.TellRoom();
    }

    // An output that fails costs its lines and nothing else. What it took of them may end inside a line, so the next batch begins a new one.
    private void WriteBatch()
    {
        if (batchUsed == 0)
        {
            return;
        }

        try
        {
            if (isInsideLine)
            {
                output.Write("\n"u8);
            }

            output.Write(batch, 0, batchUsed);
            output.Flush();
            isInsideLine = false;
            Volatile.Write(ref writtenCount, writtenCount + batchLines);
        }
#pragma warning disable CA1031 // whatever a stream of the application throws
        catch (Exception)
#pragma warning restore CA1031
        {
            isInsideLine = true;
            Volatile.Write(ref lostCount, lostCount + batchLines);
        }

        batchUsed = batchLines = 0;
    }

    private void Serve(Request request)
    {
        try
        {
            if (request.Reopens)
            {
                Stream opened = AppendedFile.Open(options.Path!);
                Close();
                output = opened;
                isInsideLine = false;
            }

            request.Done.SetResult();
        }
        catch (IOException failure)
        {
            request.Done.SetException(failure);
        }
    }

    private void Close()
    {
        if (options.Output is null)
        {
            output.Dispose();
        }
    }
}
