// SPDX-License-Identifier: MIT
using System.CommandLine;
using Exo.Cli.Output;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Verbs;

/// <summary><c>exo snapshot</c>: read-only copies of trees, kept in <c>/.snapshots</c> of the image.</summary>
internal static class SnapshotVerb
{
    private static readonly byte[] Home = "/.snapshots"u8.ToArray();

    public static Command Create()
    {
        Argument<string> image = Symbols.Image();
        Argument<string> action = new("ACTION") { Description = "list, create or delete", DefaultValueFactory = _ => "list" };
        action.AcceptOnlyFromAmong("list", "create", "delete");
        Argument<string?> name = new("NAME") { Description = "The snapshot's name", Arity = ArgumentArity.ZeroOrOne };
        Option<string?> of = new("--of") { Description = "Directory of the image to copy [default: /]", HelpName = "PATH" };
        Option<bool> json = Symbols.Json();
        VerbCommand command = new("snapshot", "Makes, lists and deletes read-only copies of trees, which share their contents with what they are copies of.")
        {
            Examples = ["exo snapshot disk.img create monday", "exo snapshot disk.img create site-v1 --of /site", "exo snapshot disk.img", "exo snapshot disk.img delete monday"],
        };
        command.Add(image);
        command.Add(action);
        command.Add(name);
        command.Add(of);
        command.Add(json);
        command.SetAction(parsed => Run(parsed.GetRequiredValue(image), parsed.GetRequiredValue(action), parsed.GetValue(name), parsed.GetValue(of), parsed.GetValue(json)));
        return command;
    }

    private static int Run(string image, string action, string? name, string? of, bool asJson)
    {
        if (action == "list")
        {
            if (name is not null || of is not null)
            {
                throw new UsageException("a list takes neither a name nor --of");
            }

            return List(image, asJson);
        }

        if (name is null || asJson || (of is not null && action != "create"))
        {
            throw new UsageException(name is null ? $"{action} needs a name" : asJson ? "--json goes with list" : "--of goes with create");
        }

        byte[] last = Symbols.Normalise(name)[1..];
        if (last.Length == 0 || last.Contains((byte)'/'))
        {
            throw new UsageException($"'{name}' is no name");
        }

        byte[] path = Symbols.Join(Home, last);
        using CffsVolume volume = OpenImage.ForWriting(image);
        if (action == "delete")
        {
            volume.DeleteSnapshot(path);
            return 0;
        }

        byte[] source = Symbols.Normalise(of);
        if (!volume.Stat(source).IsSnapshot && !Exists(volume))
        {
            volume.CreateDirectory(Home);
        }

        volume.CreateSnapshot(source, path);
        return 0;
    }

    private static int List(string image, bool asJson)
    {
        using CffsVolume volume = OpenImage.ReadOnly(image);
        List<(byte[] Name, CffsStat Stat)> found = [];
        if (Exists(volume))
        {
            foreach (CffsDirectoryEntry entry in volume.ReadDirectory(Home))
            {
                CffsStat stat = volume.Stat(Symbols.Join(Home, entry.Name.Span), followSymbolicLink: false);
                if (stat.IsSnapshot && stat.Kind == CffsKind.Directory)
                {
                    found.Add((entry.Name.ToArray(), stat));
                }
            }
        }

        found.Sort(static (a, b) => a.Stat.BirthTimeNs.CompareTo(b.Stat.BirthTimeNs));
        if (asJson)
        {
            JsonOutput.Write(json =>
            {
                json.WriteString("image", image);
                json.WriteStartArray("snapshots");
                foreach ((byte[] name, CffsStat stat) in found)
                {
                    json.WriteStartObject();
                    json.WriteName("name", name);
                    json.WriteString("created", StatText.Time(stat.BirthTimeNs));
                    json.WriteNumber("inode", stat.Inode);
                    json.WriteEndObject();
                }

                json.WriteEndArray();
            });
            return 0;
        }

        foreach ((byte[] name, CffsStat stat) in found)
        {
            Console.WriteLine($"{StatText.Time(stat.BirthTimeNs)}  {ByteText.Escape(name)}");
        }

        return 0;
    }

    private static bool Exists(CffsVolume volume) => volume.Exists("/.snapshots");
}
