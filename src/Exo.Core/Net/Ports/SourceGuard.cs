// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Exo.Core.PacketFilters;

namespace Exo.Core.Net;

/// <summary>
/// The other half of a port's secure binding: what an environment may send. A packet passes when whoever receives it, and every switch on the way, learns from it only what is so: that the interface has
/// its hardware address and its addresses, and that the environment speaks for a port which it has bound.
/// <code>
///   Ethernet from the interface -> IP from one of its addresses, no fragment -> TCP, UDP: the port is bound by the environment
///                                                                           -> ICMP: "port unreachable" about a datagram to such a port; and, where the addresses are not the kernel's,
///                                                                              echo replies, solicitations and advertisements of neighbours that say what is so
///                               -> ARP, where the addresses are not the kernel's: from the interface and one of its addresses
/// </code>
/// <para><b>Fragments</b> do not pass at all: all environments and the kernel have the addresses in common, so identifications too, and a piece without a port completes a packet of whoever used its
/// identification first. Extension headers of IPv6 do not pass either: what comes in behind them comes to no port (<see cref="ProtocolFilters"/>), and a receiver may make of them what a check does not.</para>
/// <para><b>What a device does to a packet</b> is part of what is sent: a checksum is written where the offload says, so it must be the transport header's own, and the header that is repeated
/// before segments must be the one looked at.</para>
/// For any thread; allocates nothing.
/// </summary>
internal sealed class SourceGuard
{
    private const int Network = NetworkDevice.EthernetHeaderBytes, V4Bytes = 20, V6Bytes = 40, TcpBytes = 20, UdpBytes = 8, IcmpBytes = 8, ArpBytes = 28;
    private const byte IcmpV4 = 1, FragmentV6 = 44, IcmpV6 = 58;
    private const byte EchoReplyV4 = 0, EchoReplyV6 = 129, Solicitation = 135, Advertisement = 136;
    private const byte PortUnreachableV4 = 3, PortUnreachableV6 = 4, FromThisLink = 255, IsRouter = 0x80;

    private readonly NetworkDevice _device;
    private readonly uint[] _addressesV4;
    private readonly UInt128[] _addressesV6;
    private readonly bool _areKernels;
    private readonly PortSet _own;
    private readonly PortSet _all;

    /// <param name="device">The interface's device, which knows its hardware address.</param>
    /// <param name="addresses">The interface's addresses.</param>
    /// <param name="areKernels">Whether the kernel has them too, and answers for them on the link.</param>
    /// <param name="own">The ports that the environment has.</param>
    /// <param name="all">The ports that anybody has.</param>
    public SourceGuard(NetworkDevice device, IEnumerable<IPAddress> addresses, bool areKernels, PortSet own, PortSet all)
    {
        _device = device;
        _addressesV4 = [.. addresses.Where(static address => address.AddressFamily == AddressFamily.InterNetwork).Select(static address => BinaryPrimitives.ReadUInt32BigEndian(address.GetAddressBytes()))];
        _addressesV6 = [.. addresses.Where(static address => address.AddressFamily == AddressFamily.InterNetworkV6).Select(static address => BinaryPrimitives.ReadUInt128BigEndian(address.GetAddressBytes()))];
        _areKernels = areKernels;
        _own = own;
        _all = all;
    }

    /// <summary>Whether a port that a packet came from has got another owner since: what waits was let through when it was queued.</summary>
    public bool IsAnothers(int source) => source != 0 && !_own.Contains(source) && _all.Contains(source);

    /// <summary>Looks at a packet. The bytes must be those that will be sent, and nobody else's to change.</summary>
    /// <param name="header">Its first piece, with all headers.</param>
    /// <param name="lengthBytes">Of the whole packet.</param>
    /// <param name="offload">What the device will do to it.</param>
    /// <param name="source">Let through: the port that it speaks for (<see cref="PortSet.IndexOf"/>), 0: none.</param>
    public PacketRefusal Check(ReadOnlySpan<byte> header, int lengthBytes, PacketOffload offload, out int source)
    {
        source = 0;
        if (header.Length < Network)
        {
            return PacketRefusal.Malformed;
        }

        if (!IsInterface(header[6..]))
        {
            return PacketRefusal.HardwareAddress;
        }

        return BinaryPrimitives.ReadUInt16BigEndian(header[12..]) switch
        {
            0x0800 => CheckV4(header, lengthBytes, offload, out source),
            0x86DD => CheckV6(header, lengthBytes, offload, out source),
            0x0806 => CheckArp(header, offload),
            _ => PacketRefusal.Protocol,
        };
    }

