// SPDX-License-Identifier: MIT
using Exo.Adapters.Kestrel;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection;

namespace Microsoft.AspNetCore.Hosting;

/// <summary>Kestrel on Cheetah's TCP.</summary>
public static class WebHostBuilderExoExtensions
{
    /// <summary>
    /// Kestrel's endpoints at any address, or at an address of <see cref="ExoTransportOptions.Network"/>, are listened to on the raw device; all others (localhost, UNIX sockets, other addresses) on the kernel's sockets
    /// as before. TLS, HTTP/1.1, HTTP/2 and WebSockets work as they do there; HTTP/3 has a transport of its own.
    /// <code>
    /// builder.WebHost.UseExoTransport(options =>
    /// {
    ///     options.Device = TapDevice.Open("exo0", frames);
    ///     options.Network = new NetworkStackOptions { Addresses = [InterfaceAddress.Parse("10.0.0.2/24")] };
    /// });
    /// </code>
    /// </summary>
    /// <param name="builder">The web host.</param>
    /// <param name="configure">Names at least the device and the addresses.</param>
    public static IWebHostBuilder UseExoTransport(this IWebHostBuilder builder, Action<ExoTransportOptions> configure)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentNullException.ThrowIfNull(configure);
        return builder.ConfigureServices(services =>
        {
            // Kestrel asks the transport that was added last first, and adds its own only when there is none.
            if (!services.Any(service => service.ServiceType == typeof(IConnectionListenerFactory)))
            {
                services.AddSingleton<IConnectionListenerFactory, SocketTransportFactory>();
            }

            services.Configure(configure);
            services.AddSingleton<IConnectionListenerFactory, ExoTransportFactory>();
        });
    }
}
