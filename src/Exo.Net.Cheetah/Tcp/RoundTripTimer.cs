// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Tcp;

/// <summary>The retransmission time-out from measured round trips (RFC 6298). Times in microseconds.</summary>
internal struct RoundTripTimer
{
    /// <summary>Before the first measurement (section 2.1), and the bounds. The lower one is less than the 1 s of section 2.4, as peers have it too.</summary>
    public const long InitialUs = 1_000_000, LeastUs = 200_000, MostUs = 60_000_000;

    private const long ClockGrainUs = 1_000;

    private long variationUs;
    private long timeoutUs;

    /// <summary>SRTT; 0 = nothing measured.</summary>
    public long SmoothedUs { get; private set; }

    /// <summary>Doublings of the time-out since something new was acknowledged.</summary>
    public int Backoff { get; private set; }

    /// <summary>RTO with its doublings.</summary>
    public readonly long TimeoutUs => Math.Min((timeoutUs == 0 ? InitialUs : timeoutUs) << Math.Min(Backoff, 16), MostUs);

    /// <summary>Takes a measurement of a segment that was sent once (sections 2.2, 2.3 and 3).</summary>
    public void Measure(long roundTripUs)
    {
        roundTripUs = Math.Max(roundTripUs, 1);
        if (SmoothedUs == 0)
        {
            SmoothedUs = roundTripUs;
            variationUs = roundTripUs / 2;
        }
        else
        {
            variationUs += (Math.Abs(SmoothedUs - roundTripUs) - variationUs) / 4;
            SmoothedUs = Math.Max(1, SmoothedUs + ((roundTripUs - SmoothedUs) / 8));
        }

        SetTimeout();
    }

    /// <summary>Takes the first measurement of data sent after a time-out that came too early: it counts whole, so that the next does not (RFC 4015 section 3.2, step 10).</summary>
    public void MeasureAfterSpuriousTimeout(long roundTripUs)
    {
        SmoothedUs = Math.Max(SmoothedUs, roundTripUs);
        variationUs = Math.Max(variationUs, roundTripUs / 2);
        SetTimeout();
    }

    /// <summary>The timer has expired (section 5.5).</summary>
    public void BackOff() => Backoff++;

    /// <summary>Something new was acknowledged (section 5.7 and the end of section 5).</summary>
    public void Resume() => Backoff = 0;

    /// <summary>The SYN was lost: until a measurement comes the time-out is 3 s (section 5.7).</summary>
    public void SynWasLost() => timeoutUs = SmoothedUs == 0 ? 3_000_000 : timeoutUs;

    private void SetTimeout() => timeoutUs = Math.Clamp(SmoothedUs + Math.Max(ClockGrainUs, 4 * variationUs), LeastUs, MostUs);
}
