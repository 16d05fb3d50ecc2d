// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.Text.Json;
using Exo.Cli.Output;
using Exo.Core.Blocks;
using Exo.Core.DownloadedCode;
using Exo.Core.Memory;
using Exo.Storage.XN;
using DownloadedProgram = Exo.Core.DownloadedCode.Program;

namespace Exo.Cli.Verbs;

/// <summary><c>exo templates</c>: what the file systems of a volume have taught XN, down to the instructions. Of any XN volume, whatever file systems are on it.</summary>
internal static class TemplatesVerb
{
    public static Command Create()
    {
        Argument<string> image = Symbols.Image();
        Argument<string?> name = new("NAME") { Description = "Template to disassemble", Arity = ArgumentArity.ZeroOrOne };
        Option<bool> json = Symbols.Json();
        VerbCommand command = new("templates", "Lists the templates on a volume, or disassembles one.")
        {
            Examples = ["exo templates disk.img", "exo templates disk.img cffs.slots"],
        };
        command.Add(image);
        command.Add(name);
        command.Add(json);
        command.SetAction(parsed => Run(parsed.GetRequiredValue(image), parsed.GetValue(name), parsed.GetValue(json)));
        return command;
    }

    private static int Run(string image, string? name, bool asJson)
    {
        OpenImage.Require(image);
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16L << 20 });
        using BlockDevice device = BlockDevice.Open(image, frames, new BlockDeviceOptions { ReadOnly = true });
        using XnVolume volume = XnVolume.Attach(device, new XnAttachOptions { ReadOnly = true });
        (TemplateId Id, TemplateSource Source)[] templates = [.. volume.Templates.Select(template => (template.Id, SourceOf(volume, template.Id)))];
        if (name is not null)
        {
            templates = [.. templates.Where(template => template.Source.Name == name)];
            if (templates.Length == 0)
            {
                throw new IOException($"{image} has no template '{OneLine.Of(name)}'");
            }
        }

        if (asJson)
        {
            JsonOutput.Write(json => WriteJson(json, image, templates));
        }
        else if (name is null)
        {
            Console.WriteLine($"{"Id",3} {"Name",-24} {"Kind",-8} {"Partitions",10} {"Read set",8}  Points to");
            foreach ((TemplateId id, TemplateSource source) in templates)
            {
                Console.WriteLine(
                    $"{id.Value,3} {OneLine.Of(source.Name),-24} {Kind(source),-8} {source.Partitions.Sum(group => group.Count),10} {source.ReadSetBytes,8}  {string.Join(", ", source.Children.Select(OneLine.Of))}".TrimEnd());
            }
        }
        else
        {
            foreach ((TemplateId id, TemplateSource source) in templates)
            {
                Console.WriteLine($"; template {id.Value}: {OneLine.Of(source.Name)}, {Kind(source)}");
                foreach (PartitionGroup group in source.Partitions)
                {
                    Console.WriteLine($"; {group.Count} partitions of {source.ReadSetBytes} bytes, {group.StrideBytes} apart, from {group.OffsetBytes}");
                }

                Print("owns", source.Owns);
                Print("acl", source.Acl);
                Print("size", source.Size);
                Print($"approve, {source.ApproveUnitBytes} bytes at a time", source.Approve);
            }
        }

        return 0;
    }

    private static TemplateSource SourceOf(XnVolume volume, TemplateId id) =>
        volume.TryGetTemplate(id, out TemplateSource? source) ? source! : throw new InvariantException($"template {id.Value} is listed and not there");

    private static string Kind(TemplateSource source) =>
        source.Owns is not null ? "metadata" : (source.Flags & TemplateFlags.Counted) != 0 ? "counted" : "data";

    private static void Print(string function, DownloadedProgram? program)
    {
        if (program is not null)
        {
            Console.WriteLine();
            Console.WriteLine($"; {function}");
            Console.Write(Disassembler.Disassemble(program));
        }
    }

    private static void WriteJson(Utf8JsonWriter json, string image, (TemplateId Id, TemplateSource Source)[] templates)
    {
        json.WriteString("image", image);
        json.WriteStartArray("templates");
        foreach ((TemplateId id, TemplateSource source) in templates)
        {
            json.WriteStartObject();
            json.WriteNumber("id", id.Value);
            json.WriteString("name", source.Name);
            json.WriteString("kind", Kind(source));
            json.WriteBoolean("initialiseFirst", (source.Flags & TemplateFlags.InitialiseFirst) != 0);
            json.WriteNumber("readSetBytes", source.ReadSetBytes);
            json.WriteStartArray("partitions");
            foreach (PartitionGroup group in source.Partitions)
            {
                json.WriteStartObject();
                json.WriteNumber("offsetBytes", group.OffsetBytes);
                json.WriteNumber("strideBytes", group.StrideBytes);
                json.WriteNumber("count", group.Count);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteStartArray("children");
            foreach (string child in source.Children)
            {
                json.WriteStringValue(child);
            }

            json.WriteEndArray();
            WriteProgram(json, "owns", source.Owns);
            WriteProgram(json, "acl", source.Acl);
            WriteProgram(json, "size", source.Size);
            WriteProgram(json, "approve", source.Approve);
            if (source.Approve is not null)
            {
                json.WriteNumber("approveUnitBytes", source.ApproveUnitBytes);
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteProgram(Utf8JsonWriter json, string function, DownloadedProgram? program)
    {
        if (program is not null)
        {
            json.WriteString(function, Disassembler.Disassemble(program));
        }
    }
}
