// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Tcp;

/// <summary>What is known of bytes under way.</summary>
[Flags]
internal enum SentFlags : byte
{
    None = 0,

    /// <summary>The peer has it, out of order.</summary>
    Sacked = 1,

    /// <summary>Believed lost, and not sent again since.</summary>
    Lost = 2,

    /// <summary>Sent more than once: gives no round-trip time (Karn) and may be acknowledged early.</summary>
    Retransmitted = 4,

    /// <summary>Larger than the path is known to take: if it is lost, that is why.</summary>
    Probe = 8,
}

/// <summary>Bytes that were sent together: a segment or a super-packet, cut where the peer acknowledged a part.</summary>
internal struct SentSegment
{
    public uint Start;
    public uint End;
    public long SentUs;
    public SentFlags Flags;

    public readonly int LengthBytes => (int)(End - Start);

    public readonly bool Is(SentFlags flag) => (Flags & flag) != 0;
}

/// <summary>What the acknowledgment of sent segments told: the youngest one delivered, and what it says of the path.</summary>
internal struct Delivery
{
    /// <summary>Bytes newly acknowledged or sacked.</summary>
    public int Bytes;

    /// <summary>When the youngest delivered segment was sent, its end, and whether it had been sent more than once; -1 = none.</summary>
    public long NewestSentUs;
    public uint NewestEnd;
    public bool NewestIsRetransmitted;

    /// <summary>Send time of the youngest segment that was sent once only; -1 = none.</summary>
    public long SampleSentUs;

    /// <summary>A segment sent once was delivered behind a younger one that had been: the path reorders.</summary>
    public bool SawReordering;

    /// <summary>Something that was sent again has been acknowledged in order: what came before that, and waited for it, gives no round-trip time.</summary>
    public bool HasResent;

    /// <summary>It came with a duplicate SACK.</summary>
    public bool HasDuplicate;

    /// <summary>A segment that was larger than the path was known to take has arrived.</summary>
    public bool HasProbe;

    /// <summary>It says that packets were marked (RFC 3168).</summary>
    public bool IsMarked;

    /// <summary>What was sent later is not what the acknowledgment's timestamp is an echo of.</summary>
    public long EchoedUs;

    public static Delivery None => new() { NewestSentUs = -1, SampleSentUs = -1, EchoedUs = long.MaxValue };
}

/// <summary>
/// The scoreboard: segments from SND.UNA to SND.NXT in order, without gaps.
/// <code>
/// |sacked|lost|lost, sent again|sacked|in flight|
/// in flight = SND.NXT - SND.UNA - SackedBytes - LostBytes
/// </code>
/// </summary>
internal sealed class SentSegments
{
    /// <summary>Beyond this many, a partial SACK is not recorded: its bytes count as not delivered, which is safe.</summary>
    public const int CountMax = 8192;

    private SentSegment[] ring = new SentSegment[8];
    private int first;
    private int lostProbeBytes;

    public int Count { get; private set; }

    public int SackedBytes { get; private set; }

    public int LostBytes { get; private set; }

    /// <summary>The end of the highest sacked segment; meaningful while <see cref="SackedBytes"/> is not 0.</summary>
    public uint HighestSacked { get; private set; }

    public ref SentSegment At(int index) => ref ring[(first + index) & (ring.Length - 1)];

    /// <summary>Records new bytes.</summary>
    public void Add(uint start, uint end, long nowUs, SentFlags flags = SentFlags.None)
    {
        Invariant.Check(Count == 0 || At(Count - 1).End == start);
        Grow();
        Count++;
        At(Count - 1) = new SentSegment { Start = start, End = end, SentUs = nowUs, Flags = flags };
    }

    /// <summary>Bytes before <paramref name="acknowledged"/> have been delivered.</summary>
    public void Acknowledge(uint acknowledged, ref Delivery delivery)
    {
        while (Count > 0 && SequenceNumber.IsBefore(At(0).Start, acknowledged))
        {
            ref SentSegment segment = ref At(0);
            bool whole = SequenceNumber.IsAtOrBefore(segment.End, acknowledged);
            int bytes = whole ? segment.LengthBytes : (int)(acknowledged - segment.Start);
            if (segment.Is(SentFlags.Sacked))
            {
                SackedBytes -= bytes;
            }
            else
            {
                LostBytes -= segment.Is(SentFlags.Lost) ? bytes : 0;
                delivery.SawReordering |= !segment.Is(SentFlags.Retransmitted) && SackedBytes > 0 && SequenceNumber.IsBefore(segment.End, HighestSacked);
                delivery.HasResent |= segment.Is(SentFlags.Retransmitted);
                if (segment.Is(SentFlags.Retransmitted) && segment.SentUs > delivery.EchoedUs)
                {
                    delivery.Bytes += bytes;   // an earlier transmission of it was delivered (RFC 8985 section 6.2, step 2)
                }
                else
                {
                    Note(in segment, whole ? segment.End : acknowledged, bytes, ref delivery);
                }
            }

            if (!whole)
            {
                segment.Start = acknowledged;
                break;
            }

            first = (first + 1) & (ring.Length - 1);
            Count--;
        }
    }

