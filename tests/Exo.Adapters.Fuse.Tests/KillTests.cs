// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Runtime.InteropServices;
using Exo.FileSystems.CFFS;
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
        Requires.Program("sqlite3");
        using ImageToMount at = new();
        (string image, string directory) = (at.Image, at.Directory);
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

    /// <summary>
    /// A map of a file, and a log that is appended to: what msync and fsync have returned for is there, and each sector is as it was written once. The process that serves is killed, not the power:
    /// the kernel still writes what that process had given it.
    /// </summary>
    [Fact]
    public void A_map_holds_what_msync_returned_for_when_the_mount_is_killed()
    {
        string program = CProgram.Compile("mapped");
        using ImageToMount at = new();
        (string image, string directory) = (at.Image, at.Directory);
        ulong last = 0;
        for (int round = 0; round < 4; round++)
        {
            using ExoProcess serving = ExoProcess.Start("exo.dll", "mount", image, directory, "--foreground");
            serving.WaitForLine("is mounted on");
            ProcessStartInfo start = new(program, [Path.Combine(directory, "map"), (last + 1).ToString(System.Globalization.CultureInfo.InvariantCulture)]) { RedirectStandardOutput = true };
            using Process writer = Process.Start(start)!;
            ulong killAt = last + 10 + (ulong)(round * 7);
            bool isKilled = false;
            while (writer.StandardOutput.ReadLine() is { } line)
            {
                last = ulong.Parse(line, System.Globalization.CultureInfo.InvariantCulture);
                if (last >= killAt && !isKilled)
                {
                    serving.Signal("KILL");
                    isKilled = true;
                }
            }

            Assert.True(isKilled && writer.WaitForExit(TimeSpan.FromSeconds(30)));
            serving.Wait();
            using Process cut = Process.Start(new ProcessStartInfo("umount", ["-l", directory]) { RedirectStandardError = true })!;
            Assert.True(cut.WaitForExit(TimeSpan.FromSeconds(20)));
            last = AssertHolds(image, last);
        }

        ExoProcess.Exo("fsck", image).Succeeded();
    }

    /// <summary>What was durable at a generation, or one that was on its way. Returns the last generation that is in both.</summary>
    private static ulong AssertHolds(string image, ulong durable)
    {
        using CffsVolume volume = CffsVolume.Open(image);
        ulong[] map = [.. MemoryMarshal.Cast<byte, ulong>(volume.ReadAllBytes("/map"))];
        Assert.Equal(256 * 64, map.Length);
        for (int sector = 0; sector < 256; sector++)
        {
            // In an even generation only every third sector is written: the others are of the one before.
            ulong written = durable % 2 == 1 || sector % 3 == 0 ? durable : durable - 1;
            ulong found = map[sector * 64];
            Assert.True(found == written || found == durable + 1, $"sector {sector} is of generation {found}, and {written} was durable");
            Assert.False(map.AsSpan(sector * 64, 64).ContainsAnyExcept(found), $"sector {sector} is torn");
        }

        ulong[] log = [.. MemoryMarshal.Cast<byte, ulong>(volume.ReadAllBytes("/map.log"))];
        ulong records = (ulong)log.Length;
        Assert.True(records == durable || records == durable + 1, $"{records} records, and {durable} were durable");
        for (ulong i = 0; i < records; i++)
        {
            Assert.Equal(i + 1, log[i]);
        }

        return records;
    }

    /// <summary>
    /// Inserts row after row; sqlite says each number after its commit. At the wanted one the mount is killed. Returns the last that was said before: sqlite takes a directory that it cannot open, because
    /// the mount has just gone, for one that needs no synchronising, and says that the row is committed.
    /// </summary>
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
            if (isKilled)
            {
                continue;
            }

            rows = int.Parse(line, System.Globalization.CultureInfo.InvariantCulture);
            if (rows >= killAt)
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
