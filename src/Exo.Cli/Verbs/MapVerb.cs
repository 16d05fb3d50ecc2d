// SPDX-License-Identifier: MIT
using System.CommandLine;
using Exo.Cli.Map;
using Exo.FileSystems.CFFS;
using Spectre.Console;

namespace Exo.Cli.Verbs;

/// <summary><c>exo map</c>: what every block of an image is.</summary>
internal static class MapVerb
{
    // 160 by 160 cells fill a screen; with more blocks a cell is several.
    private const int PictureColumns = 160, PictureRowsMax = 160, TerminalRowsMax = 40, TerminalColumnsMax = 128;

    public static Command Create()
    {
        Argument<string> image = Symbols.Image();
        Option<string?> output = new("--output", "-o") { Description = "Write a picture (SVG) instead; '-' is standard output", HelpName = "FILE" };
        output.Validators.Add(Symbols.RefuseEmpty);
        VerbCommand command = new("map", "Draws every block of an image: metadata by its template, contents of files by their directory.")
        {
            Examples = ["exo map disk.img", "exo map disk.img -o map.svg"],
        };
        command.Add(image);
        command.Add(output);
        command.SetAction(parsed => Run(parsed.GetRequiredValue(image), parsed.GetValue(output)));
        return command;
    }

    private static int Run(string image, string? output)
    {
        using CffsVolume volume = OpenImage.ReadOnly(image);
        if (output is null)
        {
            int columns = Math.Clamp(AnsiConsole.Profile.Width - 1, 20, TerminalColumnsMax);
            TerminalMap.Print(BlockMap.Read(volume, columns, TerminalRowsMax), AnsiConsole.Console);
            return 0;
        }

        BlockMap map = BlockMap.Read(volume, PictureColumns, PictureRowsMax);
        string title = volume.Info.Label is { Length: > 0 } label ? $"{Path.GetFileName(image)} ({label})" : Path.GetFileName(image);
        using StreamWriter picture = output == "-" ? new(Console.OpenStandardOutput()) : new(output);
        new SvgMap(map, title, picture).Write();
        return 0;
    }
}
