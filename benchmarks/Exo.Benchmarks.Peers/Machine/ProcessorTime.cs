// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Exo.Benchmarks.Peers.Machine;

/// <summary>
/// What a server's processes used, by /proc/PID/stat. Work of the kernel that is done inside their calls, as sending over veth is, counts as theirs. (Whole processors, by /proc/stat,
/// would also have the little that is done elsewhere, and all that other programs do.)
/// </summary>
internal static class ProcessorTime
{
    private const double TicksPerSecond = 100;

    /// <summary>User and system seconds of all of them.</summary>
    public static double OfProcesses(IEnumerable<int> processes) => processes.Sum(OfProcess);

    private static double OfProcess(int process)
    {
        // The name, the second field, is in parentheses and may contain anything.
        string text = File.ReadAllText($"/proc/{process}/stat");
        string[] fields = text[(text.LastIndexOf(')') + 2)..].Split(' ');
        return (double.Parse(fields[11], CultureInfo.InvariantCulture) + double.Parse(fields[12], CultureInfo.InvariantCulture)) / TicksPerSecond;
    }
}
