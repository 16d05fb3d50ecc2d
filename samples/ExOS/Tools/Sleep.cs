// SPDX-License-Identifier: MIT
using System.Globalization;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>sleep SECONDS.</summary>
internal static class Sleep
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        if (Tool.Parse(self).Operands is not [string text] || !double.TryParse(text, CultureInfo.InvariantCulture, out double seconds) || seconds is not (>= 0 and < 1e9))
        {
            throw new UsageException("usage: sleep SECONDS");
        }

        await self.PauseAsync(TimeSpan.FromSeconds(seconds));
        return 0;
    }
}
