// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.Net;
using System.Net.Sockets;
using Exo.Cli.Arguments;
using Exo.Cli.Output;
using Exo.Core.Blocks;
using Exo.Core.Blocks.Nbd;
using Exo.Core.Memory;

namespace Exo.Cli.Verbs;

/// <summary><c>exo nbd</c>: an image or a disk, whatever is on it, as an export for NBD clients.</summary>
internal static class NetworkBlockDeviceVerb
{
    public static Command Create()
    {
        Argument<string> image = Symbols.Image();
        Option<IPEndPoint> listen = Symbols.Listen("127.0.0.1:10809");
        Option<string?> socket = new("--socket") { Description = "Listen on a UNIX socket instead", HelpName = "PATH" };
        socket.Validators.Add(Symbols.RefuseImpossibleSocket);
        Option<string> export = new("--export") { Description = "Name of the export; clients that name none get it too", HelpName = "NAME", DefaultValueFactory = _ => "" };
        Option<bool> readOnly = new("--read-only") { Description = "Refuse every change" };
        Option<bool> direct = new("--direct") { Description = "Bypass the system's page cache, for clients that have a cache of their own" };
        VerbCommand command = new("nbd", "Serves an image as a disk to NBD clients: qemu, nbd-client, nbdcopy, exo. Ctrl-C or SIGTERM ends it.")
        {
            Examples =
            [
                "exo nbd disk.img",
                "exo nbd disk.img --socket /run/disk.sock --read-only",
                "exo ls nbd://127.0.0.1:10809/",
            ],
        };
        command.Add(image);
        command.Add(listen);
        command.Add(socket);
        command.Add(export);
        command.Add(readOnly);
        command.Add(direct);
        command.SetAction(parsed => Run(
            parsed.GetRequiredValue(image),
            parsed.GetValue(socket) is { } path ? SocketAt(path, parsed.GetResult(listen) is { Implicit: false }) : parsed.GetRequiredValue(listen),
            parsed.GetRequiredValue(export),
            parsed.GetValue(readOnly),
            parsed.GetValue(direct)));
        return command;
    }

    private static UnixDomainSocketEndPoint SocketAt(string path, bool listens) => listens
        ? throw new UsageException("--listen and --socket exclude one another")
        : new UnixDomainSocketEndPoint(path);

    private static void Start(NbdServer server, EndPoint endPoint)
    {
        try
        {
            server.Start();
        }
        catch (SocketException refused) when (endPoint is UnixDomainSocketEndPoint)
        {
            throw SocketPath.CannotListen(endPoint.ToString()!, refused);
        }
        catch (SocketException refused)
        {
            throw new IOException($"cannot listen on {endPoint}: {refused.Message}", refused);
        }
    }

    private static int Run(string image, EndPoint endPoint, string export, bool readOnly, bool direct)
    {
        OpenImage.Require(image);
        using Interruption interruption = new();
        using FramePool frames = FramePool.Create();
        using BlockDevice device = BlockDevice.Open(image, frames, new BlockDeviceOptions
        {
            ReadOnly = readOnly,
            Direct = direct ? DirectIo.On : DirectIo.Off,
        });
        using NbdServer server = new(device, new NbdServerOptions { EndPoint = endPoint, ExportName = export, ReadOnly = readOnly });
        Start(server, endPoint);
        string name = Uri.EscapeDataString(export);
        Console.WriteLine(server.EndPoint is UnixDomainSocketEndPoint unix
            ? $"serving {image} on nbd+unix:///{name}?socket={unix}"
            : $"serving {image} on nbd://{server.EndPoint}/{name}");
        interruption.Token.WaitHandle.WaitOne();
        server.Dispose();
        if (!device.Geometry.IsReadOnly)
        {
            device.Flush();
        }

        Console.WriteLine($"{server.RequestCount} requests served");
        return 0;
    }
}