    private PacketRefusal CheckV4(ReadOnlySpan<byte> header, int lengthBytes, PacketOffload offload, out int source)
    {
        source = 0;
        ReadOnlySpan<byte> ip = header[Network..];
        if (ip.Length < V4Bytes || ip[0] >> 4 != 4)
        {
            return PacketRefusal.Malformed;
        }

        // Options are stepped over, as whoever receives it does.
        int ipBytes = (ip[0] & 15) * 4, totalBytes = BinaryPrimitives.ReadUInt16BigEndian(ip[2..]);
        if (ipBytes < V4Bytes || ip.Length < ipBytes || totalBytes < ipBytes || totalBytes > lengthBytes - Network)
        {
            return PacketRefusal.Malformed;
        }

        // More fragments, or not the first.
        if ((BinaryPrimitives.ReadUInt16BigEndian(ip[6..]) & 0x3FFF) != 0)
        {
            return PacketRefusal.Fragment;
        }

        if (!IsOwnV4(ip[12..]))
        {
            return PacketRefusal.Address;
        }

        int at = Network + ipBytes;
        Transport transport = new(at, totalBytes - ipBytes, IsWhole: Network + totalBytes == lengthBytes, SegmentationKind.Tcp4);
        return ip[9] == IcmpV4 ? CheckIcmpV4(header, transport, offload, out source) : CheckPort(ip[9], header, transport, offload, out source);
    }

    private PacketRefusal CheckV6(ReadOnlySpan<byte> header, int lengthBytes, PacketOffload offload, out int source)
    {
        source = 0;
        ReadOnlySpan<byte> ip = header[Network..];
        if (ip.Length < V6Bytes || ip[0] >> 4 != 6)
        {
            return PacketRefusal.Malformed;
        }

        int payloadBytes = BinaryPrimitives.ReadUInt16BigEndian(ip[4..]);
        if (payloadBytes > lengthBytes - Network - V6Bytes)
        {
            return PacketRefusal.Malformed;
        }

        if (ip[6] == FragmentV6)
        {
            return PacketRefusal.Fragment;
        }

        if (!IsOwnV6(ip[8..]))
        {
            return PacketRefusal.Address;
        }

        Transport transport = new(Network + V6Bytes, payloadBytes, IsWhole: Network + V6Bytes + payloadBytes == lengthBytes, SegmentationKind.Tcp6);
        return ip[6] == IcmpV6 ? CheckIcmpV6(header, transport, offload, out source) : CheckPort(ip[6], header, transport, offload, out source);
    }

    private PacketRefusal CheckPort(byte protocol, ReadOnlySpan<byte> header, Transport transport, PacketOffload offload, out int source)
    {
        source = 0;
        bool isTcp = protocol == ProtocolFilters.Tcp;
        if (!isTcp && protocol != ProtocolFilters.Udp)
        {
            return PacketRefusal.Protocol;
        }

        int at = transport.At, leastBytes = isTcp ? TcpBytes : UdpBytes;
        if (header.Length < at + leastBytes || transport.LengthBytes < leastBytes)
        {
            return PacketRefusal.Malformed;
        }

        int headerBytes = isTcp ? (header[at + 12] >> 4) * 4 : UdpBytes;
        if (headerBytes < leastBytes || headerBytes > transport.LengthBytes)
        {
            return PacketRefusal.Malformed;
        }

        if (offload.NeedsChecksum && (offload.ChecksumStartBytes != at || offload.ChecksumOffsetBytes != (isTcp ? 16 : 6)))
        {
            return PacketRefusal.Offload;
        }

        if (offload.IsSuperPacket
            && (!isTcp || !offload.NeedsChecksum || !transport.IsWhole || offload.Segmentation != transport.Segmentation || offload.HeaderBytes != at + headerBytes || offload.HeaderBytes != header.Length))
        {
            return PacketRefusal.Offload;
        }

        int port = PortSet.IndexOf(protocol, BinaryPrimitives.ReadUInt16BigEndian(header[at..]));
        if (!_own.Contains(port))
        {
            return PacketRefusal.Port;
        }

        source = port;
        return PacketRefusal.None;
    }

    // What of a message of ICMP lies in the first piece. The device does nothing to one.
    private static PacketRefusal TakeMessage(ReadOnlySpan<byte> header, Transport transport, PacketOffload offload, out ReadOnlySpan<byte> message)
    {
        message = default;
        if (offload.NeedsChecksum || offload.IsSuperPacket)
        {
            return PacketRefusal.Offload;
        }

        if (header.Length < transport.At + IcmpBytes || transport.LengthBytes < IcmpBytes)
        {
            return PacketRefusal.Malformed;
        }

        message = header[transport.At..];
        message = message[..Math.Min(message.Length, transport.LengthBytes)];
        return PacketRefusal.None;
    }

