// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Exo.Net.Cheetah.Wire;

/// <summary>
/// The head of an ICMP message of either version (RFC 792, RFC 4443).
/// <code>
/// 0      1      2     4              8
/// | type | code | sum | four bytes  | body: echo data, or the packet that caused an error
/// </code>
/// </summary>
/// <param name="Type">What it is; the numbers of the two versions differ.</param>
/// <param name="Code">Which kind of it.</param>
/// <param name="Parameter">The four bytes behind the checksum: identifier and sequence number of an echo, the next hop's MTU of an error.</param>
public readonly record struct IcmpMessage(byte Type, byte Code, uint Parameter)
{
    /// <summary>Bytes in front of the body.</summary>
    public const int SizeBytes = 8;

    /// <summary>ICMPv4: echo reply, unreachable, echo, time exceeded.</summary>
    internal const byte EchoReplyV4 = 0, UnreachableV4 = 3, EchoV4 = 8, TimeExceededV4 = 11;

    /// <summary>ICMPv6: unreachable, too big, time exceeded, parameter problem, echo, echo reply, neighbour solicitation and advertisement.</summary>
    internal const byte UnreachableV6 = 1, TooBigV6 = 2, TimeExceededV6 = 3, EchoV6 = 128, EchoReplyV6 = 129, NeighborSolicitation = 135, NeighborAdvertisement = 136;

    /// <summary>Reads an ICMPv4 message; its checksum covers the message alone.</summary>
    public static bool TryParseV4(ReadOnlySpan<byte> bytes, out IcmpMessage message, out ReadOnlySpan<byte> body) =>
        Read(bytes, bytes.Length >= SizeBytes && InternetChecksum.Partial(bytes) == 0xFFFF, out message, out body);

    /// <summary>Reads an ICMPv6 message; its checksum covers a pseudo header too.</summary>
    public static bool TryParseV6(InternetAddress source, InternetAddress destination, ReadOnlySpan<byte> bytes, out IcmpMessage message, out ReadOnlySpan<byte> body) =>
        Read(bytes, bytes.Length >= SizeBytes && PseudoHeader.Check(source, destination, IpProtocol.Icmpv6, bytes), out message, out body);

    /// <summary>Writes the head in front of a body that is there already, and the checksum over both.</summary>
    public void EmitV4(Span<byte> message)
    {
        Head(message);
        BinaryPrimitives.WriteUInt16BigEndian(message[2..], InternetChecksum.Finish(InternetChecksum.Partial(message)));
    }

    /// <summary>As <see cref="EmitV4"/>, for ICMPv6.</summary>
    public void EmitV6(InternetAddress source, InternetAddress destination, Span<byte> message)
    {
        Head(message);
        BinaryPrimitives.WriteUInt16BigEndian(message[2..], PseudoHeader.Checksum(source, destination, IpProtocol.Icmpv6, message));
    }

    private static bool Read(ReadOnlySpan<byte> bytes, bool isSound, out IcmpMessage message, out ReadOnlySpan<byte> body)
    {
        message = isSound ? new IcmpMessage(bytes[0], bytes[1], BinaryPrimitives.ReadUInt32BigEndian(bytes[4..])) : default;
        body = isSound ? bytes[SizeBytes..] : default;
        return isSound;
    }

    private void Head(Span<byte> message)
    {
        message[0] = Type;
        message[1] = Code;
        message[2] = message[3] = 0;
        BinaryPrimitives.WriteUInt32BigEndian(message[4..], Parameter);
    }
}
