// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.Diagnostics;
using Exo.Cli.Arguments;
using Exo.Cli.HostTree;
using Exo.Cli.Output;
using Exo.Cli.Transfer;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Verbs;

/// <summary><c>exo export</c>: a directory of an image into a folder of the host.</summary>
internal static class ExportVerb
{
    private const long CacheBytes = 256L << 20;

    public static Command Create()
    {
        Argument<string> image = Symbols.Image();
        Argument<string> folder = Symbols.Place("DIR", "Folder to copy into; made if missing");
        Option<string> from = new("--from") { Description = "Directory of the image to copy", HelpName = "PATH", DefaultValueFactory = _ => "/" };
        VerbCommand command = new("export", "Copies a directory of an image into a folder: contents with their holes, modes, owners, times, user.* attributes, links, FIFOs, devices.")
        {
            Notes =
            [
                "Nothing that is there is replaced. Owners and devices need root; without it owners are left out and devices are\n"
                + "named on standard error, and the exit code is 1.",
            ],
            Examples = ["exo export disk.img ./out", "exo export disk.img ./docs --from /usr/share/doc"],
        };
        command.Add(image);
        command.Add(folder);
        command.Add(from);
        command.SetAction(parsed => Run(parsed.GetRequiredValue(image), parsed.GetRequiredValue(folder), parsed.GetRequiredValue(from)));
        return command;
    }

    private static int Run(string image, string folder, string from)
    {
        byte[] path = Symbols.Normalise(from);
        using Interruption interruption = new();
        using CffsVolume volume = OpenImage.ReadOnly(image, CacheBytes);
        if (volume.Stat(path).Kind != CffsKind.Directory)
        {
            throw new IOException($"{Symbols.Show(path)} is not a directory; 'exo cat' copies a file");
        }

        Directory.CreateDirectory(folder);
        using HostDirectory target = HostDirectory.Open(folder);
        StepCounts counts = new();
        TreeExport export = new(volume, counts, interruption.Token);
        Stopwatch clock = Stopwatch.StartNew();
        try
        {
            StepProgress.Run("exporting", counts, () =>
            {
                export.Run(path, target);
                return true;
            });
        }
        catch (Exception stopped) when (stopped is OperationCanceledException or HostException)
        {
            throw new IOException($"{Failure.Describe(stopped)}; {export.Files} files, {export.Directories} directories, {export.Links} links are in {folder}, the rest is not", stopped);
        }

        Console.WriteLine(
            $"{export.Files} files, {export.Directories} directories, {export.Links} links, {ByteSize.Format(counts.Bytes)} "
            + $"in {clock.Elapsed.TotalSeconds:0.0} s");
        return export.Problems == 0 ? 0 : ExoCommand.Failed;
    }
}
