// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.Diagnostics;
using Exo.Cli.Arguments;
using Exo.Cli.HostTree;
using Exo.Cli.Output;
using Exo.Cli.Transfer;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Verbs;

/// <summary><c>exo import</c>: a folder of the host into an image.</summary>
internal static class ImportVerb
{
    private const int SyncEveryWhenReporting = 100;
    private const long CacheBytes = 256L << 20;

    public static Command Create()
    {
        Argument<string> image = Symbols.Image();
        Argument<string> folder = Symbols.Place("DIR", "Folder whose contents are copied");
        Option<string> to = new("--to") { Description = "Directory of the image to copy into; made if missing", HelpName = "PATH", DefaultValueFactory = _ => "/" };
        Option<int> syncEvery = new("--sync-every")
        {
            Description = "Make everything durable after each N files; 0: once, at the end",
            HelpName = "N",
            DefaultValueFactory = _ => 0,
        };
        Option<string?> report = new("--report-synced")
        {
            Description = "Append the path of each file to FILE once it is durable (implies --sync-every 100 if that is not given)",
            HelpName = "FILE",
        };
        Option<bool> groupPages = new("--group-pages") { Description = "Place each HTML page and what it includes next to each other" };
        report.Validators.Add(Symbols.RefuseEmpty);
        VerbCommand command = new("import", "Copies a folder into an image: contents with their holes, modes, owners, times, user.* attributes, symbolic and hard links, FIFOs, devices.")
        {
            Notes =
            [
                "Files that are there already are replaced, each when its successor is whole; directories are merged. What\n"
                + "cannot be read is named on standard error and left out; the exit code is then 1. Of extended attributes those\n"
                + "named user.* are copied.",
                "With --group-pages a page, its style sheets, scripts and pictures lie in one run of blocks, whichever\n"
                + "directories they are in, and exo serve fetches them with one read. DIR is then the root of the site.",
            ],
            Examples =
            [
                "exo import disk.img ./public",
                "exo import disk.img ./public --group-pages",
                "exo import disk.img /usr/share --to /usr/share",
                "exo import disk.img ./mail --sync-every 500 --report-synced done.txt",
            ],
        };
        command.Add(image);
        command.Add(folder);
        command.Add(to);
        command.Add(groupPages);
        command.Add(syncEvery);
        command.Add(report);
        command.SetAction(parsed => Run(
            parsed.GetRequiredValue(image),
            parsed.GetRequiredValue(folder),
            parsed.GetRequiredValue(to),
            parsed.GetValue(groupPages),
            parsed.GetResult(syncEvery) is { Implicit: false } ? parsed.GetValue(syncEvery) : null,
            parsed.GetValue(report)));
        return command;
    }

    private static int Run(string image, string folder, string to, bool groupPages, int? syncEvery, string? report)
    {
        if (syncEvery < 0)
        {
            throw new UsageException("--sync-every: a negative number of files");
        }

        byte[] target = Symbols.Normalise(to);
        using Interruption interruption = new();
        using HostDirectory source = HostDirectory.Open(folder);
        using CffsVolume volume = OpenImage.ForWriting(image, CacheBytes);
        using SyncReport synced = new(volume, report, syncEvery ?? (report is null ? 0 : SyncEveryWhenReporting));
        StepCounts counts = new();
        using TreeCount? scout = StepProgress.IsInteractive ? TreeCount.Start(folder, counts) : null;
        TreeImport import = new(volume, synced, counts, image, interruption.Token);
        Stopwatch clock = Stopwatch.StartNew();
        try
        {
            StepProgress.Run("importing", counts, () =>
            {
                import.Run(source, target, groupPages);
                synced.Finish();
                return true;
            });
        }
        catch (Exception stopped) when (stopped is OperationCanceledException or CffsException { Error: CffsError.NoSpace })
        {
            // The volume is closed as after any other work.
            throw new IOException($"{image}: {Failure.Describe(stopped)}; {import.Files} files, {import.Directories} directories, {import.Links} links are there, the rest is not", stopped);
        }

        string pages = groupPages ? $"{import.Pages} pages with what they include, " : "";
        Console.WriteLine(
            $"{import.Files} files, {import.Directories} directories, {import.Links} links, {pages}{ByteSize.Format(counts.Bytes)} "
            + $"in {clock.Elapsed.TotalSeconds:0.0} s");
        return import.Problems == 0 ? 0 : ExoCommand.Failed;
    }
}
