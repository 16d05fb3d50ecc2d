// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Exo.Benchmarks.Peers.Machine;

/// <summary>
/// What a server used, by /proc/PID/stat: its processes, in whose calls most of the kernel's work for them is done, as sending over veth is, and the kernel thread that does
/// what is too much for that (ksoftirqd). Whole processors, by /proc/stat, also have all that other programs do.
/// </summary>
internal static class ProcessorTime
{
    private const double TicksPerSecond = 100;
    private static readonly string?[] s_softInterrupts = new string?[Environment.ProcessorCount];

    /// <summary>User and system seconds of all of them.</summary>
    public static double OfProcesses(IEnumerable<int> processes) => processes.Sum(OfProcess);

    /// <summary>Seconds that the kernel's thread for a processor's soft interrupts has used.</summary>
    public static double OfSoftInterrupts(int processor)
    {
        s_softInterrupts[processor] ??= Directory.EnumerateDirectories("/proc")
            .Select(Path.GetFileName).OfType<string>().Where(name => char.IsAsciiDigit(name[0]))
            .First(name => Name(name) == $"ksoftirqd/{processor}");
        return OfProcess(int.Parse(s_softInterrupts[processor]!, CultureInfo.InvariantCulture));

        static string? Name(string process)
        {
            try
            {
                return File.ReadAllText($"/proc/{process}/comm").TrimEnd();
            }
            catch (IOException)
            {
                return null;   // gone meanwhile
            }
        }
    }

    private static double OfProcess(int process)
    {
        // The name, the second field, is in parentheses and may contain anything.
        string text = File.ReadAllText($"/proc/{process}/stat");
        string[] fields = text[(text.LastIndexOf(')') + 2)..].Split(' ');
        return (double.Parse(fields[11], CultureInfo.InvariantCulture) + double.Parse(fields[12], CultureInfo.InvariantCulture)) / TicksPerSecond;
    }
}