    /// <summary>Bytes of a SACK block have been delivered (RFC 2018). The block lies between SND.UNA and SND.NXT.</summary>
    public void Sack(uint start, uint end, ref Delivery delivery)
    {
        for (int i = Find(start); i < Count && SequenceNumber.IsBefore(At(i).Start, end); i++)
        {
            if (At(i).Is(SentFlags.Sacked))
            {
                continue;
            }

            if (SequenceNumber.IsBefore(At(i).Start, start))
            {
                if (!TrySplit(i, start))
                {
                    return;
                }

                continue;   // the second half is next
            }

            if (SequenceNumber.IsAfter(At(i).End, end) && !TrySplit(i, end))
            {
                return;
            }

            ref SentSegment segment = ref At(i);
            LostBytes -= segment.Is(SentFlags.Lost) ? segment.LengthBytes : 0;
            delivery.SawReordering |= !segment.Is(SentFlags.Retransmitted) && SackedBytes > 0 && SequenceNumber.IsBefore(segment.End, HighestSacked);
            Note(in segment, segment.End, segment.LengthBytes, ref delivery);
            HighestSacked = SackedBytes == 0 ? segment.End : SequenceNumber.Later(HighestSacked, segment.End);
            SackedBytes += segment.LengthBytes;
            segment.Flags = (segment.Flags | SentFlags.Sacked) & ~SentFlags.Lost;
        }
    }

    /// <summary>Index of the first segment believed lost, or -1.</summary>
    public int FirstLost()
    {
        for (int i = 0; LostBytes > 0 && i < Count; i++)
        {
            if (At(i).Is(SentFlags.Lost))
            {
                return i;
            }
        }

        return -1;
    }

    public void MarkLost(int index)
    {
        ref SentSegment segment = ref At(index);
        if ((segment.Flags & (SentFlags.Lost | SentFlags.Sacked)) == 0)
        {
            lostProbeBytes += segment.Is(SentFlags.Probe) ? segment.LengthBytes : 0;
            segment.Flags = (segment.Flags | SentFlags.Lost) & ~SentFlags.Probe;
            LostBytes += segment.LengthBytes;
        }
    }

    /// <summary>Bytes of probes marked lost since this was last asked.</summary>
    public int TakeLostProbe()
    {
        int bytes = lostProbeBytes;
        lostProbeBytes = 0;
        return bytes;
    }

    /// <summary>Nothing that is not known to be delivered counts as under way: after a retransmission time-out.</summary>
    public void MarkAllLost()
    {
        for (int i = 0; i < Count; i++)
        {
            MarkLost(i);
        }
    }

    /// <summary>What was believed lost, and not sent again since, is under way.</summary>
    public void ForgetLost()
    {
        for (int i = 0; LostBytes > 0 && i < Count; i++)
        {
            ref SentSegment segment = ref At(i);
            LostBytes -= segment.Is(SentFlags.Lost) ? segment.LengthBytes : 0;
            segment.Flags &= ~SentFlags.Lost;
        }
    }

    /// <summary>The segment, or so much of it as <paramref name="bytes"/>, has been sent again.</summary>
    public void MarkResent(int index, int bytes, long nowUs)
    {
        if (bytes < At(index).LengthBytes)
        {
            bool split = TrySplit(index, At(index).Start + (uint)bytes);
            Invariant.Check(split || Count >= CountMax);
        }

        ref SentSegment segment = ref At(index);
        LostBytes -= segment.Is(SentFlags.Lost) ? segment.LengthBytes : 0;
        segment.Flags = (segment.Flags | SentFlags.Retransmitted) & ~SentFlags.Lost;
        segment.SentUs = nowUs;
    }

    /// <summary>A peer may take back what it sacked (RFC 2018 section 8): after a time-out nothing of it is believed.</summary>
    public void ForgetSacks()
    {
        for (int i = 0; i < Count; i++)
        {
            At(i).Flags &= ~SentFlags.Sacked;
        }

        SackedBytes = 0;
    }

    public void Clear() => Count = first = SackedBytes = LostBytes = lostProbeBytes = 0;

    /// <summary>Cuts a segment in two at a sequence number inside it. False when there are too many.</summary>
    public bool TrySplit(int index, uint at)
    {
        if (Count >= CountMax)
        {
            return false;
        }

        Grow();
        Count++;
        for (int i = Count - 1; i > index; i--)
        {
            At(i) = At(i - 1);
        }

        At(index).End = at;
        At(index + 1).Start = at;
        return true;
    }

    private static void Note(in SentSegment segment, uint end, int bytes, ref Delivery delivery)
    {
        delivery.Bytes += bytes;
        delivery.HasProbe |= segment.Is(SentFlags.Probe);
        if (segment.SentUs > delivery.NewestSentUs || (segment.SentUs == delivery.NewestSentUs && SequenceNumber.IsAfter(end, delivery.NewestEnd)))
        {
            delivery.NewestSentUs = segment.SentUs;
            delivery.NewestEnd = end;
            delivery.NewestIsRetransmitted = segment.Is(SentFlags.Retransmitted);
        }

        if (!segment.Is(SentFlags.Retransmitted))
        {
            delivery.SampleSentUs = Math.Max(delivery.SampleSentUs, segment.SentUs);
        }
    }

    // The first segment that ends behind a sequence number.
    private int Find(uint sequence)
    {
        int low = 0, high = Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            (low, high) = SequenceNumber.IsAtOrBefore(At(middle).End, sequence) ? (middle + 1, high) : (low, middle);
        }

        return low;
    }

    private void Grow()
    {
        if (Count == ring.Length)
        {
            var larger = new SentSegment[ring.Length * 2];
            for (int i = 0; i < Count; i++)
            {
                larger[i] = At(i);
            }

            ring = larger;
            first = 0;
        }
    }
}
