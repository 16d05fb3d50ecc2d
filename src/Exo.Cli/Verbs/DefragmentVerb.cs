// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.Globalization;
using Exo.Cli.Administration;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Verbs;

/// <summary><c>exo defrag</c>: the small files of directories together again, large files in few runs.</summary>
internal static class DefragmentVerb
{
    public static Command Create()
    {
        Argument<string> image = Symbols.ImageOrMount();
        Argument<string> path = new("PATH") { Description = "A directory on the image", DefaultValueFactory = _ => "/" };
        Option<bool> dryRun = new("--dry-run", "-n") { Description = "Only measure, and say what can be gained at best" };
        VerbCommand command = new("defrag", "Brings the small files of each directory together again, and large files into few runs of blocks.")
        {
            Notes =
            [
                "Interrupted, by a signal or a power cut, it loses nothing: each file is whole, where it was or where it goes.",
                "Pages that were imported with --group-pages are parted from what they include.",
                Symbols.MountNote,
            ],
            Examples = ["exo defrag disk.img", "exo defrag /mnt", "exo defrag --dry-run disk.img /photos"],
        };
        command.Add(image);
        command.Add(path);
        command.Add(dryRun);
        command.SetAction(parsed => Run(parsed.GetRequiredValue(image), parsed.GetRequiredValue(path), parsed.GetValue(dryRun)));
        return command;
    }

    private static int Run(string image, string path, bool isDryRun)
    {
        CffsDefragmentReport report = AnyVolume.Run(image, new DefragmentRequest(Symbols.Normalise(path), isDryRun), "moving blocks").Report;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{"",-34}{"before",10}{(isDryRun ? "at best" : "after"),10}"));
        Line("small files near another of theirs", report.Before.SmallFilesGrouped * 100, report.After.SmallFilesGrouped * 100, "%");
        Line("requests for 100 small files", report.Before.RequestsPer100SmallFiles, report.After.RequestsPer100SmallFiles, "");
        Line("runs of a large file, mean", report.Before.RunsPerLargeFile, report.After.RunsPerLargeFile, "");
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"{report.Before.SmallFiles} small files, {report.Before.LargeFiles} large ones; {report.MovedBlocks} blocks moved"));
        return 0;
    }

    private static void Line(string what, double before, double after, string unit) =>
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{what,-34}{before,9:0.0}{unit,-1}{after,9:0.0}{unit}"));
}
