// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.Net;
using System.Net.Sockets;
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
        Option<int> clients = new("--clients") { Description = "Library OSes at a time", HelpName = "N", DefaultValueFactory = _ => 8 };
        Option<long?> blocks = Symbols.Size("--blocks", "Memory of each library OS for blocks that it reads [default: 16M]");
        Option<long?> frames = Symbols.Size("--frames", "Memory of each library OS for blocks that it writes [default: 4M]");
        Option<IPEndPoint?> http = Symbols.Http("Also serve a page that shows the host live");
        Option<bool> format = new("--format") { Description = "Make an empty XN volume first, on an image that is blank" };
        VerbCommand command = new("host", "Owns a disk and its frames for library OSes in other processes: each has its own memory, reads what it may without a call, and changes metadata by checked calls. Ctrl-C or SIGTERM ends it.")
        {
            Examples =
            [
                "exo host disk.img --socket disk.sock",
                "exo host disk.img --socket disk.sock --http 127.0.0.1:8081",
                "dotnet run --project samples/Tenant -- disk.sock diary write 3 \"Rain again.\"",
            ],
        };
        command.Add(image);
        command.Add(socket);
        command.Add(clients);
        command.Add(blocks);
        command.Add(frames);
        command.Add(format);
        command.Add(http);
        command.SetAction(parsed => Run(
            parsed.GetRequiredValue(image),
            parsed.GetRequiredValue(socket),
            parsed.GetRequiredValue(clients),
            parsed.GetValue(blocks) ?? 16 << 20,
            parsed.GetValue(frames) ?? 4 << 20,
            parsed.GetValue(format),
            parsed.GetValue(http)));
        return command;
    }

    private static int Run(string image, string socket, int clients, long blocksBytes, long framesBytes, bool format, IPEndPoint? http)
    {
        const long OwnBytes = 64L << 20;
        if (clients is < 1 or > 256)
        {
            throw new UsageException("--clients: from 1 to 256");
        }

        if (blocksBytes is < FramePool.FrameBytes or > 1L << 36 || framesBytes is < FramePool.FrameBytes or > 1L << 36)
        {
            throw new UsageException("--blocks and --frames: from 4K to 64G");
        }

        using Interruption interruption = new();
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = OwnBytes + (clients * (blocksBytes + framesBytes)), LargePages = false });
        using BlockDevice device = BlockDevice.Open(image, frames);
        if (format)
        {
            XnVolume.Format(device).Dispose();
        }

        using HostServer server = Start(device, new HostServerOptions
        {
            SocketPath = socket,
            Name = $"exo host {image}",
            ClientsMax = clients,
            BlocksPerClient = (int)(blocksBytes / FramePool.FrameBytes),
            FramesPerClient = (int)(framesBytes / FramePool.FrameBytes),
        });
        Console.WriteLine($"{image}: {server.Volume.BlockCount} blocks; library OSes attach to {socket}");
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
        catch (Exception refused) when (refused is ArgumentOutOfRangeException or SocketException)
        {
            throw new IOException($"cannot listen on {options.SocketPath}: {refused.Message}");
        }
    }
}
