// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Net;

namespace Exo.Simulation.Net;

/// <summary>Marks packets as routers do that are about to be full (RFC 3168 section 5).</summary>
internal static class CongestionMark
{
    /// <summary>Marks an IP packet behind an Ethernet header. False if its sender does not allow that.</summary>
    public static bool TrySet(Span<byte> packet)
    {
        if (packet.Length < NetworkDevice.EthernetHeaderBytes + 20)
        {
            return false;
        }

        Span<byte> ip = packet[NetworkDevice.EthernetHeaderBytes..];
        int shift = BinaryPrimitives.ReadUInt16BigEndian(packet[12..]) switch { 0x0800 => 0, 0x86DD => 4, _ => -1 };
        int ecn = shift < 0 ? 0 : (ip[1] >> shift) & 3;
        if (ecn == 0)
        {
            return false;
        }

        ip[1] |= (byte)(3 << shift);
        if (shift == 0)
        {
            ip[10..12].Clear();
            BinaryPrimitives.WriteUInt16BigEndian(ip[10..], (ushort)~PacketChecksum.Sum(ip[..((ip[0] & 15) * 4)]));
        }

        return true;
    }
}
