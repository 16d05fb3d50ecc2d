// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Exo.Cli.Arguments;
using Exo.Cli.Output;
using Exo.Cli.Top;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Host;
using Exo.Storage.XN;

namespace Exo.Cli.Verbs;

/// <summary><c>exo host</c>: the exokernel in a process of its own.</summary>
internal static class HostVerb
{
    public static Command Create()
    {
        Argument<string> image = Symbols.Image();
        Option<string> socket = new("--socket") { Description = "UNIX socket that library OSes attach to", HelpName = "PATH", Required = true };
        socket.Validators.Add(Symbols.RefuseImpossibleSocket);
        Option<int> clients = new("--clients") { Description = "Library OSes at a time", HelpName = "N", DefaultValueFactory = _ => 8 };
        Option<long?> blocks = Symbols.Size("--blocks", "Memory of each library OS for blocks that it reads [default: 16M]");
        Option<long?> frames = Symbols.Size("--frames", "Memory of each library OS for blocks that it writes [default: 4M]");
        Option<int?> perUser = new("--clients-per-user") { Description = "Library OSes of one user at a time [default: as many as there is room for]", HelpName = "N" };
        Option<long?> space = Symbols.Size("--space", "Disk space that the library OSes of one user may allocate [default: all]");
        Option<int?> rate = new("--requests") { Description = "Requests of each library OS in a second [default: any number]", HelpName = "N" };
        Option<string[]> weights = new("--weight") { Description = "Part of the disk of a user's library OSes when several want more than there is, in proportion to others' [default: 1]", HelpName = "USER=N", AllowMultipleArgumentsPerToken = false };
        Option<IPEndPoint?> http = Symbols.Http("Also serve a page that shows the host live");
        Option<bool> format = new("--format") { Description = "Make an empty XN volume first, on an image that is blank" };
        VerbCommand command = new("host", "Owns a disk and its frames for library OSes in other processes: each has its own memory, reads what it may without a call, and changes metadata by checked calls. Ctrl-C or SIGTERM ends it.")
        {
            Examples =
            [
                "exo host disk.img --socket disk.sock",
                "exo host disk.img --socket disk.sock --http 127.0.0.1:8081",
                "exo host disk.img --socket disk.sock --clients-per-user 2 --space 64M --weight 1000=3",
                "dotnet run --project samples/Tenant -- disk.sock diary write 3 \"Rain again.\"",
            ],
        };
        command.Add(image);
        command.Add(socket);
        command.Add(clients);
        command.Add(blocks);
        command.Add(frames);
        command.Add(perUser);
        command.Add(space);
        command.Add(rate);
        command.Add(weights);
        command.Add(format);
        command.Add(http);
        command.SetAction(parsed =>
        {
            int clientsMax = parsed.GetRequiredValue(clients);
            long blocksBytes = parsed.GetValue(blocks) ?? 16 << 20;
            long framesBytes = parsed.GetValue(frames) ?? 4 << 20;
            if (clientsMax is < 1 or > 256 || parsed.GetValue(perUser) is < 1 or > 256)
            {
                throw new UsageException("--clients and --clients-per-user: from 1 to 256");
            }

            if (blocksBytes is < FramePool.FrameBytes or > 1L << 36 || framesBytes is < FramePool.FrameBytes or > 1L << 36)
            {
                throw new UsageException("--blocks and --frames: from 4K to 64G");
            }

            if (parsed.GetValue(rate) is < 1)
            {
                throw new UsageException("--requests: 1 or more");
            }

            Dictionary<uint, int> weightOf = Weights(parsed.GetValue(weights) ?? []);
            string path = parsed.GetRequiredValue(image);
            HostServerOptions options = new()
            {
                SocketPath = parsed.GetRequiredValue(socket),
                Name = $"exo host {path}",
                ClientsMax = clientsMax,
                BlocksPerClient = (int)(blocksBytes / FramePool.FrameBytes),
                FramesPerClient = (int)(framesBytes / FramePool.FrameBytes),
                ClientsPerUser = parsed.GetValue(perUser),
                DiskBlocksPerUser = parsed.GetValue(space) / FramePool.FrameBytes,
                RequestsPerSecond = parsed.GetValue(rate),
                DiskWeight = peer => weightOf.GetValueOrDefault(peer.User, 1),
            };
            return Run(path, options, parsed.GetValue(format), parsed.GetValue(http));
        });
        return command;
    }

    private static Dictionary<uint, int> Weights(string[] texts)
    {
        const int WeightMax = 1_000_000;
        Dictionary<uint, int> weights = [];
        foreach (string text in texts)
        {
            string[] parts = text.Split('=');
            if (parts.Length != 2 || !uint.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out uint user)
                || !int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out int weight) || weight is < 1 or > WeightMax)
            {
                throw new UsageException($"--weight: '{text}' is not USER=N, the number of a user and a weight from 1 to {WeightMax}");
            }

            weights[user] = weight;
        }

        return weights;
    }

    private static int Run(string image, HostServerOptions options, bool format, IPEndPoint? http)
    {
        const long OwnBytes = 64L << 20;
        long clientBytes = (options.BlocksPerClient + (long)options.FramesPerClient) * FramePool.FrameBytes;
        OpenImage.Require(image);
        using Interruption interruption = new();
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = OwnBytes + (options.ClientsMax * clientBytes), LargePages = false });
        using BlockDevice device = BlockDevice.Open(image, frames);
        if (format)
        {
            XnVolume.Format(device).Dispose();
        }

        using HostServer server = Start(device, options);
        Console.WriteLine($"{image}: {server.Volume.BlockCount} blocks; library OSes attach to {options.SocketPath}");
        using PageServer? page = http is null ? null : PageServer.Start(http, cancellationToken => Task.Run(() => Look(server), cancellationToken));
        if (page is not null)
        {
            Console.WriteLine($"shown on {page.Url}");
        }

        interruption.Token.WaitHandle.WaitOne();
        bool isClean = server.Close();
        Console.WriteLine(isClean ? "unmounted" : "left as it is: something could not be written back");
        return isClean ? 0 : ExoCommand.Failed;
    }

    private static byte[] Look(HostServer server)
    {
        try
        {
            return server.Observe().ToJson();
        }
        catch (ObjectDisposedException closed)
        {
            throw new IOException("The host is closing.", closed);
        }
    }

    private static HostServer Start(BlockDevice device, HostServerOptions options)
    {
        try
        {
            return HostServer.Start(device, options);
        }
        catch (SocketException refused)
        {
            throw SocketPath.CannotListen(options.SocketPath, refused);
        }
    }
}
