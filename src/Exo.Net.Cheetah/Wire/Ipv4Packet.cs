// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Exo.Net.Cheetah.Wire;

/// <summary>What an IP packet carries (IANA protocol numbers).</summary>
public enum IpProtocol : byte
{
    /// <summary>RFC 792.</summary>
    Icmpv4 = 1,

    /// <summary>RFC 9293.</summary>
    Tcp = 6,

    /// <summary>RFC 768.</summary>
    Udp = 17,

    /// <summary>RFC 4443.</summary>
    Icmpv6 = 58,
}

/// <summary>
/// An IPv4 header (RFC 791). Options are skipped when read and never written.
/// <code>
/// 0    1     2       4    6       8     9      10    12       16            20
/// |4 n | tos | total | id |flg off| ttl | prot | sum | source | destination | options... | payload
/// </code>
/// </summary>
/// <param name="Source">From whom.</param>
/// <param name="Destination">To whom.</param>
/// <param name="Protocol">What follows.</param>
/// <param name="PayloadBytes">Bytes behind the header.</param>
/// <param name="TimeToLive">Hops left.</param>
/// <param name="DontFragment">The path must not cut it (RFC 1191).</param>
/// <param name="MoreFragments">Not the last piece.</param>
/// <param name="FragmentOffsetBytes">Where the piece belongs; a multiple of 8.</param>
/// <param name="Identification">Which pieces belong together.</param>
/// <param name="TrafficClass">Differentiated services and ECN (RFC 2474, RFC 3168).</param>
public readonly record struct Ipv4Packet(
    InternetAddress Source, InternetAddress Destination, IpProtocol Protocol, int PayloadBytes, byte TimeToLive = 64,
    bool DontFragment = true, bool MoreFragments = false, int FragmentOffsetBytes = 0, ushort Identification = 0, byte TrafficClass = 0)
{
    /// <summary>Bytes of the header as written.</summary>
    public const int SizeBytes = 20;

    /// <summary>It is a piece of a larger packet.</summary>
    public bool IsFragment => MoreFragments || FragmentOffsetBytes != 0;

    /// <summary>Reads a header, its checksum included; what lies behind the total length is padding.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, out Ipv4Packet packet, out ReadOnlySpan<byte> payload)
    {
        bool isSound = TryParseHead(bytes, bytes.Length, out packet, out int headerBytes);
        payload = isSound ? bytes.Slice(headerBytes, packet.PayloadBytes) : default;
        return isSound;
    }

    /// <summary>Reads the header of a packet of which only the front is at hand.</summary>
    /// <param name="bytes">The front; all of the header must be in it.</param>
    /// <param name="availableBytes">Bytes of the whole packet, padding included.</param>
    /// <param name="packet">What it says.</param>
    /// <param name="headerBytes">Where the payload begins.</param>
    public static bool TryParseHead(ReadOnlySpan<byte> bytes, int availableBytes, out Ipv4Packet packet, out int headerBytes)
    {
        packet = default;
        headerBytes = 0;
        if (bytes.Length < SizeBytes || bytes[0] >> 4 != 4)
        {
            return false;
        }

        headerBytes = (bytes[0] & 15) * 4;
        int totalBytes = BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]);
        if (headerBytes < SizeBytes || headerBytes > bytes.Length || totalBytes < headerBytes || totalBytes > availableBytes || !Check(bytes[..headerBytes]))
        {
            return false;
        }

        ushort flags = BinaryPrimitives.ReadUInt16BigEndian(bytes[6..]);
        packet = new Ipv4Packet(
            InternetAddress.ReadV4(bytes[12..]), InternetAddress.ReadV4(bytes[16..]), (IpProtocol)bytes[9], totalBytes - headerBytes, bytes[8],
            (flags & 0x4000) != 0, (flags & 0x2000) != 0, (flags & 0x1FFF) * 8, BinaryPrimitives.ReadUInt16BigEndian(bytes[4..]), bytes[1]);
        return true;
    }

    /// <summary>The header's checksum is right.</summary>
    public static bool Check(ReadOnlySpan<byte> header) => InternetChecksum.Partial(header) == 0xFFFF;

    /// <summary>Writes the header with its checksum.</summary>
    public void Emit(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt16BigEndian(bytes, (ushort)(0x4500 | TrafficClass));
        BinaryPrimitives.WriteUInt16BigEndian(bytes[2..], (ushort)(SizeBytes + PayloadBytes));
        BinaryPrimitives.WriteUInt16BigEndian(bytes[4..], Identification);
        BinaryPrimitives.WriteUInt16BigEndian(
            bytes[6..], (ushort)((FragmentOffsetBytes / 8) | (DontFragment ? 0x4000 : 0) | (MoreFragments ? 0x2000 : 0)));
        bytes[8] = TimeToLive;
        bytes[9] = (byte)Protocol;
        bytes[10] = bytes[11] = 0;
        BinaryPrimitives.WriteUInt32BigEndian(bytes[12..], Source.V4);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[16..], Destination.V4);
        BinaryPrimitives.WriteUInt16BigEndian(bytes[10..], InternetChecksum.Finish(InternetChecksum.Partial(bytes[..SizeBytes])));
    }
}
