// SPDX-License-Identifier: MIT
using System.CommandLine;
using Exo.Cli.Output;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Verbs;

/// <summary><c>exo stat</c>: the attributes of one inode. A symbolic link is shown itself, not what it points to.</summary>
internal static class StatVerb
{
    public static Command Create()
    {
        Argument<string> image = Symbols.Image();
        Argument<string?> path = Symbols.PathInImage("File or directory of the image");
        Option<bool> json = Symbols.Json();
        VerbCommand command = new("stat", "Shows the attributes of a file or directory of an image.")
        {
            Examples = ["exo stat disk.img /index.html", "exo stat --json disk.img / | jq .inode"],
        };
        command.Add(image);
        command.Add(path);
        command.Add(json);
        command.SetAction(parsed => Run(parsed.GetRequiredValue(image), parsed.GetValue(path), parsed.GetValue(json)));
        return command;
    }

    private static int Run(string image, string? pathText, bool asJson)
    {
        byte[] path = Symbols.Normalise(pathText);
        using CffsVolume volume = OpenImage.ReadOnly(image);
        CffsStat stat = volume.Stat(path, followSymbolicLink: false);
        byte[]? target = stat.Kind == CffsKind.SymbolicLink ? volume.ReadSymbolicLink(path) : null;
        long shared = stat.Kind == CffsKind.File ? SharedBytes(volume, path) : 0;
        if (asJson)
        {
            JsonOutput.Write(json =>
            {
                json.WriteName("path", path);
                StatText.WriteJson(json, stat);
                json.WriteNumber("sharedBytes", shared);
                if (target is not null)
                {
                    json.WriteName("target", target);
                }
            });
            return 0;
        }

        string name = ByteText.Escape(path) + (target is null ? "" : $" -> {ByteText.Escape(target)}");
        string device = stat.Kind is CffsKind.CharacterDevice or CffsKind.BlockDevice ? $"  Device: {StatText.Device(stat.DeviceNumber)}" : "";
        Console.WriteLine($"    Path: {name}");
        Console.WriteLine($"    Kind: {StatText.Kind(stat.Kind)}{device}");
        Console.WriteLine($"   Inode: {stat.Inode}  Links: {stat.Links}");
        Console.WriteLine($"    Size: {stat.Size}  Blocks: {stat.AllocatedBlocks} of 4096{(shared > 0 ? $"  Shared: {shared} bytes" : "")}{(stat.IsSnapshot ? "  (snapshot)" : "")}");
        Console.WriteLine(
            $"    Mode: {StatText.Octal(stat.Permissions)} {StatText.Permissions(stat.Kind, stat.Permissions)}  User: {stat.User}  Group: {stat.Group}");
        Console.WriteLine($"  Access: {StatText.Time(stat.AccessTimeNs)}");
        Console.WriteLine($"  Modify: {StatText.Time(stat.ModifyTimeNs)}");
        Console.WriteLine($"  Change: {StatText.Time(stat.ChangeTimeNs)}");
        Console.WriteLine($"   Birth: {StatText.Time(stat.BirthTimeNs)}");
        return 0;
    }

    /// <summary>Bytes of the blocks that others own too.</summary>
    private static long SharedBytes(CffsVolume volume, byte[] path)
    {
        using CffsFile file = volume.OpenFile(path);
        return file.ReadExtents().Where(extent => extent.IsShared).Sum(extent => extent.LengthBytes);
    }
}
