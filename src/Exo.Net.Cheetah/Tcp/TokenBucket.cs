// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Tcp;

/// <summary>So many a second, and as many at once.</summary>
internal struct TokenBucket(int perSecond, long nowUs)
{
    private double tokens = perSecond;
    private long lastUs = nowUs;

    public bool TryTake(long nowUs)
    {
        tokens = Math.Min(perSecond, tokens + ((nowUs - lastUs) * (double)perSecond / 1e6));
        lastUs = nowUs;
        if (tokens < 1)
        {
            return false;
        }

        tokens--;
        return true;
    }
}
