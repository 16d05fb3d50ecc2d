// SPDX-License-Identifier: MIT
using System.Numerics;

namespace Exo.Benchmarks.Peers.Web;

/// <summary>Times in buckets whose width is a sixteenth of their power of two: percentiles are right to 6 %.</summary>
internal sealed class LatencyHistogram
{
    private const int Parts = 16;

    private readonly long[] _buckets = new long[64 * Parts];
    private long _count;

    public void Add(long nanoseconds)
    {
        ulong value = (ulong)Math.Max(nanoseconds, Parts);
        int power = BitOperations.Log2(value);
        _buckets[power * Parts + (int)(value >> (power - 4) & (Parts - 1))]++;
        _count++;
    }

    /// <summary>The time that a share of all does not exceed, in microseconds.</summary>
    public double PercentileUs(double share)
    {
        long left = (long)Math.Ceiling(_count * share);
        for (int i = 0; i < _buckets.Length; i++)
        {
            left -= _buckets[i];
            if (left <= 0)
            {
                return ((Parts + i % Parts + 1L) << (i / Parts)) / (double)Parts / 1000;
            }
        }

        return 0;
    }
}
