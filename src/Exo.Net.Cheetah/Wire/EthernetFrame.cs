// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Net;

namespace Exo.Net.Cheetah.Wire;

/// <summary>What an Ethernet frame carries (IEEE 802 numbers).</summary>
public enum EtherType : ushort
{
    /// <summary>RFC 894.</summary>
    Ipv4 = 0x0800,

    /// <summary>RFC 826.</summary>
    Arp = 0x0806,

    /// <summary>RFC 2464.</summary>
    Ipv6 = 0x86DD,
}

/// <summary>
/// An Ethernet II header (RFC 894, RFC 2464).
/// <code>
/// 0            6            12    14
/// | destination | source    |type | payload...
/// </code>
/// <para>
/// The contract of every packet of this room: <c>TryParse</c> says false, and never throws, for bytes that are not such a packet;
/// what it returns can be emitted into <c>SizeBytes</c> bytes, and parses again as the same value. Numbers are in host order.
/// </para>
/// </summary>
/// <param name="Destination">To whom.</param>
/// <param name="Source">From whom.</param>
/// <param name="Type">What follows.</param>
public readonly record struct EthernetFrame(MacAddress Destination, MacAddress Source, EtherType Type)
{
    /// <summary>Bytes of the header.</summary>
    public const int SizeBytes = 14;

    /// <summary>Reads a header; frames with an 802.3 length in place of a type are refused.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, out EthernetFrame frame, out ReadOnlySpan<byte> payload)
    {
        frame = default;
        payload = default;
        if (bytes.Length < SizeBytes)
        {
            return false;
        }

        ushort type = BinaryPrimitives.ReadUInt16BigEndian(bytes[12..]);
        if (type < 0x600)
        {
            return false;
        }

        frame = new EthernetFrame(MacAddress.Read(bytes), MacAddress.Read(bytes[6..]), (EtherType)type);
        payload = bytes[SizeBytes..];
        return true;
    }

    /// <summary>Writes the header.</summary>
    public void Emit(Span<byte> bytes)
    {
        Destination.Write(bytes);
        Source.Write(bytes[6..]);
        BinaryPrimitives.WriteUInt16BigEndian(bytes[12..], (ushort)Type);
    }
}
