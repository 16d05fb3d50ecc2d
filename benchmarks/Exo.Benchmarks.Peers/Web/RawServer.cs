// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah;
using Exo.Net.Cheetah.Ip;

namespace Exo.Benchmarks.Peers.Web;

/// <summary>Cheetah on a packet socket, in a process of its own: one file from memory, or what a handler of the application's writes anew for each request.</summary>
internal static class RawServer
{
    public static void Run(string interfaceName, IPAddress address, int port, int bytes, int busyPollUs, Ablations without, bool takesHandlers, bool isCustom)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 128 << 20 });
        using PacketSocketDevice device = PacketSocketDevice.Open(
            interfaceName, frames, new PacketSocketOptions { BusyPoll = TimeSpan.FromMicroseconds(busyPollUs), TakesHandlers = takesHandlers });
        using MemoryDocumentSource source = new(frames);
        byte[] content = new byte[bytes];
        new Random(1).NextBytes(content);
        CheetahHandlers custom = new();
        if (isCustom)
        {
            custom.Add("GET", "/file.bin", (in _, response) => response.Write(content));
        }
        else
        {
            source.Set("/file.bin", content);
        }

        CheetahServer server = new(
            new CheetahServerOptions
            {
                Device = device,
                Network = new NetworkStackOptions { Addresses = [InterfaceAddress.Parse($"{address}/24")], Without = without },
                EndPoint = new IPEndPoint(address, port),
                Handlers = custom,
            },
            source, frames);
        server.Start();
        Console.WriteLine("ready");
        Thread.Sleep(Timeout.Infinite);
    }
}
