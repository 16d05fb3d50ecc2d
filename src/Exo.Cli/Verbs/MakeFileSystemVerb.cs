// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.Text;
using Exo.Cli.Arguments;
using Exo.Core.Linux;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Verbs;

/// <summary><c>exo mkfs</c>: makes an image and an empty volume on it.</summary>
internal static class MakeFileSystemVerb
{
    private const int BlockBytes = 4096;
    private const int LabelBytesMax = 64;

    public static Command Create()
    {
        Argument<string> image = Symbols.Image();
        Option<long?> size = Symbols.Size("--size", "Size of the image: 64M, 1G, 500MB, ...; rounded down to whole blocks of 4096 bytes. "
            + "Not needed for a block device or an existing file");
        Option<string> label = new("--label") { Description = "A name for people, at most 64 bytes", HelpName = "TEXT", DefaultValueFactory = _ => "" };
        Option<bool> force = new("--force") { Description = "Replace what is there. Everything on it is lost" };
        VerbCommand command = new("mkfs", "Makes an image file (or takes a block device) and puts an empty C-FFS volume on it.")
        {
            Examples =
            [
                "exo mkfs disk.img --size 1G",
                "exo mkfs disk.img --size 256MiB --label photos",
                "exo mkfs /dev/loop0 --force",
                "exo mkfs 'disk.img#data'",
            ],
        };
        command.Add(image);
        command.Add(size);
        command.Add(label);
        command.Add(force);
        command.SetAction(parsed => Run(
            parsed.GetRequiredValue(image), parsed.GetValue(size), parsed.GetRequiredValue(label), parsed.GetValue(force)));
        return command;
    }

    private static int Run(string image, long? sizeBytes, string label, bool force)
    {
        if (Encoding.UTF8.GetByteCount(label) > LabelBytesMax)
        {
            throw new UsageException($"--label: longer than {LabelBytesMax} bytes");
        }

        FileInfo existing = new(image);
        bool isPart = ImagePath.IsPartOfAnother(image);
        if (sizeBytes is not null && isPart)
        {
            throw new UsageException("--size: an export or a partition has the size that it has");
        }

        if (sizeBytes is null && !isPart && (!existing.Exists || ((existing.Attributes & FileAttributes.Device) == 0 && existing.Length == 0)))
        {
            throw new UsageException($"{image} is {(existing.Exists ? "empty" : "not there yet")}: say --size");
        }

        if (sizeBytes < BlockBytes)
        {
            throw new UsageException("--size: less than one block of 4096 bytes");
        }

        if (sizeBytes is not null && existing.Exists && existing.Length > sizeBytes)
        {
            // To cut it off would be a surprise, and to leave it as it is one, too.
            throw new UsageException($"{image} has {ByteSize.Format(existing.Length)} already, more than --size; without --size the volume takes all of it");
        }

        using CffsVolume volume = CffsVolume.Create(image, new CffsCreateOptions
        {
            SizeBytes = sizeBytes.GetValueOrDefault() / BlockBytes * BlockBytes,
            Label = label,
            Overwrite = force,

            // Else an ordinary user could mount what he has made, and not write to it.
            RootUser = Libc.EffectiveUser(),
            RootGroup = Libc.EffectiveGroup(),
        });
        CffsSpace space = volume.GetSpace();
        Console.WriteLine(
            $"{image}: C-FFS volume {volume.Info.VolumeId}, {ByteSize.Format((long)space.TotalBlocks * CffsSpace.BlockBytes)}, "
            + $"{ByteSize.Format((long)space.FreeBlocks * CffsSpace.BlockBytes)} free");
        return 0;
    }
}
