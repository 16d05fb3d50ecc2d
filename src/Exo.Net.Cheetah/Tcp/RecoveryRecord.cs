// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>What a <see cref="RecoveryRecord"/> waits for.</summary>
internal enum RecordPhase : byte
{
    /// <summary>The recovery is under way.</summary>
    Recovering,

    /// <summary>It is over; news that what was sent again came twice may still be on its way.</summary>
    Ended,

    /// <summary>The time-out was spurious: the first round trip of data sent after that was known goes into the time-out whole.</summary>
    AwaitsSample,
}

/// <summary>How far forward RTO-recovery has come (RFC 5682).</summary>
internal enum ForwardStep : byte
{
    /// <summary>It does not run, or has found nothing.</summary>
    None,

    /// <summary>The first segment has gone again; its acknowledgment is waited for (step 2).</summary>
    First,

    /// <summary>New segments have gone instead of lost ones; the next acknowledgment decides (step 3).</summary>
    Second,
}

/// <summary>
/// What is needed to tell that a recovery was in vain and to take it back: the congestion control as it was before, the timestamp of the first
/// retransmission (RFC 3522), and which bytes were sent again and have not come twice (RFC 3708). A connection has one from when a recovery begins until
/// a round trip after it has ended; they are used again.
/// <code>
///   SND.UNA                          SND.NXT
///   |   |resent|      |resent|        |         in no order, at most RangesMax, bytes as often as they went; a duplicate SACK takes each of its bytes out once
/// </code>
/// </summary>
internal sealed class RecoveryRecord
{
    /// <summary>Stretches sent again that are remembered; with more, duplicate SACKs prove nothing.</summary>
    public const int RangesMax = 16;

    private readonly SackBlock[] resent = new SackBlock[RangesMax];
    private CubicCongestion before;
    private int count;
    private bool isAmbiguous;

    /// <summary>The congestion control as it was.</summary>
    public ref readonly CubicCongestion Before => ref before;

    public bool IsTimeout { get; private set; }

    public long BeganUs { get; private set; }

    public RecordPhase Phase { get; set; }

    /// <summary>SND.NXT when the phase began.</summary>
    public uint PhaseStart { get; set; }

    public ForwardStep Forward { get; set; }

    /// <summary>SND.NXT before the new segments of forward RTO-recovery.</summary>
    public uint ForwardPoint { get; set; }

    /// <summary>Timestamps may still tell.</summary>
    public bool AwaitsEcho { get; set; }

    /// <summary>Something was sent again.</summary>
    public bool HasResent { get; private set; }

    /// <summary>Timestamp of the first retransmission.</summary>
    public uint FirstStamp { get; private set; }

    /// <summary>Where the first retransmission began, and where the furthest ended.</summary>
    public uint FirstStart { get; private set; }

    public uint LastEnd { get; private set; }

    /// <summary>Everything that was sent again has come twice: the originals were not lost (RFC 3708 section 3).</summary>
    public bool HasAllComeTwice => HasResent && !isAmbiguous && count == 0;

    /// <summary>Duplicate SACKs may still tell.</summary>
    public bool AwaitsDuplicates => HasResent && !isAmbiguous;

    public void Begin(in CubicCongestion congestion, bool isTimeout, bool usesTimestamps, long nowUs)
    {
        before = congestion;
        IsTimeout = isTimeout;
        BeganUs = nowUs;
        Phase = RecordPhase.Recovering;
        Forward = isTimeout && !usesTimestamps ? ForwardStep.First : ForwardStep.None;
        AwaitsEcho = usesTimestamps;
        HasResent = isAmbiguous = false;
        count = 0;
    }

    /// <summary>Bytes have been sent again.</summary>
    /// <param name="range">Which.</param>
    /// <param name="stamp">The timestamp they went with.</param>
    /// <param name="wasResentBefore">They had been. If that was not in this recovery, duplicates do not tell which of the transmissions was needless.</param>
    public void AddResent(SackBlock range, uint stamp, bool wasResentBefore)
    {
        if (!HasResent)
        {
            HasResent = true;
            FirstStamp = stamp;
            FirstStart = range.Start;
            LastEnd = range.End;
        }

        LastEnd = SequenceNumber.Later(LastEnd, range.End);
        isAmbiguous |= wasResentBefore && !Covers(range);
        for (int i = 0; i < count && !wasResentBefore; i++)
        {
            if (resent[i].End == range.Start)
            {
                resent[i] = resent[i] with { End = range.End };
                return;
            }
        }

        Add(range);
    }

    /// <summary>Bytes have come twice. Those that were not sent again the network has doubled, which says nothing.</summary>
    public void TakeDuplicate(SackBlock duplicate)
    {
        for (int i = count - 1; i >= 0 && duplicate.Start != duplicate.End; i--)
        {
            SackBlock range = resent[i];
            uint from = SequenceNumber.Later(range.Start, duplicate.Start), to = SequenceNumber.Earlier(range.End, duplicate.End);
            if (SequenceNumber.IsAtOrAfter(from, to))
            {
                continue;
            }

            resent[i] = resent[--count];
            if (range.Start != from)
            {
                Add(new SackBlock(range.Start, from));
            }

            if (range.End != to)
            {
                Add(new SackBlock(to, range.End));
            }

            // What is left of it on either side is looked for in the others.
            if (duplicate.Start != from)
            {
                TakeDuplicate(duplicate with { End = from });
            }

            duplicate = duplicate with { Start = to };
            i = count;
        }
    }

    private bool Covers(SackBlock range)
    {
        foreach (SackBlock other in resent.AsSpan(0, count))
        {
            if (SequenceNumber.IsAtOrBefore(other.Start, range.Start) && SequenceNumber.IsAtOrAfter(other.End, range.End))
            {
                return true;
            }
        }

        return false;
    }

    private void Add(SackBlock range)
    {
        if (count == RangesMax)
        {
            isAmbiguous = true;
        }
        else
        {
            resent[count++] = range;
        }
    }
}
