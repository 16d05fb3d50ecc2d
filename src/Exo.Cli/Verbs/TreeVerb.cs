// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.Text.Json;
using Exo.Cli.Output;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Verbs;

/// <summary><c>exo tree</c>: everything below a directory.</summary>
internal static class TreeVerb
{
    public static Command Create()
    {
        Argument<string> image = Symbols.Image();
        Argument<string?> path = Symbols.PathInImage("Directory of the image");
        Option<bool> json = Symbols.Json();
        VerbCommand command = new("tree", "Shows everything below a directory of an image.")
        {
            Examples = ["exo tree disk.img", "exo tree disk.img /docs", "exo tree --json disk.img"],
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
        CffsStat top = volume.Stat(path);
        if (asJson)
        {
            JsonOutput.Write(json => WriteNode(json, volume, path, path, top));
            return 0;
        }

        using StreamWriter output = new(Console.OpenStandardOutput());
        output.Write(ByteText.Escape(path) + "\n");
        (int directories, int files) = (0, 0);
        if (top.Kind == CffsKind.Directory)
        {
            Draw(output, volume, path, "", ref directories, ref files);
        }

        output.Write($"\n{directories} {(directories == 1 ? "directory" : "directories")}, {files} {(files == 1 ? "file" : "files")}\n");
        return 0;
    }

    private static void Draw(StreamWriter output, CffsVolume volume, byte[] path, string indent, ref int directories, ref int files)
    {
        List<CffsDirectoryEntry> entries = Sorted(volume, path);
        for (int i = 0; i < entries.Count; i++)
        {
            CffsDirectoryEntry entry = entries[i];
            bool isLast = i == entries.Count - 1;
            byte[] child = Symbols.Join(path, entry.Name.Span);
            string target = entry.Kind == CffsKind.SymbolicLink ? $" -> {ByteText.Escape(volume.ReadSymbolicLink(child))}" : "";
            output.Write($"{indent}{(isLast ? "└── " : "├── ")}{ByteText.Escape(entry.Name.Span)}{target}\n");
            if (entry.Kind == CffsKind.Directory)
            {
                directories++;
                Draw(output, volume, child, indent + (isLast ? "    " : "│   "), ref directories, ref files);
            }
            else
            {
                files++;
            }
        }
    }

    private static void WriteNode(Utf8JsonWriter json, CffsVolume volume, byte[] path, ReadOnlySpan<byte> name, in CffsStat stat)
    {
        json.WriteName("name", name);
        StatText.WriteJson(json, stat);
        if (stat.Kind == CffsKind.SymbolicLink)
        {
            json.WriteName("target", volume.ReadSymbolicLink(path));
        }

        if (stat.Kind == CffsKind.Directory)
        {
            json.WriteStartArray("children");
            foreach (CffsDirectoryEntry entry in Sorted(volume, path))
            {
                byte[] child = Symbols.Join(path, entry.Name.Span);
                json.WriteStartObject();
                WriteNode(json, volume, child, entry.Name.Span, volume.Stat(child, followSymbolicLink: false));
                json.WriteEndObject();
            }

            json.WriteEndArray();
        }
    }

    private static List<CffsDirectoryEntry> Sorted(CffsVolume volume, byte[] path)
    {
        List<CffsDirectoryEntry> entries = [.. volume.ReadDirectory(path)];
        entries.Sort(static (a, b) => a.Name.Span.SequenceCompareTo(b.Name.Span));
        return entries;
    }
}
