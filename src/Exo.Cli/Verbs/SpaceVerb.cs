// SPDX-License-Identifier: MIT
using System.CommandLine;
using Exo.Cli.Administration;
using Exo.Cli.Arguments;
using Exo.Cli.Output;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Verbs;

/// <summary><c>exo df</c>: space on an image.</summary>
internal static class SpaceVerb
{
    public static Command Create()
    {
        Argument<string> image = Symbols.ImageOrMount();
        Option<bool> json = Symbols.Json();
        VerbCommand command = new("df", "Shows how much of an image is used and free.")
        {
            Examples = ["exo df disk.img", "exo df --json disk.img | jq .freeBytes"],
        };
        command.Add(image);
        command.Add(json);
        command.SetAction(parsed => Run(parsed.GetRequiredValue(image), parsed.GetValue(json)));
        return command;
    }

    private static int Run(string image, bool asJson)
    {
        SpaceResult space = AnyVolume.Run(image, new SpaceRequest(), "looking");
        long total = (long)space.TotalBlocks * CffsSpace.BlockBytes;
        long free = (long)space.FreeBlocks * CffsSpace.BlockBytes;
        long willFree = (long)space.WillFreeBlocks * CffsSpace.BlockBytes;
        if (asJson)
        {
            JsonOutput.Write(json =>
            {
                json.WriteString("image", image);
                json.WriteString("volumeId", space.VolumeId.ToString());
                json.WriteString("label", space.Label);
                json.WriteNumber("blockBytes", CffsSpace.BlockBytes);
                json.WriteNumber("totalBytes", total);
                json.WriteNumber("freeBytes", free);
                json.WriteNumber("availableBytes", (long)space.AvailableBlocks * CffsSpace.BlockBytes);
                json.WriteNumber("willFreeBytes", willFree);
            });
            return 0;
        }

        string percent = total == 0 ? "-" : $"{(total - free) * 100 / total}%";
        Console.WriteLine($"{"Size",8} {"Used",8} {"Free",8} {"Use",5}  Image");
        Console.WriteLine($"{ByteSize.Format(total),8} {ByteSize.Format(total - free),8} {ByteSize.Format(free),8} {percent,5}  {image}");
        return 0;
    }
}
