// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Wire;

/// <summary>The pseudo header that the checksums of TCP, UDP and ICMPv6 cover (RFC 9293 section 3.1, RFC 8200 section 8.1).</summary>
internal static class PseudoHeader
{
    /// <summary>Its partial sum.</summary>
    public static ushort Partial(InternetAddress source, InternetAddress destination, IpProtocol protocol, int lengthBytes)
    {
        ulong sum = source.Sum + destination.Sum + (byte)protocol + ((uint)lengthBytes >> 16) + ((uint)lengthBytes & 0xFFFF);
        sum = (sum & 0xFFFF) + (sum >> 16);
        sum = (sum & 0xFFFF) + (sum >> 16);
        return (ushort)sum;
    }

    /// <summary>The packet, its checksum field included, sums to nothing.</summary>
    public static bool Check(InternetAddress source, InternetAddress destination, IpProtocol protocol, ReadOnlySpan<byte> packet) =>
        InternetChecksum.Combine(
            Partial(source, destination, protocol, packet.Length), 0, InternetChecksum.Partial(packet)) == 0xFFFF;

    /// <summary>The checksum of a packet whose checksum field is zero.</summary>
    public static ushort Checksum(InternetAddress source, InternetAddress destination, IpProtocol protocol, ReadOnlySpan<byte> packet) =>
        InternetChecksum.Finish(InternetChecksum.Combine(
            Partial(source, destination, protocol, packet.Length), 0, InternetChecksum.Partial(packet)));
}
