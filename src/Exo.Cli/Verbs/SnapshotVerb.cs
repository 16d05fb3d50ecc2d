// SPDX-License-Identifier: MIT
using System.CommandLine;
using Exo.Cli.Administration;
using Exo.Cli.Output;

namespace Exo.Cli.Verbs;

/// <summary><c>exo snapshot</c>: read-only copies of trees, kept in <c>/.snapshots</c> of the image.</summary>
internal static class SnapshotVerb
{
    public static Command Create()
    {
        Argument<string> image = Symbols.ImageOrMount();
        Argument<string> action = new("ACTION") { Description = "list, create or delete", DefaultValueFactory = _ => "list" };
        action.AcceptOnlyFromAmong("list", "create", "delete");
        Argument<string?> name = new("NAME") { Description = "The snapshot's name", Arity = ArgumentArity.ZeroOrOne };
        Option<string?> of = new("--of") { Description = "Directory of the image to copy [default: /]", HelpName = "PATH" };
        Option<bool> json = Symbols.Json();
        VerbCommand command = new("snapshot", "Makes, lists and deletes read-only copies of trees, which share their contents with what they are copies of.")
        {
            Notes = [Symbols.MountNote],
            Examples = ["exo snapshot disk.img create monday", "exo snapshot /mnt create monday", "exo snapshot disk.img create site-v1 --of /site", "exo snapshot disk.img", "exo snapshot disk.img delete monday"],
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

        if (action == "delete")
        {
            Delete(image, last);
        }
        else
        {
            AnyVolume.Run(image, new SnapshotCreateRequest(Symbols.Normalise(of), last), "making a snapshot");
        }

        return 0;
    }

    /// <summary>An interruption leaves the snapshot whole, or gone: which of the two, is said.</summary>
    private static void Delete(string image, byte[] name)
    {
        bool leavesRemains;
        try
        {
            leavesRemains = AnyVolume.Run(image, new SnapshotDeleteRequest(name), "deleting a snapshot").LeavesRemains;
        }
        catch (OperationCanceledException)
        {
            throw new IOException($"interrupted: '{ByteText.Escape(name)}' is still there, whole");
        }

        if (leavesRemains)
        {
            throw new IOException($"interrupted: '{ByteText.Escape(name)}' is gone; some of its room is given back when the next snapshot is deleted or the image is next mounted");
        }
    }

    private static int List(string image, bool asJson)
    {
        SnapshotListResult found = AnyVolume.Run(image, new SnapshotListRequest(), "looking for snapshots");
        if (asJson)
        {
            JsonOutput.Write(json =>
            {
                json.WriteString("image", image);
                json.WriteStartArray("snapshots");
                foreach (SnapshotEntry snapshot in found.Snapshots)
                {
                    json.WriteStartObject();
                    json.WriteName("name", snapshot.Name);
                    json.WriteString("created", StatText.Time(snapshot.CreatedNs));
                    json.WriteNumber("inode", snapshot.Inode);
                    json.WriteEndObject();
                }

                json.WriteEndArray();
            });
            return 0;
        }

        foreach (SnapshotEntry snapshot in found.Snapshots)
        {
            Console.WriteLine($"{StatText.Time(snapshot.CreatedNs)}  {ByteText.Escape(snapshot.Name)}");
        }

        return 0;
    }
}
