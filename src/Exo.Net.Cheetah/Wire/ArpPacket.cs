// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Net;

namespace Exo.Net.Cheetah.Wire;

/// <summary>
/// An address resolution packet for IPv4 on Ethernet (RFC 826).
/// <code>
/// 0      2      4   5   6    8            14         18           24         28
/// | 0001 | 0800 | 6 | 4 | op | sender MAC | sender IP | target MAC | target IP |
/// </code>
/// </summary>
/// <param name="IsRequest">Asks; otherwise replies.</param>
/// <param name="SenderHardware">The sender's own address.</param>
/// <param name="Sender">The sender's IPv4 address; 0.0.0.0 in a probe (RFC 5227).</param>
/// <param name="TargetHardware">Nothing in a request.</param>
/// <param name="Target">The IPv4 address asked about.</param>
public readonly record struct ArpPacket(
    bool IsRequest, MacAddress SenderHardware, InternetAddress Sender, MacAddress TargetHardware, InternetAddress Target)
{
    /// <summary>Bytes of the packet; Ethernet pads behind it.</summary>
    public const int SizeBytes = 28;

    /// <summary>Reads a packet; other hardware, protocols and operations are refused.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, out ArpPacket packet)
    {
        packet = default;
        if (bytes.Length < SizeBytes || BinaryPrimitives.ReadUInt64BigEndian(bytes) is not (0x0001_0800_0604_0001 or 0x0001_0800_0604_0002))
        {
            return false;
        }

        packet = new ArpPacket(
            bytes[7] == 1,
            MacAddress.Read(bytes[8..]),
            InternetAddress.ReadV4(bytes[14..]),
            MacAddress.Read(bytes[18..]),
            InternetAddress.ReadV4(bytes[24..]));
        return true;
    }

    /// <summary>Writes the packet.</summary>
    public void Emit(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt64BigEndian(bytes, IsRequest ? 0x0001_0800_0604_0001ul : 0x0001_0800_0604_0002ul);
        SenderHardware.Write(bytes[8..]);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[14..], Sender.V4);
        TargetHardware.Write(bytes[18..]);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[24..], Target.V4);
    }
}