    private PacketRefusal CheckIcmpV4(ReadOnlySpan<byte> header, Transport transport, PacketOffload offload, out int source)
    {
        source = 0;
        if (TakeMessage(header, transport, offload, out ReadOnlySpan<byte> message) is var refusal and not PacketRefusal.None)
        {
            return refusal;
        }

        switch (message[0], message[1])
        {
            case (EchoReplyV4, 0):
                return _areKernels ? PacketRefusal.Message : PacketRefusal.None;
            case (ProtocolFilters.UnreachableV4, PortUnreachableV4):
                // About a whole datagram, or a first fragment, of who is told to us.
                ReadOnlySpan<byte> quoted = message[IcmpBytes..];
                int quotedBytes = quoted.Length < V4Bytes ? 0 : (quoted[0] & 15) * 4;
                return quotedBytes < V4Bytes || quoted.Length < quotedBytes + UdpBytes ? PacketRefusal.Malformed
                    : quoted[0] >> 4 != 4 || quoted[9] != ProtocolFilters.Udp || (BinaryPrimitives.ReadUInt16BigEndian(quoted[6..]) & 0x1FFF) != 0
                        || !quoted.Slice(12, 4).SequenceEqual(header.Slice(Network + 16, 4)) || !IsOwnV4(quoted[16..]) ? PacketRefusal.Message
                    : CheckDatagramTo(quoted[(quotedBytes + 2)..], out source);
            default:
                return PacketRefusal.Message;
        }
    }

    private PacketRefusal CheckIcmpV6(ReadOnlySpan<byte> header, Transport transport, PacketOffload offload, out int source)
    {
        source = 0;
        if (TakeMessage(header, transport, offload, out ReadOnlySpan<byte> message) is var refusal and not PacketRefusal.None)
        {
            return refusal;
        }

        switch (message[0], message[1])
        {
            case (EchoReplyV6, 0):
                return _areKernels ? PacketRefusal.Message : PacketRefusal.None;
            case (Solicitation or Advertisement, 0):
                return message.Length != transport.LengthBytes ? PacketRefusal.Malformed : IsTrueOfNeighbors(header[Network + 7], message) ? PacketRefusal.None : PacketRefusal.Message;
            case (ProtocolFilters.UnreachableV6, PortUnreachableV6):
                ReadOnlySpan<byte> quoted = message[IcmpBytes..];
                return quoted.Length < V6Bytes + UdpBytes ? PacketRefusal.Malformed
                    : quoted[0] >> 4 != 6 || quoted[6] != ProtocolFilters.Udp || !quoted.Slice(8, 16).SequenceEqual(header.Slice(Network + 24, 16)) || !IsOwnV6(quoted[24..]) ? PacketRefusal.Message
                    : CheckDatagramTo(quoted[(V6Bytes + 2)..], out source);
            default:
                return PacketRefusal.Message;
        }
    }

    // Who may send from a port may say that nobody receives there.
    private PacketRefusal CheckDatagramTo(ReadOnlySpan<byte> port, out int source)
    {
        source = PortSet.IndexOf(ProtocolFilters.Udp, BinaryPrimitives.ReadUInt16BigEndian(port));
        return _own.Contains(source) ? PacketRefusal.None : PacketRefusal.Port;
    }

    // Without an option, or with just the interface's own hardware address; an advertisement about an address of its own, and not of a router.
    private bool IsTrueOfNeighbors(byte hopLimit, ReadOnlySpan<byte> message)
    {
        const int TargetAt = 8, OptionAt = 24, OptionBytes = 8;
        bool isAdvertisement = message[0] == Advertisement;
        if (_areKernels || hopLimit != FromThisLink || message.Length is not (OptionAt or OptionAt + OptionBytes))
        {
            return false;
        }

        if (message.Length > OptionAt && (message[OptionAt] != (isAdvertisement ? 2 : 1) || message[OptionAt + 1] != 1 || !IsInterface(message[(OptionAt + 2)..])))
        {
            return false;
        }

        return !isAdvertisement || ((message[4] & IsRouter) == 0 && IsOwnV6(message[TargetAt..]));
    }

    // Ethernet and IPv4; a question or an answer.
    private PacketRefusal CheckArp(ReadOnlySpan<byte> header, PacketOffload offload)
    {
        if (offload.NeedsChecksum || offload.IsSuperPacket)
        {
            return PacketRefusal.Offload;
        }

        ReadOnlySpan<byte> arp = header[Network..];
        if (arp.Length < ArpBytes)
        {
            return PacketRefusal.Malformed;
        }

        return _areKernels || BinaryPrimitives.ReadUInt64BigEndian(arp) is not (0x0001_0800_0604_0001 or 0x0001_0800_0604_0002) ? PacketRefusal.Message
            : !IsInterface(arp[8..]) ? PacketRefusal.HardwareAddress
            : !IsOwnV4(arp[14..]) ? PacketRefusal.Address
            : PacketRefusal.None;
    }

    private bool IsInterface(ReadOnlySpan<byte> hardware) => MacAddress.Read(hardware) == _device.Features.Address;

    private bool IsOwnV4(ReadOnlySpan<byte> address) => _addressesV4.AsSpan().Contains(BinaryPrimitives.ReadUInt32BigEndian(address));

    private bool IsOwnV6(ReadOnlySpan<byte> address) => _addressesV6.AsSpan().Contains(BinaryPrimitives.ReadUInt128BigEndian(address));

    /// <summary>What is behind the header of IP: where, how long that says it is, whether there is nothing behind it, and as what it may be cut.</summary>
    private readonly record struct Transport(int At, int LengthBytes, bool IsWhole, SegmentationKind Segmentation);
}
