// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Text;
using Exo.Tests;

namespace Exo.EndToEnd.Tests;

/// <summary>
/// What find(1), stat(1) and sha256sum(1) say about a tree: programs that share no code with Exo. Names are kept as Latin-1, which loses no byte.
/// </summary>
internal static class HostTreeManifest
{
    /// <summary>One line per name, sorted: kind, mode, owners, time of change (ns), size, links, group of hard links, target, digest.</summary>
    public static string[] Read(string folder)
    {
        Requires.Program("find");
        Requires.Program("sha256sum");
        string[] fields = Run(folder, "find . -printf '%p\\0%y\\0%m %U %G %T@\\0%s\\0%n\\0%D:%i\\0%l\\0'").Split('\0');
        Dictionary<string, string> digests = [];
        foreach (string line in Run(folder, "find . -type f -print0 | xargs -0 -r sha256sum -z --").Split('\0', StringSplitOptions.RemoveEmptyEntries))
        {
            digests.Add(line[66..], line[..64]);
        }

        foreach (string line in Run(folder, "find . \\( -type c -o -type b \\) -print0 | xargs -0 -r stat --printf '%t,%T %n\\0' --").Split('\0', StringSplitOptions.RemoveEmptyEntries))
        {
            int space = line.IndexOf(' ', StringComparison.Ordinal);
            digests.Add(line[(space + 1)..], line[..space]);
        }

        List<(string Name, string About, string Inode)> entries = [];
        for (int i = 0; i + 6 < fields.Length; i += 7)
        {
            string kind = fields[i + 1];
            bool isDirectory = kind == "d";
            string size = isDirectory ? "-" : fields[i + 3];
            string links = isDirectory ? "-" : fields[i + 4];
            entries.Add((
                fields[i],
                $"{kind} {fields[i + 2]} {size} {links} -> {fields[i + 6]} {digests.GetValueOrDefault(fields[i], "")}",
                isDirectory || links == "1" ? "" : fields[i + 5]));
        }

        // Inode numbers differ between trees; which names share one must not.
        entries.Sort((a, b) => string.CompareOrdinal(a.Name, b.Name));
        Dictionary<string, string> firstNames = [];
        return [.. entries.Select(entry =>
        {
            string link = entry.Inode.Length == 0 ? "" : firstNames.TryAdd(entry.Inode, entry.Name) ? entry.Name : firstNames[entry.Inode];
            return $"{entry.Name} {entry.About} = {link}";
        })];
    }

    /// <summary>Runs a shell command in a folder; fails the test when it fails.</summary>
    public static string Run(string folder, string command)
    {
        ProcessStartInfo start = new("bash", ["-c", "set -o pipefail; " + command])
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            StandardOutputEncoding = Encoding.Latin1,
        };
        start.Environment["LC_ALL"] = "C";
        using Process process = Process.Start(start)!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"'{command}' ended with {process.ExitCode}");
        return output;
    }
}
