// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Net.Cheetah.Tcp.Answers;

/// <summary>
/// A connection of one request that a handler has answered, and of which the stack knows nothing: its first segment brought a cookie and a request that ends it, and the response left with a FIN.
/// What is kept is for the peer's farewell only, so that it may be lost: the request is answered again by its cookie, and a FIN that nobody knows is reset, which means nothing to a peer that has everything.
/// <code>
///   word   0 = free        when * 4 + 1 = answered, + 2 = the peer's FIN is acknowledged        3 = being written
/// </code>
/// Its place also says how many connections of the stack's share it: their first segments are the stack's.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = AnswerTable.BriefBytes)]
internal struct BriefConnection
{
    public const int WordAt = 0, NumbersAt = 48, HeldAt = 56, TimestampOffsetAt = 60;

    /// <summary>How long a place is kept for a peer's FIN when another connection wants it, in microseconds.</summary>
    public const int KeptUs = 3_000_000;

    /// <summary>For how long a request that comes again is answered in the same way, in microseconds. Then the stack has the connection: the path may not take packets of that size, and it knows what to do about it.</summary>
    public const int RepeatedUs = 1_000_000;

    [FieldOffset(WordAt)]
    public ulong Word;

    [FieldOffset(ConnectionNames.At)]
    public ConnectionNames Names;

    /// <summary>The number of the peer's FIN, and above it what acknowledges ours.</summary>
    [FieldOffset(NumbersAt)]
    public ulong Numbers;

    /// <summary>Connections of the stack's.</summary>
    [FieldOffset(HeldAt)]
    public uint Held;

    /// <summary>What the connection's timestamps are ahead of the stack's clock.</summary>
    [FieldOffset(TimestampOffsetAt)]
    public uint TimestampOffset;
}
