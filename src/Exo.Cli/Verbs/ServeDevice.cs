// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using Exo.Cli.Output;
using Exo.Core.Net;
using Exo.Net.Cheetah;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Wire;

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

    /// <summary>The stack's settings, and whether the kernel has the addresses too. Without addresses they are the kernel's; so are gateways that are not said, where addresses are.</summary>
    /// <exception cref="UsageException">An address is missing or wrong.</exception>
    public (NetworkStackOptions Network, bool IsShared) Network(string[] addresses, string[] gateways, IPEndPoint listen)
    {
        KernelAddresses kernel = Kind == "tap" ? new([], null, null) : KernelAddresses.Read(Name);
        try
        {
            InterfaceAddress[] own = addresses.Length > 0
                ? [.. addresses.Select(InterfaceAddress.Parse)]
                : [.. kernel.Addresses.Where(address => !address.IsLinkLocal).Select(address => new InterfaceAddress(InternetAddress.From(address.Address), address.PrefixBits))];
            if (own.Length == 0)
            {
                throw new UsageException("--device needs --address, like --address 10.0.0.2/24, where the kernel has no address");
            }

            int shared = own.Count(address => kernel.Addresses.Any(other => other.Address.Equals(address.Address.ToIPAddress())));
            if (shared != 0 && shared != own.Length)
            {
                throw new UsageException($"--address: some of the addresses are the kernel's on {Name} and some are not; give all of one kind");
            }

            InterfaceAddress[] heard = [.. own.Where(one => Covers(listen.Address, one.Address.ToIPAddress()))];
            if (heard.Length == 0)
            {
                throw new UsageException($"--listen: {listen.Address} is none of the addresses that --address gives");
            }

            IPAddress[] hops = [.. gateways.Select(IPAddress.Parse)];
            return (new NetworkStackOptions
            {
                Addresses = shared > 0 ? heard : own,   // at the others the port stays the kernel's
                GatewayV4 = hops.FirstOrDefault(hop => hop.AddressFamily == AddressFamily.InterNetwork) ?? (shared > 0 ? kernel.GatewayV4 : null),
                GatewayV6 = hops.FirstOrDefault(hop => hop.AddressFamily == AddressFamily.InterNetworkV6) ?? (shared > 0 ? kernel.GatewayV6 : null),
            }, shared > 0);
        }
        catch (FormatException failure)
        {
            throw new UsageException($"--address, --gateway: {failure.Message}");
        }
    }

    private static bool Covers(IPAddress listen, IPAddress own) =>
        listen.Equals(own) || listen.Equals(IPAddress.IPv6Any) || (listen.Equals(IPAddress.Any) && own.AddressFamily == AddressFamily.InterNetwork);
}
