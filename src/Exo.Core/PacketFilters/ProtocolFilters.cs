// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;

namespace Exo.Core.PacketFilters;

/// <summary>
/// Filters for Ethernet II frames without tags. Those for IPv4 step over options, and those for ports leave out later fragments,
/// which carry no ports; those for IPv6 want the transport header right behind the fixed one.
/// </summary>
public static class ProtocolFilters
{
    /// <summary>The protocol number of TCP.</summary>
    public const byte Tcp = 6;

    /// <summary>The protocol number of UDP.</summary>
    public const byte Udp = 17;

    /// <summary>The type of ICMP for IPv4 that says that a packet did not reach its destination.</summary>
    public const byte UnreachableV4 = 3;

    /// <summary>The same for IPv6.</summary>
    public const byte UnreachableV6 = 1;

    /// <summary>The type of ICMP for IPv6 that says that a packet was longer than a link of its path takes.</summary>
    public const byte TooBigV6 = 2;

    private const int NetworkHeader = 14;

    /// <summary>Frames of one type, e.g. 0x0806 for ARP.</summary>
    public static PacketFilter EtherType(ushort type) => PacketFilter.Build().Equal(12, 16, type).ToFilter();

    /// <summary>All packets of IPv4 or IPv6 with a protocol (IPv6: the first next header); null: with any.</summary>
    public static PacketFilter Ip(AddressFamily family, byte? protocol = null) => Network(family, protocol).ToFilter();

    /// <summary>Packets for a local port; with an address other than "any" only those for that address.</summary>
    public static PacketFilter Port(byte protocol, IPEndPoint local)
    {
        ArgumentNullException.ThrowIfNull(local);
        PacketFilterBuilder filter = Network(local.AddressFamily, protocol);
        Address(filter, local, isSource: false);
        return Transport(filter, local.AddressFamily).Equal(PortsAt(local.AddressFamily) + 2, 16, (ushort)local.Port).ToFilter();
    }

    /// <summary>
    /// Messages of ICMP that quote a packet which was sent from a local port: that its destination is unreachable, or (IPv6) that it was too big. What a transport of one's own needs beside
    /// <see cref="Port"/> to hear of shorter paths (RFC 1191, RFC 8201). With an address other than "any" only of packets from that address.
    /// </summary>
    public static PacketFilter PortErrors(byte protocol, IPEndPoint local, byte type)
    {
        ArgumentNullException.ThrowIfNull(local);
        bool isV4 = IsV4(local.AddressFamily);
        PacketFilterBuilder filter = Network(local.AddressFamily, isV4 ? (byte)1 : (byte)58);
        Address(filter, local, isSource: false);
        Transport(filter, local.AddressFamily);

        // The message, eight bytes, and the packet that it is about.
        int message = PortsAt(local.AddressFamily), quoted = message + 8;
        filter.Equal(message, 8, type).Equal(quoted, 8, 0xf0, isV4 ? (byte)0x40 : (byte)0x60).Equal(quoted + (isV4 ? 9 : 6), 8, protocol);
        byte[] bytes = local.Address.GetAddressBytes();
        if (bytes.AsSpan().ContainsAnyExcept((byte)0))
        {
            filter.Equal(quoted + (isV4 ? 12 : 8), bytes);
        }

        return isV4
            ? filter.Shift(quoted, 8, 0x0f, 2).Equal(quoted, 16, (ushort)local.Port).ToFilter()
            : filter.Equal(quoted + 40, 16, (ushort)local.Port).ToFilter();
    }

    /// <summary>The packets of one connection that come in: both addresses and both ports.</summary>
    /// <exception cref="ArgumentException">The addresses are of two families.</exception>
    public static PacketFilter Connection(byte protocol, IPEndPoint local, IPEndPoint remote)
    {
        ArgumentNullException.ThrowIfNull(local);
        ArgumentNullException.ThrowIfNull(remote);
        if (local.AddressFamily != remote.AddressFamily)
        {
            throw new ArgumentException("Both ends of a connection have addresses of one family.", nameof(remote));
        }

        PacketFilterBuilder filter = Network(local.AddressFamily, protocol);
        Address(filter, remote, isSource: true);
        Address(filter, local, isSource: false);
        int ports = PortsAt(local.AddressFamily);
        return Transport(filter, local.AddressFamily)
            .Equal(ports, 16, (ushort)remote.Port).Equal(ports + 2, 16, (ushort)local.Port).ToFilter();
    }

    /// <summary>
    /// Everything that is sent to one address, and the questions of neighbours for it: what a network stack of one's own needs so that the kernel keeps the rest. IPv4: packets and
    /// ARP; IPv6: packets and neighbour solicitations (to the solicited-node group, RFC 4291 section 2.7.1). The address must not be the kernel's too.
    /// </summary>
    public static IReadOnlyList<PacketFilter> Host(IPAddress local)
    {
        ArgumentNullException.ThrowIfNull(local);
        PacketFilterBuilder packets = Network(local.AddressFamily, protocol: null), questions;
        Address(packets, new IPEndPoint(local, 0), isSource: false);
        byte[] bytes = local.GetAddressBytes();
        if (IsV4(local.AddressFamily))
        {
            questions = PacketFilter.Build().Equal(12, 16, (ushort)0x0806).Equal(NetworkHeader + 24, bytes);
        }
        else
        {
            byte[] group = [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, .. bytes[13..]];
            questions = Network(local.AddressFamily, protocol: null).Equal(NetworkHeader + 24, group);
        }

        return [packets.ToFilter(), questions.ToFilter()];
    }

    private static bool IsV4(AddressFamily family) => family switch
    {
        AddressFamily.InterNetwork => true,
        AddressFamily.InterNetworkV6 => false,
        _ => throw new ArgumentException($"{family} is neither IPv4 nor IPv6.", nameof(family)),
    };

    private static PacketFilterBuilder Network(AddressFamily family, byte? protocol)
    {
        bool isV4 = IsV4(family);
        PacketFilterBuilder filter = PacketFilter.Build()
            .Equal(12, 16, isV4 ? (ushort)0x0800 : (ushort)0x86dd)
            .Equal(NetworkHeader, 8, 0xf0, isV4 ? (byte)0x40 : (byte)0x60);
        return protocol is { } number ? filter.Equal(NetworkHeader + (isV4 ? 9 : 6), 8, number) : filter;
    }

    private static void Address(PacketFilterBuilder filter, IPEndPoint end, bool isSource)
    {
        byte[] bytes = end.Address.GetAddressBytes();
        if (bytes.AsSpan().ContainsAnyExcept((byte)0))
        {
            int offset = NetworkHeader + (bytes.Length == 4 ? 12 : 8);
            filter.Equal(isSource ? offset : offset + bytes.Length, bytes);
        }
    }

    // Ports count from the base: behind the step with IPv4, from the frame's start with IPv6.
    private static int PortsAt(AddressFamily family) => IsV4(family) ? NetworkHeader : NetworkHeader + 40;

    private static PacketFilterBuilder Transport(PacketFilterBuilder filter, AddressFamily family) => IsV4(family)
        ? filter.Equal(NetworkHeader + 6, 16, 0x1fff, 0).Shift(NetworkHeader, 8, 0x0f, 2)
        : filter;
}
