// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using ExOS.Files;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>ps: all processes, out of <c>/proc</c>.</summary>
internal static class Ps
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        await using TextOutput output = new(self, 1);
        await output.WriteLineAsync("  PID  PPID   GRP PAGES STATE    COMMAND");
        foreach (string name in self.Files.List("/proc").Where(name => char.IsAsciiDigit(name[0])).OrderBy(name => int.Parse(name, CultureInfo.InvariantCulture)))
        {
            if (await TextAsync(self, $"/proc/{name}/status") is { } status && await TextAsync(self, $"/proc/{name}/cmdline") is { } command)
            {
                Dictionary<string, string> fields = status.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split(": ", 2)).ToDictionary(pair => pair[0], pair => pair[1]);
                await output.WriteLineAsync($"{fields["Pid"],5} {fields["PPid"],5} {fields["Group"],5} {fields["Pages"],5} {fields["State"],-8} {command.TrimEnd('\n')}");
            }
        }

        return 0;
    }

    // A process that has gone meanwhile has no files any more.
    private static async ValueTask<string?> TextAsync(Process self, string path)
    {
        try
        {
            int descriptor = await self.Files.OpenAsync(path, OpenFlags.Read);
            byte[] buffer = new byte[4096];
            int count = await self.Files.ReadAsync(descriptor, buffer);
            self.Files.Close(descriptor);
            return Encoding.UTF8.GetString(buffer, 0, count);
        }
        catch (ExosException gone) when (gone.Errno == Errno.NotFound)
        {
            return null;
        }
    }
}
