// SPDX-License-Identifier: MIT
namespace Exo.Host;

/// <summary>How often a client may ask: a bucket that fills steadily, and holds as much as flows in within a second. Not thread-safe.</summary>
internal sealed class RequestRate(int perSecond, TimeProvider time)
{
    private long _lookedAt = time.GetTimestamp();
    private double _left = perSecond;

    /// <summary>Takes one; false when none is left.</summary>
    public bool TryTake()
    {
        long now = time.GetTimestamp();
        _left = Math.Min(perSecond, _left + (time.GetElapsedTime(_lookedAt, now).TotalSeconds * perSecond));
        _lookedAt = now;
        if (_left < 1)
        {
            return false;
        }

        _left--;
        return true;
    }
}
