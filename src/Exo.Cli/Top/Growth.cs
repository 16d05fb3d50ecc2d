// SPDX-License-Identifier: MIT
using Exo.Host;

namespace Exo.Cli.Top;

/// <summary>What has grown between two snapshots of one process, for a second.</summary>
internal sealed class Growth(ExokernelSnapshot now, ExokernelSnapshot? before)
{
    /// <summary>Growth of a number for a second; null without a snapshot before, and for what was not in it.</summary>
    public double? PerSecond(Func<ExokernelSnapshot, long?> number)
    {
        long microseconds = before is null ? 0 : now.TakenAtMicroseconds - before.TakenAtMicroseconds;
        return microseconds > 0 && number(before!) is { } old && number(now) is { } current && current >= old ? (current - old) * 1e6 / microseconds : null;
    }

    /// <summary>The same for one of a list.</summary>
    public double? PerSecond<T>(Func<ExokernelSnapshot, IReadOnlyList<T>> list, Func<T, bool> isIt, Func<T, long> number)
        where T : class =>
        PerSecond(snapshot => list(snapshot).FirstOrDefault(isIt) is { } one ? number(one) : null);
}
