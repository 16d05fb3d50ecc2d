// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Net.Cheetah.Tcp.Answers;

/// <summary>
/// A connection as a handler has it (<see cref="AnswerTable"/>). Everything that was sent before the last answer has been acknowledged: a request that is answered acknowledges it. The last answer
/// may be lost; then the peer, which has not heard that its request came, sends that again.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = AnswerTable.ConnectionBytes)]
internal struct LentConnection
{
    public const int WordAt = 0, ReceiveNextAt = 48, SendNextAt = 52, LastReceiveAt = 56, LastSendAt = 60;
    public const int RecentTimestampAt = 64, TimestampOffsetAt = 68, LastAnswerAt = 72, PeerWindowAt = 76, LastAnswerNumberAt = 80, LastSecondsAt = 88, LastUsAt = 96, PeerScaleAt = 104;
    public const int SegmentBytesAt = 108, WindowAt = 112, CountAt = 116;

    /// <summary>Who has it.</summary>
    [FieldOffset(WordAt)]
    public ulong Word;

    [FieldOffset(ConnectionNames.At)]
    public ConnectionNames Names;

    /// <summary>RCV.NXT: the next request's number.</summary>
    [FieldOffset(ReceiveNextAt)]
    public uint ReceiveNext;

    /// <summary>SND.NXT: the next response's number, and what the next request must acknowledge.</summary>
    [FieldOffset(SendNextAt)]
    public uint SendNext;

    /// <summary>The number of the last request that was answered.</summary>
    [FieldOffset(LastReceiveAt)]
    public uint LastReceive;

    /// <summary>The number of the last response.</summary>
    [FieldOffset(LastSendAt)]
    public uint LastSend;

    /// <summary>TS.Recent of RFC 7323.</summary>
    [FieldOffset(RecentTimestampAt)]
    public uint RecentTimestamp;

    /// <summary>What the connection's timestamps are ahead of the stack's clock.</summary>
    [FieldOffset(TimestampOffsetAt)]
    public uint TimestampOffset;

    /// <summary>The place of the last answer, counted from 1; 0 = none was given.</summary>
    [FieldOffset(LastAnswerAt)]
    public uint LastAnswer;

    /// <summary>SND.WND as the last request had it.</summary>
    [FieldOffset(PeerWindowAt)]
    public uint PeerWindow;

    /// <summary>The number of the last answer.</summary>
    [FieldOffset(LastAnswerNumberAt)]
    public ulong LastAnswerNumber;

    /// <summary>The second that the last answer says it is of.</summary>
    [FieldOffset(LastSecondsAt)]
    public long LastSeconds;

    /// <summary>When, by the stack's clock, the last request was answered.</summary>
    [FieldOffset(LastUsAt)]
    public long LastUs;

    /// <summary>How far the peer's windows are shifted.</summary>
    [FieldOffset(PeerScaleAt)]
    public uint PeerScale;

    /// <summary>The longest response that fits into a segment.</summary>
    [FieldOffset(SegmentBytesAt)]
    public uint SegmentBytes;

    /// <summary>The window field of answers, as it stands in the packet.</summary>
    [FieldOffset(WindowAt)]
    public uint Window;

    /// <summary>Requests answered since it was lent.</summary>
    [FieldOffset(CountAt)]
    public uint Count;
}
