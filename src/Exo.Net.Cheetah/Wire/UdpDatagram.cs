// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Exo.Net.Cheetah.Wire;

/// <summary>
/// A UDP header (RFC 768).
/// <code>
/// 0        2             4        6     8
/// | source | destination | length | sum | payload
/// </code>
/// </summary>
/// <param name="SourcePort">Whose answer is wanted; 0 = nobody's.</param>
/// <param name="DestinationPort">For whom.</param>
/// <param name="PayloadBytes">Bytes behind the header.</param>
public readonly record struct UdpDatagram(ushort SourcePort, ushort DestinationPort, int PayloadBytes)
{
    /// <summary>Bytes of the header.</summary>
    public const int SizeBytes = 8;

    /// <summary>Reads a datagram, its checksum included; none at all is allowed over IPv4 only (RFC 8200 section 8.1).</summary>
    public static bool TryParse(InternetAddress source, InternetAddress destination, ReadOnlySpan<byte> bytes, out UdpDatagram datagram, out ReadOnlySpan<byte> payload)
    {
        datagram = default;
        payload = default;
        if (bytes.Length < SizeBytes)
        {
            return false;
        }

        int lengthBytes = BinaryPrimitives.ReadUInt16BigEndian(bytes[4..]);
        if (lengthBytes < SizeBytes || lengthBytes > bytes.Length || !Check(source, destination, bytes[..lengthBytes]))
        {
            return false;
        }

        datagram = new UdpDatagram(
            BinaryPrimitives.ReadUInt16BigEndian(bytes), BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]), lengthBytes - SizeBytes);
        payload = bytes[SizeBytes..lengthBytes];
        return true;
    }

    /// <summary>The checksum is right, or absent where it may be.</summary>
    public static bool Check(InternetAddress source, InternetAddress destination, ReadOnlySpan<byte> datagram) =>
        (BinaryPrimitives.ReadUInt16BigEndian(datagram[6..]) == 0 && source.IsV4)
        || (BinaryPrimitives.ReadUInt16BigEndian(datagram[6..]) != 0 && PseudoHeader.Check(source, destination, IpProtocol.Udp, datagram));

    /// <summary>Writes the header in front of a payload that is there already, and the checksum over both; a sum of 0 is sent as ffff.</summary>
    public void Emit(InternetAddress source, InternetAddress destination, Span<byte> datagram)
    {
        BinaryPrimitives.WriteUInt16BigEndian(datagram, SourcePort);
        BinaryPrimitives.WriteUInt16BigEndian(datagram[2..], DestinationPort);
        BinaryPrimitives.WriteUInt16BigEndian(datagram[4..], (ushort)(SizeBytes + PayloadBytes));
        datagram[6] = datagram[7] = 0;
        ushort sum = PseudoHeader.Checksum(source, destination, IpProtocol.Udp, datagram[..(SizeBytes + PayloadBytes)]);
        BinaryPrimitives.WriteUInt16BigEndian(datagram[6..], sum == 0 ? (ushort)0xFFFF : sum);
    }
}
