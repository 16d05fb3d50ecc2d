// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah;
using Exo.Net.Cheetah.Ip;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Logging;

namespace Exo.Benchmarks.Peers.Web;

/// <summary>One file from memory by Kestrel, in a process of its own: on the kernel's sockets, or on Cheetah's TCP over a packet socket. All else is the same.</summary>
internal static class KestrelServer
{
    /// <param name="interfaceName">The interface of the packet socket; null: sockets.</param>
    /// <param name="address">Where to listen.</param>
    /// <param name="port">The port.</param>
    /// <param name="bytes">Length of the file.</param>
    public static void Run(string? interfaceName, IPAddress address, int port, int bytes)
    {
        using FramePool? frames = interfaceName is null ? null : FramePool.Create(new FramePoolOptions { CapacityBytes = 128 << 20 });
        using PacketSocketDevice? device = interfaceName is null ? null : PacketSocketDevice.Open(interfaceName, frames!);
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Listen(address, port);
        });
        if (device is not null)
        {
            builder.WebHost.UseExoTransport(options =>
            {
                options.Device = device;
                options.Network = new NetworkStackOptions { Addresses = [InterfaceAddress.Parse($"{address}/24")] };
            });
        }

        WebApplication application = builder.Build();
        byte[] content = new byte[bytes];
        new Random(1).NextBytes(content);
        application.Run(async context =>
        {
            context.Response.ContentLength = content.Length;
            await context.Response.BodyWriter.WriteAsync(content).ConfigureAwait(false);
        });
        application.Lifetime.ApplicationStarted.Register(() => Console.WriteLine("ready"));
        application.Run();
    }
}
