// SPDX-License-Identifier: MIT
using System.CommandLine;
using Exo.Cli.Output;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Verbs;

/// <summary><c>exo fsck</c>: proves that an image is sound, or says what is wrong. Writes nothing.</summary>
internal static class CheckVerb
{
    private const int Clean = 0;
    private const int ErrorsLeft = 4;
    private const int OperationalError = 8;
    private const int Usage = 16;

    public static Command Create()
    {
        Argument<string> image = Symbols.Image();
        Option<bool> json = Symbols.Json();
        Option<bool> verbose = new("--verbose", "-v") { Description = "Also show what the next mount finishes by itself" };
        VerbCommand command = new("fsck", "Checks an image without mounting it and without writing to it.")
        {
            UsageExitCode = Usage,
            FailureExitCode = OperationalError,
            Notes =
            [
                "Exit codes: 0 nothing is wrong, 4 errors are there (and left there), 8 the check could not be made, 16 wrong usage.\n"
                + "Unfinished business of a crash is not an error: the next mount finishes it. --verbose shows it.",
            ],
            Examples = ["exo fsck disk.img", "exo fsck --json disk.img | jq .findings"],
        };
        command.Add(image);
        command.Add(json);
        command.Add(verbose);
        command.SetAction(parsed => Run(parsed.GetRequiredValue(image), parsed.GetValue(json), parsed.GetValue(verbose)));
        return command;
    }

    private static int Run(string image, bool asJson, bool verbose)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64L << 20 });
        using BlockDevice device = BlockDevice.Open(image, frames, new BlockDeviceOptions { ReadOnly = true });
        StepCounts counts = new();
        CffsCheckReport report = StepProgress.Run(
            "checking",
            counts,
            () => CffsCheck.Run(device, new CffsCheckOptions(), new Forward(counts)));
        if (asJson)
        {
            WriteJson(image, report);
        }
        else
        {
            foreach (CffsFinding finding in report.Findings.Where(finding => verbose || finding.Severity != CffsSeverity.Info))
            {
                Console.WriteLine($"{Severity(finding.Severity)}: {finding.Code}: {OneLine.Of(finding.Message)}");
            }

            Console.WriteLine(
                $"{image}: {(report.IsClean ? "clean" : "NOT CLEAN")}, {report.Files} files, {report.Directories} directories, "
                + $"{report.BlocksInUse} of {report.BlocksTotal} blocks in use");
        }

        return report.IsClean ? Clean : ErrorsLeft;
    }

    private static void WriteJson(string image, CffsCheckReport report) => JsonOutput.Write(json =>
    {
        json.WriteString("image", image);
        json.WriteBoolean("clean", report.IsClean);
        json.WriteNumber("files", report.Files);
        json.WriteNumber("directories", report.Directories);
        json.WriteNumber("usedBlocks", report.BlocksInUse);
        json.WriteNumber("totalBlocks", report.BlocksTotal);
        json.WriteStartArray("findings");
        foreach (CffsFinding finding in report.Findings)
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
    });

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
