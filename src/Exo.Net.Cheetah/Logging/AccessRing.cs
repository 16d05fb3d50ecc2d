// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Logging;

/// <summary>
/// Records on their way from one reactor to the log's thread: one writes, one reads, neither takes a lock nor an atomic instruction.
/// <code>
/// bytes   |...|record|record|......room......|record|skip|
///              ^ read        ^ written        positions only grow; a record lies in one piece and begins at a multiple of 8
/// </code>
/// A record is at most half the ring, so that an empty ring takes any.
/// </summary>
internal sealed class AccessRing(AccessLog log, int capacityBytes, bool waits)
{
    private const int HeadBytes = 2 * sizeof(int);   // of a record: its length and its status

    private readonly byte[] bytes = GC.AllocateUninitializedArray<byte>(capacityBytes);
    private readonly AutoResetEvent? roomMade = waits ? new AutoResetEvent(false) : null;
    private Positions positions;

    // Each side writes a cache line of its own.
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct Positions
    {
        [FieldOffset(64)]
        public long Written;

        // The writer's: where the reader was when it was last looked at, and what found no room.
        [FieldOffset(72)]
        public long ReadSeen;
        [FieldOffset(80)]
        public long Dropped;

        [FieldOffset(128)]
        public long Read;

        // Set by the writer, taken back by the reader.
        [FieldOffset(192)]
        public int WriterWaits;
    }

    /// <summary>Records that found no room. Any thread.</summary>
    public long DroppedCount => Volatile.Read(ref positions.Dropped);

    /// <summary>There is something to read. Any thread.</summary>
    public bool HasRecords => Volatile.Read(ref positions.Written) != Volatile.Read(ref positions.Read);

    /// <summary>The reader should not wait for more. Any thread.</summary>
    public bool IsHalfFull => Volatile.Read(ref positions.Written) - Volatile.Read(ref positions.Read) >= bytes.Length / 2;

    /// <summary>Adds a record, or counts one that found no room. The reactor's thread.</summary>
    public void Write(
        long unixSeconds, InternetAddress remote, ResponseOutcome outcome, ReadOnlySpan<byte> requestLine,
        bool hasReferer, ReadOnlySpan<byte> referer, bool hasUserAgent, ReadOnlySpan<byte> userAgent)
    {
        int lengthBytes = (Unsafe.SizeOf<AccessRecord>() + requestLine.Length + referer.Length + userAgent.Length + 7) & ~7;
        Invariant.Check(lengthBytes <= bytes.Length / 2 && outcome.Status != 0);
        long at = positions.Written;
        int place = (int)at & (bytes.Length - 1);
        int skipped = lengthBytes <= bytes.Length - place ? 0 : bytes.Length - place;
        if (!HasRoom(at + skipped + lengthBytes))
        {
            Volatile.Write(ref positions.Dropped, positions.Dropped + 1);
            return;
        }

        if (skipped > 0)
        {
            MemoryMarshal.Write(bytes.AsSpan(place), (skipped, 0));
            place = 0;
        }

        var record = new AccessRecord
        {
            LengthBytes = lengthBytes,
            Status = outcome.Status,
            UnixSeconds = unixSeconds,
            BodyBytes = outcome.BodyBytes,
            Remote = remote,
            RequestLineBytes = requestLine.Length,
            RefererBytes = hasReferer ? referer.Length : -1,
            UserAgentBytes = hasUserAgent ? userAgent.Length : -1,
        };
        Span<byte> room = bytes.AsSpan(place, lengthBytes);
        MemoryMarshal.Write(room, record);
        room = room[Unsafe.SizeOf<AccessRecord>()..];
        requestLine.CopyTo(room);
        referer.CopyTo(room[requestLine.Length..]);
        userAgent.CopyTo(room[(requestLine.Length + referer.Length)..]);
        at += skipped + lengthBytes;
        Volatile.Write(ref positions.Written, at);
        log.OnWritten(at - positions.ReadSeen >= bytes.Length / 2);
    }

    /// <summary>
    /// The first record and its texts, which stay until <see cref="Release"/>. False when there is none before <paramref name="end"/>, a position that <see cref="End"/> gave: whoever
    /// reads up to there comes to an end although more is written. The log's thread.
    /// </summary>
    public bool TryPeek(long end, out AccessRecord record, out ReadOnlySpan<byte> texts)
    {
        while (positions.Read < end)
        {
            int place = (int)positions.Read & (bytes.Length - 1);
            (int lengthBytes, int status) = MemoryMarshal.Read<(int, int)>(bytes.AsSpan(place, HeadBytes));
            if (status != 0)
            {
                record = MemoryMarshal.Read<AccessRecord>(bytes.AsSpan(place));
                texts = bytes.AsSpan(place + Unsafe.SizeOf<AccessRecord>(), record.TextBytes);
                return true;
            }

            Release(lengthBytes);
        }

        record = default;
        texts = default;
        return false;
    }

    /// <summary>The end of what has been written. Any thread.</summary>
    public long End => Volatile.Read(ref positions.Written);

    /// <summary>The first record is done with. The log's thread.</summary>
    public void Release(int lengthBytes) => Volatile.Write(ref positions.Read, positions.Read + lengthBytes);

    /// <summary>A writer that waits for room looks again. The log's thread.</summary>
    public void TellRoom()
    {
        if (roomMade is not null)
        {
            Interlocked.MemoryBarrier();   // the new position before the look: the writer sets its mark before it looks at the position
            if (Volatile.Read(ref positions.WriterWaits) != 0)
            {
                roomMade.Set();
            }
        }
    }

    // Room up to a position. Only when there seems to be none is the reader's cache line looked at.
    private bool HasRoom(long upTo)
    {
        if (upTo - positions.ReadSeen <= bytes.Length)
        {
            return true;
        }

        positions.ReadSeen = Volatile.Read(ref positions.Read);
        return upTo - positions.ReadSeen <= bytes.Length || (roomMade is not null && WaitForRoom(upTo));
    }

    private bool WaitForRoom(long upTo)
    {
        Volatile.Write(ref positions.WriterWaits, 1);
        Interlocked.MemoryBarrier();
        while (upTo - (positions.ReadSeen = Volatile.Read(ref positions.Read)) > bytes.Length)
        {
            log.Wake();
            roomMade!.WaitOne();
        }

        Volatile.Write(ref positions.WriterWaits, 0);
        return true;
    }
}
