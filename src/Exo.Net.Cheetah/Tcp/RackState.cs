// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// RACK: a segment is lost when one sent after it has been delivered and the path has had time to reorder them (RFC 8985 section 6.2). One rule for
/// first transmissions, retransmissions and tails. Times in microseconds.
/// </summary>
internal struct RackState
{
    private const int DuplicateThreshold = 3, WindowMultiplierMost = 20;

    private long newestSentUs;
    private uint newestEnd;
    private long roundTripUs;
    private bool sawReordering;
    private int windowMultiplier;
    private int recoveriesLeft;
    private uint duplicateRoundEnd;

    /// <summary>The least round trip seen; 0 = none.</summary>
    public long LeastRoundTripUs;

    /// <summary>When to look for loss again because the path may only reorder; long.MaxValue = no need.</summary>
    public long ReorderingUs;

    // Tail loss probes (section 7).
    public uint ProbeEnd;
    public bool ProbeIsOutstanding, ProbeIsRetransmission;

    /// <summary>Takes in what one acknowledgment delivered (steps 1 and 2).</summary>
    public void Update(in Delivery delivery, long nowUs)
    {
        if (delivery.NewestSentUs < 0)
        {
            return;
        }

        long rtt = nowUs - delivery.NewestSentUs;
        if (delivery.NewestIsRetransmitted && rtt < LeastRoundTripUs)
        {
            return;   // the acknowledgment is most likely for the first transmission
        }

        roundTripUs = rtt;
        if (delivery.NewestSentUs > newestSentUs || (delivery.NewestSentUs == newestSentUs && SequenceNumber.IsAfter(delivery.NewestEnd, newestEnd)))
        {
            newestSentUs = delivery.NewestSentUs;
            newestEnd = delivery.NewestEnd;
        }

        sawReordering |= delivery.SawReordering;
    }

    /// <summary>A duplicate SACK says that something was sent again in vain: wait longer from now on (step 4).</summary>
    public void OnDuplicateSack(uint acknowledged, uint sendNext)
    {
        if (SequenceNumber.IsAtOrAfter(acknowledged, duplicateRoundEnd) || windowMultiplier == 0)
        {
            windowMultiplier = Math.Min(Math.Max(windowMultiplier, 1) + 1, WindowMultiplierMost);
            recoveriesLeft = 16;
            duplicateRoundEnd = sendNext;
        }
    }

    /// <summary>The path has reordered, as is known now.</summary>
    public void OnReordering() => sawReordering = true;

    /// <summary>What was taken for the delivery of a retransmission may have been that of the original: the youngest delivered is not known until the next.</summary>
    public void ForgetNewest() => newestSentUs = 0;

    /// <summary>A recovery has ended: after sixteen the wait is short again.</summary>
    public void OnRecovered()
    {
        if (recoveriesLeft > 0 && --recoveriesLeft == 0)
        {
            windowMultiplier = 1;
        }
    }

    /// <summary>Marks what is lost by now (step 5); returns when to look again, or long.MaxValue.</summary>
    public readonly long Detect(SentSegments sent, bool isRecovering, int segmentBytes, long smoothedUs, long nowUs)
    {
        long againUs = long.MaxValue;
        if (newestSentUs == 0)
        {
            return againUs;
        }

        long windowUs = !sawReordering && (isRecovering || sent.SackedBytes >= DuplicateThreshold * segmentBytes)
            ? 0
            : Math.Min(Math.Max(windowMultiplier, 1) * LeastRoundTripUs / 4, smoothedUs);
        for (int i = 0; i < sent.Count; i++)
        {
            ref SentSegment segment = ref sent.At(i);
            if ((segment.Flags & (SentFlags.Sacked | SentFlags.Lost)) != 0)
            {
                continue;
            }

            bool isOlder = segment.SentUs < newestSentUs
                || (segment.SentUs == newestSentUs && SequenceNumber.IsBefore(segment.End, newestEnd));
            if (!isOlder)
            {
                if (!segment.Is(SentFlags.Retransmitted))
                {
                    break;   // first transmissions are in the order of time
                }

                continue;
            }

            long dueUs = segment.SentUs + roundTripUs + windowUs;
            if (dueUs <= nowUs)
            {
                sent.MarkLost(i);
            }
            else
            {
                againUs = Math.Min(againUs, dueUs);
            }
        }

        return againUs;
    }
}
