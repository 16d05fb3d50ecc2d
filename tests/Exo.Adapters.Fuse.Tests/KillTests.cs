// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>The process that serves the mount is killed while a program works on it: the image is mounted again, and the program finds what it was promised.</summary>
public sealed class KillTests
{
    [Theory]
    [InlineData("delete")]
    [InlineData("wal")]
    public void Sqlite_keeps_what_it_committed_when_the_mount_is_killed(string journal)
    {
        Requires.Root();
        Requires.File("/dev/fuse");
        Requires.Program("sqlite3");
        using TempFolder folder = new();
        string image = folder["disk.img"];
        string directory = folder["mnt"];
        Directory.CreateDirectory(directory);
        ExoProcess.Exo("mkfs", image, "--size", "64M").Succeeded();
        try
        {
            int rows = 0;
            for (int round = 0; ; round++)
            {
                using ExoProcess serving = ExoProcess.Start("exo.dll", "mount", image, directory, "--foreground");
                serving.WaitForLine("is mounted on");
                string checkedRows = Sqlite(
                    directory,
                    $"pragma journal_mode={journal}; create table if not exists t(i integer primary key, b blob); pragma integrity_check; select count(*), ifnull(max(i), 0) from t;");
                string[] lines = checkedRows.TrimEnd().Split('\n');
                Assert.Equal((journal, "ok"), (lines[0], lines[1]));
                string[] counts = lines[2].Split('|');
                Assert.Equal(counts[0], counts[1]);
                int found = int.Parse(counts[0], System.Globalization.CultureInfo.InvariantCulture);
                Assert.True(found >= rows, $"{rows} rows were committed, {found} are there");
                if (round == 4)
                {
                    serving.Signal("TERM");
                    serving.Wait().Succeeded();
                    break;
                }

                rows = WriteUntilKilled(directory, serving, found, found + 20 + (round * 15));
                serving.Wait();
                using Process cut = Process.Start(new ProcessStartInfo("umount", ["-l", directory]) { RedirectStandardError = true })!;
                Assert.True(cut.WaitForExit(TimeSpan.FromSeconds(20)));
            }

            ExoProcess.Exo("fsck", image).Succeeded();
        }
        finally
        {
            using Process last = Process.Start(new ProcessStartInfo("umount", ["-f", "-l", directory]) { RedirectStandardError = true })!;
            Assert.True(last.WaitForExit(TimeSpan.FromSeconds(10)));
        }
    }

    /// <summary>Inserts row after row; sqlite says each number after its commit. At the wanted one the mount is killed. Returns the last that was said.</summary>
    private static int WriteUntilKilled(string directory, ExoProcess serving, int rows, int killAt)
    {
        ProcessStartInfo start = new("sqlite3", ["-batch", "-bail", Path.Combine(directory, "t.db")])
        {
            RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true,
        };
        using Process writer = Process.Start(start)!;
        bool isKilled = false;
        Task feeding = Task.Run(() =>
        {
            try
            {
                // EXTRA: what commits is that the journal's name goes, so the directory is synchronised, too.
                writer.StandardInput.WriteLine("pragma synchronous=extra;");
                for (int i = rows + 1; i < killAt + 2000; i++)
                {
                    writer.StandardInput.WriteLine($"insert into t(b) values (randomblob(5000)); select {i};");
                }

                writer.StandardInput.Close();
            }
            catch (IOException)
            {
                // sqlite has ended: its disk has gone.
            }
        });
        while (writer.StandardOutput.ReadLine() is { } line)
        {
            rows = int.Parse(line, System.Globalization.CultureInfo.InvariantCulture);
            if (rows >= killAt && !isKilled)
            {
                serving.Signal("KILL");
                isKilled = true;
            }
        }

        Assert.True(isKilled, writer.StandardError.ReadToEnd());
        Assert.True(writer.WaitForExit(TimeSpan.FromSeconds(30)));
        Assert.True(feeding.Wait(TimeSpan.FromSeconds(30)));
        return rows;
    }

    private static string Sqlite(string directory, string statements)
    {
        ProcessStartInfo start = new("sqlite3", ["-batch", "-bail", Path.Combine(directory, "t.db"), statements]);
        return Mounted.Run(start);
    }
}
