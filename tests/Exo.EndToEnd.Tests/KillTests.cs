// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Exo.FileSystems.CFFS;
using Exo.Tests;

namespace Exo.EndToEnd.Tests;

/// <summary>SIGKILL during an import: what was reported durable is whole, and nothing needs repair.</summary>
public sealed class KillTests(ITestOutputHelper log)
{
    private const int FileCount = 3000;

    [Fact]
    public void A_killed_import_loses_nothing_that_it_reported()
    {
        int rounds = int.TryParse(Environment.GetEnvironmentVariable("EXO_KILL_ROUNDS"), CultureInfo.InvariantCulture, out int asked)
            ? asked
            : 20;
        int seed = int.TryParse(Environment.GetEnvironmentVariable("EXO_KILL_SEED"), CultureInfo.InvariantCulture, out int given)
            ? given
            : Random.Shared.Next();
        log.WriteLine($"EXO_KILL_SEED={seed} EXO_KILL_ROUNDS={rounds}");
        Random random = new(seed);
        using TempFolder folder = new();
        string source = MakeSource(folder["source"], random);
        string[] import = ["import", folder["disk.img"], source, "--sync-every", "20", "--report-synced", folder["synced"]];

        // One undisturbed run says how long there is time to kill.
        ExoProcess.Exo("mkfs", folder["disk.img"], "--size", "256M").Succeeded();
        Stopwatch clock = Stopwatch.StartNew();
        ExoProcess.Exo(import).Succeeded();
        int wholeMs = (int)clock.ElapsedMilliseconds;
        Assert.Equal(FileCount, File.ReadAllLines(folder["synced"]).Length);

        int midway = 0;
        for (int round = 0; round < rounds; round++)
        {
            File.Delete(folder["synced"]);
            File.Delete(folder["disk.img"]);
            ExoProcess.Exo("mkfs", folder["disk.img"], "--size", "256M").Succeeded();
            int delayMs = random.Next(wholeMs / 4, wholeMs);
            using (ExoProcess running = ExoProcess.Start("exo.dll", import))
            {
                Thread.Sleep(delayMs); // the moment of the kill is what is random; the outcome must not depend on it
                running.Kill();
            }

            string where = $"seed {seed}, round {round}, killed after {delayMs} ms";
            ExoResult check = ExoProcess.Exo("fsck", "-v", folder["disk.img"]);
            Assert.True(check.ExitCode == 0, $"{where}: before the mount: {check.Output}{check.Error}");
            int whole = CheckSynced(folder, source, where);
            check = ExoProcess.Exo("fsck", "-v", folder["disk.img"]);
            Assert.True(check.ExitCode == 0, $"{where}: after the mount: {check.Output}{check.Error}");
            midway += whole is > 0 and < FileCount ? 1 : 0;
            log.WriteLine($"killed after {delayMs} ms: {whole} files reported, all whole");
        }

        Assert.True(midway > 0, $"seed {seed}: no round was killed while files were being written");
    }

    private static int CheckSynced(TempFolder folder, string source, string where)
    {
        using CffsVolume volume = CffsVolume.Open(folder["disk.img"]);
        if (!File.Exists(folder["synced"]))
        {
            return 0;
        }

        string report = File.ReadAllText(folder["synced"]);
        string[] paths = report[..(report.LastIndexOf('\n') + 1)].Split('\n', StringSplitOptions.RemoveEmptyEntries);
        foreach (string path in paths)
        {
            string host = source + path;
            Assert.True(volume.Exists(path), $"{where}: {path} was reported and is not there");
            Assert.True(File.ReadAllBytes(host).AsSpan().SequenceEqual(volume.ReadAllBytes(path)), $"{where}: {path} was reported and is not whole");
            CffsStat stat = volume.Stat(path);
            long expectedNs = (File.GetLastWriteTimeUtc(host) - DateTime.UnixEpoch).Ticks * 100;
            Assert.True(stat.ModifyTimeNs / 100 * 100 == expectedNs, $"{where}: {path} has another time");
        }

        return paths.Length;
    }

    private static string MakeSource(string folder, Random random)
    {
        for (int i = 0; i < FileCount; i++)
        {
            string directory = Path.Combine(folder, $"d{i / 100}");
            Directory.CreateDirectory(directory);
            byte[] contents = new byte[i % 500 == 7 ? 1_000_000 : random.Next(0, i % 3 == 0 ? 20_000 : 300)];
            random.NextBytes(contents);
            File.WriteAllBytes(Path.Combine(directory, $"file {i}"), contents);
        }

        return folder;
    }
}
