// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.Globalization;
using Exo.Cli.Output;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Verbs;

/// <summary><c>exo ls</c>: one directory, or one file.</summary>
internal static class ListVerb
{
    public static Command Create()
    {
        Argument<string> image = Symbols.Image();
        Argument<string?> path = Symbols.PathInImage("Directory or file of the image");
        Option<bool> isLong = new("--long", "-l") { Description = "Modes, links, owners, sizes, times in UTC" };
        Option<bool> json = Symbols.Json();
        VerbCommand command = new("ls", "Lists a directory of an image.")
        {
            Examples = ["exo ls disk.img", "exo ls -l disk.img /usr/lib", "exo ls --json disk.img / | jq -r '.entries[].name'"],
        };
        command.Add(image);
        command.Add(path);
        command.Add(isLong);
        command.Add(json);
        command.SetAction(parsed => Run(
            parsed.GetRequiredValue(image), parsed.GetValue(path), parsed.GetValue(isLong), parsed.GetValue(json)));
        return command;
    }

    private static int Run(string image, string? pathText, bool isLong, bool asJson)
    {
        byte[] path = Symbols.Normalise(pathText);
        using CffsVolume volume = OpenImage.ReadOnly(image);
        List<Listed> entries = Read(volume, path, needStat: isLong || asJson);
        if (asJson)
        {
            JsonOutput.Write(json =>
            {
                json.WriteName("path", path);
                json.WriteStartArray("entries");
                foreach (Listed entry in entries)
                {
                    json.WriteStartObject();
                    json.WriteName("name", entry.Name);
                    StatText.WriteJson(json, entry.Stat);
                    if (entry.Target is { } target)
                    {
                        json.WriteName("target", target);
                    }

                    json.WriteEndObject();
                }

                json.WriteEndArray();
            });
            return 0;
        }

        using StreamWriter output = new(Console.OpenStandardOutput());
        if (!isLong)
        {
            foreach (Listed entry in entries)
            {
                output.Write(ByteText.Escape(entry.Name));
                output.Write('\n');
            }

            return 0;
        }

        int links = Width(entries, static entry => entry.Stat.Links);
        int user = Width(entries, static entry => entry.Stat.User);
        int group = Width(entries, static entry => entry.Stat.Group);
        int size = entries.Count == 0 ? 0 : entries.Max(static entry => Size(entry.Stat).Length);
        foreach (Listed entry in entries)
        {
            CffsStat stat = entry.Stat;
            string target = entry.Target is { } bytes ? $" -> {ByteText.Escape(bytes)}" : "";
            output.Write(string.Create(
                CultureInfo.InvariantCulture,
                $"{StatText.Permissions(stat.Kind, stat.Permissions)} {stat.Links.ToString(CultureInfo.InvariantCulture).PadLeft(links)} "));
            output.Write(
                $"{stat.User.ToString(CultureInfo.InvariantCulture).PadLeft(user)} {stat.Group.ToString(CultureInfo.InvariantCulture).PadLeft(group)} "
                + $"{Size(stat).PadLeft(size)} {StatText.TimeShort(stat.ModifyTimeNs)} {ByteText.Escape(entry.Name)}{target}\n");
        }

        return 0;
    }

    private static List<Listed> Read(CffsVolume volume, byte[] path, bool needStat)
    {
        CffsStat self = volume.Stat(path, followSymbolicLink: false);
        if (self.Kind != CffsKind.Directory)
        {
            return [new Listed(path, self, Target(volume, path, self.Kind))];
        }

        List<Listed> entries = [];
        foreach (CffsDirectoryEntry entry in volume.ReadDirectory(path))
        {
            byte[] name = entry.Name.ToArray();
            byte[] child = Symbols.Join(path, name);
            entries.Add(needStat
                ? new Listed(name, volume.Stat(child, followSymbolicLink: false), Target(volume, child, entry.Kind))
                : new Listed(name, default, null));
        }

        entries.Sort(static (a, b) => a.Name.AsSpan().SequenceCompareTo(b.Name));
        return entries;
    }

    private static byte[]? Target(CffsVolume volume, byte[] path, CffsKind kind) =>
        kind == CffsKind.SymbolicLink ? volume.ReadSymbolicLink(path) : null;

    private static string Size(in CffsStat stat) => stat.Kind is CffsKind.CharacterDevice or CffsKind.BlockDevice
        ? StatText.Device(stat.DeviceNumber)
        : stat.Size.ToString(CultureInfo.InvariantCulture);

    private static int Width(List<Listed> entries, Func<Listed, uint> value) =>
        entries.Count == 0 ? 0 : entries.Max(value).ToString(CultureInfo.InvariantCulture).Length;

    private sealed record Listed(byte[] Name, CffsStat Stat, byte[]? Target);
}
