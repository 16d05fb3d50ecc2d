// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using Exo.Capabilities;
using Exo.Cli.Output;
using Exo.Core;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Core.PacketFilters;
using Exo.Net.Cheetah;
using Exo.Net.Cheetah.Ip;

namespace Exo.Cli.Verbs;

/// <summary>What <c>exo serve --device</c> names: ordinary sockets, or a network interface that the server's own TCP/IP stack drives.</summary>
internal sealed record ServeDevice(string Kind, string Name)
{
    /// <summary>Memory for packets beside the cache.</summary>
    public const long PacketBytes = 48L << 20;

    /// <summary>Whether code is downloaded to where packets come in.</summary>
    public bool TakesHandlers { get; init; }

    public bool IsRaw => Kind != "sockets";

    /// <exception cref="UsageException">It is not of the form.</exception>
    public static ServeDevice Parse(string text)
    {
        int colon = text.IndexOf(':', StringComparison.Ordinal);
        string kind = colon < 0 ? text : text[..colon], name = colon < 0 ? string.Empty : text[(colon + 1)..];
        return kind switch
        {
            "sockets" when colon < 0 => new ServeDevice(kind, name),
            "tap" or "packet" or "xdp" when name.Length > 0 => new ServeDevice(kind, name),
            _ => throw new UsageException($"--device: '{text}' is none of sockets, tap:NAME, packet:IFACE, xdp:IFACE"),
        };
    }

    /// <summary>Opens the interface; a TAP is made if there is none, and switched on. Of XDP's packets those for the stack's addresses come up, the others stay the kernel's.</summary>
    public NetworkDevice Open(FramePool frames, NetworkStackOptions network)
    {
        switch (Kind)
        {
            case "tap":
                TapDevice tap = TapDevice.Open(Name, frames);
                using (NetworkLink link = NetworkLink.Open(Name))
                {
                    link.IsUp = true;
                }

                return tap;
            case "packet":
                return PacketSocketDevice.Open(Name, frames, new PacketSocketOptions { TakesHandlers = TakesHandlers });
            default:
                var authority = CapabilityAuthority.Create();
                using (ExoEnvironment owner = ExoEnvironment.CreateRoot(authority))
                {
                    PacketFilterTree filters = new(authority);
                    foreach (PacketFilter filter in network.Addresses.SelectMany(own => ProtocolFilters.Host(own.Address.ToIPAddress())))
                    {
                        FilterVerdict verdict = filters.TryInsert(owner, filter, out _);
                        Invariant.Check(verdict.IsInstalled);
                    }

                    return XdpDevice.Open(Name, frames, new XdpOptions { Filters = filters });
                }
        }
    }

    /// <summary>The stack's settings.</summary>
    /// <exception cref="UsageException">An address is missing or wrong.</exception>
    public static NetworkStackOptions Network(string[] addresses, string[] gateways, IPEndPoint listen)
    {
        if (addresses.Length == 0)
        {
            throw new UsageException("--device needs --address, like --address 10.0.0.2/24");
        }

        try
        {
            IPAddress[] hops = [.. gateways.Select(IPAddress.Parse)];
            InterfaceAddress[] own = [.. addresses.Select(InterfaceAddress.Parse)];
            if (!own.Select(one => one.Address.ToIPAddress()).Any(one => listen.Address.Equals(one) || listen.Address.Equals(IPAddress.IPv6Any) || (listen.Address.Equals(IPAddress.Any) && one.AddressFamily == AddressFamily.InterNetwork)))
            {
                throw new UsageException($"--listen: {listen.Address} is none of the addresses that --address gives");
            }

            return new NetworkStackOptions
            {
                Addresses = own,
                GatewayV4 = hops.FirstOrDefault(hop => hop.AddressFamily == AddressFamily.InterNetwork),
                GatewayV6 = hops.FirstOrDefault(hop => hop.AddressFamily == AddressFamily.InterNetworkV6),
            };
        }
        catch (FormatException failure)
        {
            throw new UsageException($"--address, --gateway: {failure.Message}");
        }
    }
}
