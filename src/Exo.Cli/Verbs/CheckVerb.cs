// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.Text.Json;
using Exo.Cli.Administration;
using Exo.Cli.Output;
using Exo.Core.Blocks;
using Exo.Core.Linux;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Verbs;

/// <summary><c>exo fsck</c>: proves that an image is sound, or says what is wrong; with <c>--repair</c> it puts it right. Exit codes as fsck(8).</summary>
internal static class CheckVerb
{
    private const int Clean = 0;
    private const int ErrorsCorrected = 1;
    private const int ErrorsLeft = 4;
    private const int OperationalError = 8;
    private const int Usage = 16;
    private const int Cancelled = 32;

    public static Command Create()
    {
        Argument<string> image = Symbols.Image();
        Option<bool> repair = new("--repair") { Description = "Put right what is wrong; lost files go to /lost+found" };
        Option<bool> dryRun = new("--dry-run", "-n") { Description = "With --repair: say what would be done, and write nothing" };
        Option<bool> json = Symbols.Json();
        Option<bool> verbose = new("--verbose", "-v") { Description = "Also show what the next mount finishes by itself" };
        VerbCommand command = new("fsck", "Checks an image without mounting it; writes to it only with --repair.")
        {
            UsageExitCode = Usage,
            FailureExitCode = OperationalError,
            Notes =
            [
                "Exit codes: 0 nothing is wrong, 1 errors were corrected, 4 errors are there (and left there), 8 the check could not be made, 16 wrong usage, 32 cancelled.\n"
                + "Unfinished business of a crash is not an error: the next mount finishes it, and so does --repair. --verbose shows it.",
            ],
            Examples = ["exo fsck disk.img", "exo fsck --repair disk.img", "exo fsck --json disk.img | jq .findings"],
        };
        command.Add(image);
        command.Add(repair);
        command.Add(dryRun);
        command.Add(json);
        command.Add(verbose);
        command.Validators.Add(result =>
        {
            if (result.GetValue(dryRun) && !result.GetValue(repair))
            {
                result.AddError("--dry-run goes with --repair");
            }
        });
        command.SetAction(parsed => Run(
            parsed.GetRequiredValue(image), parsed.GetValue(repair), parsed.GetValue(dryRun), parsed.GetValue(json), parsed.GetValue(verbose)));
        return command;
    }

    private static int Run(string image, bool isRepair, bool isDryRun, bool asJson, bool verbose)
    {
        if (Directory.Exists(image) && MountedImage.Find(image) is { } at)
        {
            throw new IOException($"{image} is where {at.Source} is mounted: what is in use cannot be checked. Unmount it first (exo umount {at.Directory})");
        }

        OpenImage.Require(image);
        using Interruption interruption = new();
        try
        {
            using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64L << 20 });
            using BlockDevice device = BlockDevice.Open(image, frames, new BlockDeviceOptions { ReadOnly = !isRepair || isDryRun });
            StepCounts counts = new();
            return isRepair
                ? Repair(image, StepProgress.Run("repairing", counts, () => CffsRepair.Run(
                    device, new CffsRepairOptions { DryRun = isDryRun, Progress = new Forward(counts), CancellationToken = interruption.Token })), asJson, verbose)
                : Check(image, StepProgress.Run("checking", counts, () => CffsCheck.Run(
                    device, new CffsCheckOptions { CancellationToken = interruption.Token }, new Forward(counts))), asJson, verbose);
        }
        catch (BlockDeviceException busy) when (busy.Errno == Errno.EBUSY && MountedImage.Find(image) is { } mount)
        {
            throw new IOException(
                $"{image} is mounted on {mount.Directory}: what is in use cannot be checked. Unmount it first (exo umount {mount.Directory}), or check a copy of one moment (cp --reflink=always, or a snapshot of the disk)", busy);
        }
        catch (OperationCanceledException)
        {
            Console.Error.WriteLine("exo fsck: cancelled; nothing was written");
            return Cancelled;
        }
    }

    private static int Check(string image, CffsCheckReport report, bool asJson, bool verbose)
    {
        if (asJson)
        {
            WriteJson(image, report, null);
        }
        else
        {
            WriteFindings(report.Findings, verbose);
            WriteSummary(image, report);
        }

        return report.IsClean ? Clean : ErrorsLeft;
    }

    private static int Repair(string image, CffsRepairReport report, bool asJson, bool verbose)
    {
        if (asJson)
        {
            WriteJson(image, report.After, report);
        }
        else
        {
            WriteFindings(report.Before.Findings, verbose);
            foreach (CffsFinding action in report.Actions)
            {
                Console.WriteLine($"{(report.HasWritten ? "repair" : "would repair")}: {action.Code}: {OneLine.Of(action.Message)}");
            }

            WriteSummary(image, report.After);
        }

        return !report.IsClean ? ErrorsLeft : report.HasWritten ? ErrorsCorrected : Clean;
    }

    private static void WriteFindings(IReadOnlyList<CffsFinding> findings, bool verbose)
    {
        foreach (CffsFinding finding in findings.Where(finding => verbose || finding.Severity != CffsSeverity.Info))
        {
            Console.WriteLine($"{Severity(finding.Severity)}: {finding.Code}: {OneLine.Of(finding.Message)}");
        }
    }

    private static void WriteSummary(string image, CffsCheckReport report) => Console.WriteLine(
        $"{image}: {(report.IsClean ? "clean" : "NOT CLEAN")}, {report.Files} files, {report.Directories} directories, "
        + $"{report.BlocksInUse} of {report.BlocksTotal} blocks in use");

    private static void WriteJson(string image, CffsCheckReport report, CffsRepairReport? repair) => JsonOutput.Write(json =>
    {
        json.WriteString("image", image);
        json.WriteBoolean("clean", report.IsClean);
        json.WriteNumber("files", report.Files);
        json.WriteNumber("directories", report.Directories);
        json.WriteNumber("usedBlocks", report.BlocksInUse);
        json.WriteNumber("totalBlocks", report.BlocksTotal);
        WriteFindings(json, "findings", report.Findings);
        if (repair is not null)
        {
            json.WriteBoolean("written", repair.HasWritten);
            WriteFindings(json, "before", repair.Before.Findings);
            WriteFindings(json, "actions", repair.Actions);
        }
    });

    private static void WriteFindings(Utf8JsonWriter json, string name, IReadOnlyList<CffsFinding> findings)
    {
        json.WriteStartArray(name);
        foreach (CffsFinding finding in findings)
        {
            json.WriteStartObject();
            json.WriteString("severity", Severity(finding.Severity));
            json.WriteString("code", finding.Code);
            json.WriteString("message", finding.Message);
            json.WriteNumber("inode", finding.Inode);
            json.WriteNumber("block", finding.Block);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static string Severity(CffsSeverity severity) => severity switch
    {
        CffsSeverity.Info => "info",
        CffsSeverity.Warning => "warning",
        _ => "error",
    };

    private sealed class Forward(StepCounts counts) : IProgress<CffsCheckProgress>
    {
        public void Report(CffsCheckProgress value) => counts.Set(value.Done, value.Total);
    }
}
