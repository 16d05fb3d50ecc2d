// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Exo.Benchmarks.Peers.Machine;

/// <summary>
/// What a server's processes used, by /proc/PID/stat: work of the kernel that is done inside their calls, as sending over veth is, counts as theirs. And what a whole processor
/// did, by /proc/stat, which also has the interrupts taken while it idled, and all that other programs do.
/// </summary>
internal static class ProcessorTime
{
    private const double TicksPerSecond = 100;

    /// <summary>User and system seconds of all of them.</summary>
    public static double OfProcesses(IEnumerable<int> processes) => processes.Sum(OfProcess);

    /// <summary>Seconds that a processor was busy with anything: all but idle, waiting for disks and stolen by the host.</summary>
    public static double OfProcessor(int processor)
    {
        string[] fields = File.ReadLines("/proc/stat").First(line => line.StartsWith($"cpu{processor} ", StringComparison.Ordinal)).Split(' ');
        ReadOnlySpan<int> busy = [1, 2, 3, 6, 7];   // user, nice, system, irq, softirq
        double ticks = 0;
        foreach (int field in busy)
        {
            ticks += double.Parse(fields[field], CultureInfo.InvariantCulture);
        }

        return ticks / TicksPerSecond;
    }

    private static double OfProcess(int process)
    {
        // The name, the second field, is in parentheses and may contain anything.
        string text = File.ReadAllText($"/proc/{process}/stat");
        string[] fields = text[(text.LastIndexOf(')') + 2)..].Split(' ');
        return (double.Parse(fields[11], CultureInfo.InvariantCulture) + double.Parse(fields[12], CultureInfo.InvariantCulture)) / TicksPerSecond;
    }
}
