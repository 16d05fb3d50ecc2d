// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// The congestion window: slow start with HyStart++ (RFC 9406), then CUBIC (RFC 9438), whose window after a loss at WMax is
/// <c>C (t - K)^3 + WMax</c> segments, never less than Reno would have. Times in microseconds.
/// </summary>
internal struct CubicCongestion
{
    private const double C = 0.4, Beta = 0.7;
    private const double MarkBeta = 0.85;   // RFC 8511 section 3.1: queues that mark are short
    private const double RenoGain = 3 * (1 - Beta) / (1 + Beta);

    // HyStart++ (RFC 9406 section 4.3).
    private const long RttThresholdLeastUs = 4_000, RttThresholdMostUs = 16_000;
    private const int SamplesPerRound = 8, CautiousDivisor = 4, CautiousRounds = 5;

    private double maximum;          // WMax, in segments
    private double cubeRoot;         // K, in seconds
    private double reno;             // W_est, in segments
    private long epochUs;            // 0 = no epoch of congestion avoidance runs
    private int roundLeastUs, lastRoundLeastUs, cautiousBaseUs;
    private uint roundEnd;
    private int roundSamples, cautiousRoundsLeft;

    /// <summary>cwnd.</summary>
    public int WindowBytes { get; private set; }

    /// <summary>ssthresh.</summary>
    public int ThresholdBytes { get; private set; }

    public readonly bool IsSlowStart => WindowBytes < ThresholdBytes;

    /// <summary>A new connection: ten segments (RFC 6928), or one after its SYN was lost.</summary>
    public void Begin(int segmentBytes, bool synWasLost)
    {
        WindowBytes = synWasLost ? segmentBytes : Math.Min(10 * segmentBytes, Math.Max(2 * segmentBytes, 14600));
        ThresholdBytes = int.MaxValue;
        roundLeastUs = lastRoundLeastUs = int.MaxValue;
    }

    /// <summary>Bytes were acknowledged while the window was what held the sender back.</summary>
    public void OnAcknowledged(int bytes, int segmentBytes, uint acknowledged, uint sendNext, long roundTripUs, long smoothedUs, long nowUs)
    {
        if (IsSlowStart)
        {
            Round(acknowledged, sendNext, roundTripUs, segmentBytes);
            int gain = cautiousRoundsLeft > 0 ? bytes / CautiousDivisor : bytes;
            WindowBytes = (int)Math.Min(Math.Min((long)WindowBytes + gain, ThresholdBytes), 1 << 30);
            return;
        }

        double window = (double)WindowBytes / segmentBytes;
        if (epochUs == 0)
        {
            epochUs = nowUs;
            reno = window;
            if (maximum < window)
            {
                maximum = window;
                cubeRoot = 0;
            }
            else
            {
                cubeRoot = Math.Cbrt((maximum - window) / C);
            }
        }

        double acked = (double)bytes / segmentBytes;
        double t = ((nowUs - epochUs + smoothedUs) / 1e6) - cubeRoot;
        double target = Math.Clamp((C * t * t * t) + maximum, window, 1.5 * window);
        reno += (reno < maximum ? RenoGain : 1) * acked / window;
        window = Math.Max(window + ((target - window) / window * acked), reno);
        WindowBytes = (int)Math.Min(window * segmentBytes, 1 << 30);
    }

    /// <summary>Loss: one reduction for all that was under way (RFC 9438 sections 4.6 and 4.7). The window itself is walked down by the recovery.</summary>
    public void OnLoss(int segmentBytes)
    {
        Remember(segmentBytes, Beta);
        ThresholdBytes = (int)Math.Max(WindowBytes * Beta, 2 * segmentBytes);
    }

    /// <summary>A mark: less of a reduction, and at once, since nothing has to be sent again (RFC 3168 section 6.1.2, RFC 8511 section 3.1).</summary>
    public void OnMark(int segmentBytes)
    {
        Remember(segmentBytes, MarkBeta);
        WindowBytes = ThresholdBytes = (int)Math.Max(WindowBytes * MarkBeta, 2 * segmentBytes);
    }

    /// <summary>The retransmission timer has expired (RFC 9438 section 4.8): back to one segment.</summary>
    public void OnTimeout(bool isFirst, int segmentBytes)
    {
        if (isFirst)
        {
            OnLoss(segmentBytes);
        }

        WindowBytes = segmentBytes;
        epochUs = 0;
    }

    /// <summary>The window during a recovery, and at its end.</summary>
    public void Set(int windowBytes) => WindowBytes = windowBytes;

    /// <summary>
    /// A reduction was in vain: everything is as it was before, unless the window has grown beyond that since (RFC 9438 section 4.9.2). The window comes back at
    /// once as far as that lets no burst out, and by slow start from there (RFC 4015 section 3.2).
    /// </summary>
    /// <param name="before">As it was.</param>
    /// <param name="mostBytes">The window to have at once, at most.</param>
    /// <param name="heldUs">How long ago that was: the curve of CUBIC goes on where it stopped.</param>
    public void Restore(in CubicCongestion before, int mostBytes, long heldUs)
    {
        if (WindowBytes >= before.WindowBytes)
        {
            return;
        }

        int window = Math.Min(Math.Max(WindowBytes, mostBytes), before.WindowBytes);
        this = before;
        ThresholdBytes = window < before.WindowBytes ? Math.Max(before.ThresholdBytes, before.WindowBytes) : before.ThresholdBytes;
        WindowBytes = window;
        epochUs += epochUs == 0 ? 0 : heldUs;
    }

    /// <summary>The sender has been idle for longer than a time-out (RFC 5681 section 4.1).</summary>
    public void OnIdle(int segmentBytes)
    {
        WindowBytes = Math.Min(WindowBytes, 10 * segmentBytes);
        epochUs = 0;
    }

    private void Remember(int segmentBytes, double beta)
    {
        double window = (double)WindowBytes / segmentBytes;
        maximum = window < maximum ? window * (1 + beta) / 2 : window;   // fast convergence
        epochUs = 0;
        cautiousRoundsLeft = 0;
    }

    // One round = one window. When round trips grow, slow start grows a quarter as fast; when that lasts, it ends.
    private void Round(uint acknowledged, uint sendNext, long roundTripUs, int segmentBytes)
    {
        if (roundTripUs > 0)
        {
            roundLeastUs = (int)Math.Min(roundLeastUs, roundTripUs);
            roundSamples++;
        }

        if (cautiousRoundsLeft == 0 && roundSamples >= SamplesPerRound && lastRoundLeastUs != int.MaxValue && WindowBytes >= 16 * segmentBytes)
        {
            long threshold = Math.Clamp(lastRoundLeastUs / 8, RttThresholdLeastUs, RttThresholdMostUs);
            if (roundLeastUs >= lastRoundLeastUs + threshold)
            {
                cautiousBaseUs = roundLeastUs;
                cautiousRoundsLeft = CautiousRounds;
            }
        }
        else if (cautiousRoundsLeft > 0 && roundSamples >= SamplesPerRound && roundLeastUs < cautiousBaseUs)
        {
            cautiousRoundsLeft = 0;
        }

        if (SequenceNumber.IsAfter(acknowledged, roundEnd))
        {
            if (cautiousRoundsLeft > 0 && --cautiousRoundsLeft == 0)
            {
                ThresholdBytes = WindowBytes;
            }

            lastRoundLeastUs = roundLeastUs;
            roundLeastUs = int.MaxValue;
            roundSamples = 0;
            roundEnd = sendNext;
        }
    }
}
