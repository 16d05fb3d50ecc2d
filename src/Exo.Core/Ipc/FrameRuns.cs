// SPDX-License-Identifier: MIT
using Exo.Core.Environments;
using Exo.Core.Memory;

namespace Exo.Core.Ipc;

/// <summary>Runs of frames of an environment's.</summary>
internal static class FrameRuns
{
    public static void CheckCapacity(int capacityBytes)
    {
        if (capacityBytes < FramePool.FrameBytes || capacityBytes > 1 << 30 || !System.Numerics.BitOperations.IsPow2(capacityBytes))
        {
            throw new ArgumentOutOfRangeException(nameof(capacityBytes), capacityBytes, "A power of two from 4,096 to 2^30.");
        }
    }

    /// <summary>Zeroed frames that follow one another, charged to the owner. All or none.</summary>
    public static FrameNumber Allocate(FramePool pool, ExoEnvironment owner, int count)
    {
        if (!pool.TryAllocateRun(owner.Credential, count, out FrameNumber first, zero: true))
        {
            throw new InvalidOperationException($"There are no {count} free frames in a row.");
        }

        for (int i = 0; i < count; i++)
        {
            QuotaVerdict verdict = owner.TryHold(pool, first.Value + (uint)i);
            if (!verdict.IsGranted)
            {
                Release(pool, owner, first, i);
                for (int j = i; j < count; j++)
                {
                    pool.Release(new FrameNumber(first.Value + (uint)j));
                }

                throw new InvalidOperationException($"{owner} gets no {count} frames: {verdict.Refusal} at {verdict.LimitedBy}.");
            }
        }

        return first;
    }

    public static void Release(FramePool pool, ExoEnvironment owner, FrameNumber first, int count)
    {
        for (uint i = 0; i < (uint)count; i++)
        {
            owner.TryReleaseFrame(pool, new FrameNumber(first.Value + i));
        }
    }
}
