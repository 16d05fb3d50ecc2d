// SPDX-License-Identifier: MIT
using System.CommandLine;
using Exo.Cli.Arguments;
using Exo.Cli.Output;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Verbs;

/// <summary><c>exo resize</c>: a volume and its image file become larger or smaller.</summary>
internal static class ResizeVerb
{
    public static Command Create()
    {
        Argument<string> image = Symbols.Image();
        Argument<string?> size = new("SIZE")
        {
            Description = "64M, 1G, ...; rounded down to whole blocks of 4096 bytes. Without it, all of the device or file as it is",
            Arity = ArgumentArity.ZeroOrOne,
        };
        VerbCommand command = new("resize", "Makes a volume that nobody has mounted larger or smaller, and its image file with it.")
        {
            Notes =
            [
                "Growing is one write. Shrinking first moves what lies beyond the new end; interrupted, by a signal or a power cut, it loses nothing, and run again it goes on.\n"
                + "A volume can grow to 16 times the size that it was made with.",
            ],
            Examples = ["exo resize disk.img 2G", "exo resize disk.img 300M", "exo resize /dev/loop0"],
        };
        command.Add(image);
        command.Add(size);
        command.SetAction(parsed => Run(parsed.GetRequiredValue(image), parsed.GetValue(size)));
        return command;
    }

    private static int Run(string image, string? size)
    {
        long sizeBytes = 0;
        if (size is not null && (!ByteSize.TryParse(size, out sizeBytes) || sizeBytes <= 0))
        {
            throw new UsageException($"'{size}' is no size");
        }

        using Interruption interruption = new();
        StepCounts counts = new();
        StepProgress.Run("moving blocks", counts, () =>
        {
            CffsVolume.Resize(image, sizeBytes, null, new Forward(counts), interruption.Token);
            return 0;
        });
        using CffsVolume volume = OpenImage.ReadOnly(image);
        CffsSpace space = volume.GetSpace();
        Console.WriteLine(
            $"{image}: {ByteSize.Format((long)space.TotalBlocks * CffsSpace.BlockBytes)}, {ByteSize.Format((long)space.FreeBlocks * CffsSpace.BlockBytes)} free");
        return 0;
    }

    private sealed class Forward(StepCounts counts) : IProgress<CffsMoveProgress>
    {
        public void Report(CffsMoveProgress value) => counts.Set((long)value.MovedBlocks, 0);
    }
}
