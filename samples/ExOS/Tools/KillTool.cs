// SPDX-License-Identifier: MIT
using System.Globalization;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>kill [-SIGNAL] PID…; a negative number is a group.</summary>
internal static class KillTool
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        List<string> operands = [.. self.Arguments.Skip(1)];
        Signal signal = Signal.Terminate;
        if (operands.Count > 1 && operands[0].StartsWith('-'))
        {
            signal = SignalNames.Parse(operands[0][1..]) ?? throw new UsageException($"{operands[0][1..]}: no such signal");
            operands.RemoveAt(0);
        }

        if (operands.Count == 0)
        {
            throw new UsageException("usage: kill [-SIGNAL] PID…");
        }

        return await Tool.ForEachAsync(self, operands, text =>
        {
            self.Kill(int.TryParse(text, CultureInfo.InvariantCulture, out int id) && id != 0 ? id : throw new ExosException(Errno.NoProcess), signal);
            return default;
        });
    }
}
