// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.Globalization;
using Exo.Cli.Administration;
using Exo.Cli.Arguments;
using Exo.Cli.Output;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Verbs;

/// <summary><c>exo xcp</c>: copies of trees, within an image and from image to image.</summary>
internal static class CopyTreeVerb
{
    public static Command Create()
    {
        Argument<string> image = Symbols.ImageOrMount();
        Argument<string> source = new("SOURCE") { Description = "Directory of the image" };
        Argument<string> destination = new("DESTINATION") { Description = "Name of the copy, which is not there yet" };
        Option<string?> to = new("--to") { Description = "Image that gets the copy [default: the same]", HelpName = "IMAGE" };
        Option<bool> apart = new("--no-share") { Description = "Copy the contents of large files, too, instead of sharing their blocks" };
        to.Validators.Add(Symbols.RefuseEmpty);
        VerbCommand command = new("xcp", "Copies a directory and all below it within an image, or to another: whole, or after a crash not at all.")
        {
            Notes = ["Within an image that is mounted, the process that has it mounted copies."],
            Examples = ["exo xcp disk.img /site /site-backup", "exo xcp disk.img / /imported --to other.img"],
        };
        command.Add(image);
        command.Add(source);
        command.Add(destination);
        command.Add(to);
        command.Add(apart);
        command.SetAction(parsed => Run(
            parsed.GetRequiredValue(image), Symbols.Normalise(parsed.GetRequiredValue(source)), Symbols.Normalise(parsed.GetRequiredValue(destination)), parsed.GetValue(to), !parsed.GetValue(apart)));
        return command;
    }

    private static int Run(string image, byte[] source, byte[] destination, string? to, bool shares)
    {
        bool isSame = to is null || Path.GetFullPath(to) == Path.GetFullPath(image);
        CffsCopyReport report = isSame ? AnyVolume.Run(image, new CopyTreeRequest(source, destination, shares), "copying").Report : CopyTo(to!, image, source, destination, shares);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{report.Files} files, {report.Directories} directories, {report.Others} others, {report.Links} links; {ByteSize.Format(report.Bytes)} copied, {ByteSize.Format(report.SharedBytes)} shared"));
        return 0;
    }

    private static CffsCopyReport CopyTo(string to, string image, byte[] source, byte[] destination, bool shares)
    {
        using Interruption interruption = new();
        using CffsVolume from = OpenImage.ReadOnly(image);
        using CffsVolume other = OpenImage.ForWriting(to);
        CopyTreeRequest request = new(source, destination, shares) { Target = other };
        StepCounts counts = new();
        return StepProgress.Run("copying", counts, () => (CopyTreeResult)request.CarryOut(from, counts, interruption.Token)).Report;
    }
}
