// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Exo.Net.Cheetah.Wire;

/// <summary>
/// An IPv6 header (RFC 8200 section 3).
/// <code>
/// 0      4         6      7           8        24            40
/// | 6 tc flow | payload | next | hop limit | source | destination | extension headers... | payload
/// </code>
/// </summary>
/// <param name="Source">From whom.</param>
/// <param name="Destination">To whom.</param>
/// <param name="NextHeader">What follows at once: a protocol or an extension header.</param>
/// <param name="PayloadBytes">Bytes behind the header, extension headers included.</param>
/// <param name="HopLimit">Hops left.</param>
/// <param name="TrafficClass">Differentiated services and ECN.</param>
/// <param name="FlowLabel">20 bits (RFC 6437).</param>
public readonly record struct Ipv6Packet(
    InternetAddress Source, InternetAddress Destination, IpProtocol NextHeader, int PayloadBytes, byte HopLimit = 64,
    byte TrafficClass = 0, uint FlowLabel = 0)
{
    /// <summary>Bytes of the header.</summary>
    public const int SizeBytes = 40;

    /// <summary>Reads a header; what lies behind the payload length is padding. Jumbograms are refused, as are addresses that are IPv4 in disguise (RFC 4942 section 2.2).</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, out Ipv6Packet packet, out ReadOnlySpan<byte> payload)
    {
        bool isSound = TryParseHead(bytes, bytes.Length, out packet);
        payload = isSound ? bytes.Slice(SizeBytes, packet.PayloadBytes) : default;
        return isSound;
    }

    /// <summary>Reads the header of a packet of which only the front is at hand.</summary>
    /// <param name="bytes">The front; all of the header must be in it.</param>
    /// <param name="availableBytes">Bytes of the whole packet, padding included.</param>
    /// <param name="packet">What it says.</param>
    public static bool TryParseHead(ReadOnlySpan<byte> bytes, int availableBytes, out Ipv6Packet packet)
    {
        packet = default;
        if (bytes.Length < SizeBytes || bytes[0] >> 4 != 6)
        {
            return false;
        }

        int payloadBytes = BinaryPrimitives.ReadUInt16BigEndian(bytes[4..]);
        InternetAddress source = InternetAddress.ReadV6(bytes[8..]), destination = InternetAddress.ReadV6(bytes[24..]);
        if (payloadBytes > availableBytes - SizeBytes || source.IsV4 || destination.IsV4)
        {
            return false;
        }

        uint first = BinaryPrimitives.ReadUInt32BigEndian(bytes);
        packet = new Ipv6Packet(source, destination, (IpProtocol)bytes[6], payloadBytes, bytes[7], (byte)(first >> 20), first & 0xF_FFFF);
        return true;
    }

    /// <summary>Writes the header.</summary>
    public void Emit(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt32BigEndian(bytes, 0x6000_0000 | ((uint)TrafficClass << 20) | (FlowLabel & 0xF_FFFF));
        BinaryPrimitives.WriteUInt16BigEndian(bytes[4..], (ushort)PayloadBytes);
        bytes[6] = (byte)NextHeader;
        bytes[7] = HopLimit;
        Source.Emit(bytes[8..]);
        Destination.Emit(bytes[24..]);
    }
}

/// <summary>What the extension headers of an IPv6 packet say that a host must know, and what follows them.</summary>
/// <param name="Protocol">The protocol behind the last extension header.</param>
/// <param name="OffsetBytes">Where it starts in the payload.</param>
/// <param name="HasFragment">There was a fragment header (RFC 8200 section 4.5).</param>
/// <param name="FragmentOffsetBytes">Where the piece belongs; a multiple of 8.</param>
/// <param name="MoreFragments">Not the last piece.</param>
/// <param name="Identification">Which pieces belong together.</param>
public readonly record struct Ipv6Extensions(
    IpProtocol Protocol, int OffsetBytes, bool HasFragment = false, int FragmentOffsetBytes = 0, bool MoreFragments = false, uint Identification = 0)
{
    /// <summary>Extension headers read before a packet is given up.</summary>
    public const int HeadersMax = 8;

    private const byte HopByHop = 0, Routing = 43, Fragment = 44, DestinationOptions = 60;

    /// <summary>
    /// Walks the chain of extension headers. False for a chain that leaves the packet or is too long, for a routing header with segments
    /// left (RFC 5095), and for an option that must be understood (its two high bits not 00).
    /// </summary>
    public static bool TryParse(in Ipv6Packet packet, ReadOnlySpan<byte> payload, out Ipv6Extensions extensions)
    {
        extensions = new Ipv6Extensions(packet.NextHeader, 0);
        for (int count = 0; (byte)extensions.Protocol is HopByHop or Routing or Fragment or DestinationOptions; count++)
        {
            ReadOnlySpan<byte> rest = payload[extensions.OffsetBytes..];
            if (count == HeadersMax || rest.Length < 8)
            {
                return false;
            }

            byte kind = (byte)extensions.Protocol;
            int headerBytes = kind == Fragment ? 8 : (rest[1] + 1) * 8;
            bool misplaced = kind == HopByHop && count > 0;
            if (headerBytes > rest.Length || misplaced || (kind == Routing && rest[3] != 0)
                || (kind is HopByHop or DestinationOptions && !OptionsMayBeSkipped(rest[2..headerBytes])))
            {
                return false;
            }

            extensions = extensions with { Protocol = (IpProtocol)rest[0], OffsetBytes = extensions.OffsetBytes + headerBytes };
            if (kind == Fragment)
            {
                ushort field = BinaryPrimitives.ReadUInt16BigEndian(rest[2..]);
                extensions = extensions with
                {
                    HasFragment = true,
                    FragmentOffsetBytes = field & 0xFFF8,
                    MoreFragments = (field & 1) != 0,
                    Identification = BinaryPrimitives.ReadUInt32BigEndian(rest[4..]),
                };
                return true;   // what follows belongs to the whole packet, and may be cut off here
            }
        }

        return true;
    }

    private static bool OptionsMayBeSkipped(ReadOnlySpan<byte> options)
    {
        while (!options.IsEmpty)
        {
            if (options[0] == 0)
            {
                options = options[1..];
                continue;
            }

            if (options.Length < 2 || options[1] + 2 > options.Length || options[0] >> 6 != 0)
            {
                return false;
            }

            options = options[(options[1] + 2)..];
        }

        return true;
    }
}
