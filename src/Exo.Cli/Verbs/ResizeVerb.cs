// SPDX-License-Identifier: MIT
using System.CommandLine;
using Exo.Cli.Administration;
using Exo.Cli.Arguments;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Verbs;

/// <summary><c>exo resize</c>: a volume and its image file become larger or smaller.</summary>
internal static class ResizeVerb
{
    public static Command Create()
    {
        Argument<string> image = Symbols.ImageOrMount();
        Argument<string?> size = new("SIZE")
        {
            Description = "64M, 1G, ...; rounded down to whole blocks of 4096 bytes. Without it, all of the device or file as it is",
            Arity = ArgumentArity.ZeroOrOne,
        };
        VerbCommand command = new("resize", "Makes a volume larger or smaller, and its image file with it.")
        {
            Notes =
            [
                "Growing is one write. Shrinking first moves what lies beyond the new end; interrupted, by a signal or a power cut, it loses nothing, and run again it goes on.\n"
                + "A volume can grow to 16 times the size that it was made with.",
                Symbols.MountNote,
            ],
            Examples = ["exo resize disk.img 2G", "exo resize /mnt 2G", "exo resize disk.img 300M", "exo resize /dev/loop0"],
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

        if (size is not null && sizeBytes < CffsSpace.BlockBytes)
        {
            throw new UsageException($"'{size}' is less than one block of {CffsSpace.BlockBytes} bytes");
        }

        SpaceResult space = AnyVolume.Run(image, new ResizeRequest(sizeBytes), "moving blocks");
        Console.WriteLine(
            $"{image}: {ByteSize.Format((long)space.TotalBlocks * CffsSpace.BlockBytes)}, {ByteSize.Format((long)space.FreeBlocks * CffsSpace.BlockBytes)} free");
        return 0;
    }
}
