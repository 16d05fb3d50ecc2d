// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// Initial sequence numbers that carry what a half-open connection would have remembered (RFC 4987 section 3.6).
/// <code>
/// sequence number   | time, 5 bits of 64 s | MSS index, 3 | keyed hash of names, time, index and the peer's number, 24 |
/// timestamp         | clock ........................................| SACK, 1 | window scale or 15, 4 |   when the peer uses timestamps
/// </code>
/// </summary>
internal sealed class SynCookies(CookieSecrets secrets)
{
    public const long TickUs = 64_000_000;
    public const int TicksValid = 2;

    public static readonly ushort[] SegmentSizes = [536, 1000, 1220, 1300, 1380, 1440, 1460, 8960];

    private long lastMadeTick = -100;

    /// <summary>What they are made with.</summary>
    public CookieSecrets Secrets => secrets;

    /// <summary>Others make them too, so that nobody knows here when one was made lately.</summary>
    public bool AreMadeElsewhere { get; set; }

    public uint Make(in ConnectionKey key, uint peerSequence, ushort peerSegmentBytes, long nowUs)
    {
        long tick = lastMadeTick = nowUs / TickUs;
        int index = 0;
        while (index + 1 < SegmentSizes.Length && SegmentSizes[index + 1] <= peerSegmentBytes)
        {
            index++;
        }

        return Assemble(key, peerSequence, tick, index);
    }

    /// <summary>Whether a number is a cookie of ours, made lately; nothing is computed when none was made lately.</summary>
    public bool TryRead(in ConnectionKey key, uint peerSequence, uint cookie, long nowUs, out ushort segmentBytes)
    {
        long tick = nowUs / TickUs;
        segmentBytes = 0;
        if (!AreMadeElsewhere && tick - lastMadeTick > TicksValid)
        {
            return false;
        }

        // The handler's clock is never behind the stack's, which stands still during a poll, and may be in the next tick already.
        long made = tick + 1 - ((tick + 1 - (cookie >> 27)) & 31);
        int index = (int)(cookie >> 24) & 7;
        segmentBytes = SegmentSizes[index];
        return made >= tick - TicksValid && Assemble(key, peerSequence, made, index) == cookie;
    }

    /// <summary>The clock as sent, with what the peer's SYN offered in its low bits; never ahead of the clock.</summary>
    public static uint Stamp(uint clock, in TcpOptions offered)
    {
        uint bits = (offered.SackPermitted ? 16u : 0) | (offered.HasWindowScale ? offered.WindowScale : 15u);
        uint stamp = (clock & ~31u) | bits;
        return SequenceNumber.IsAfter(stamp, clock) ? stamp - 32 : stamp;
    }

    /// <summary>What the peer's SYN offered, from the echo in its answer.</summary>
    public static TcpOptions OptionsOf(in TcpOptions answer)
    {
        byte scale = (byte)(answer.TimestampEcho & 15);
        return !answer.HasTimestamps ? default : new TcpOptions(
            HasWindowScale: scale != 15, WindowScale: scale == 15 ? (byte)0 : Math.Min(scale, (byte)14), SackPermitted: (answer.TimestampEcho & 16) != 0,
            HasTimestamps: true, Timestamp: answer.Timestamp);
    }

    private uint Assemble(in ConnectionKey key, uint peerSequence, long tick, int index) =>
        ((uint)(tick & 31) << 27) | ((uint)index << 24)
        | (uint)(secrets.Of(tick).Of(key, (ulong)peerSequence | ((ulong)(tick & 0xFFFF_FFF) << 35) | ((ulong)index << 32)) & 0xFF_FFFF);
}
