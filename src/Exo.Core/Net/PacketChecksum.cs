// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Exo.Core.Net;

/// <summary>The Internet checksum (RFC 1071) where the protection layer itself must compute one: completing a partial checksum in software.</summary>
public static class PacketChecksum
{
    /// <summary>The folded one's-complement sum of big-endian words, not inverted; an odd last byte counts as the high half of a word.</summary>
    /// <param name="bytes">The bytes.</param>
    /// <param name="seed">A sum to begin with.</param>
    public static ushort Sum(ReadOnlySpan<byte> bytes, uint seed = 0)
    {
        // In the machine's byte order, turned at the end (RFC 1071 section 2B); 32-bit words into 64 bits never overflow.
        ulong sum = 0;
        foreach (uint word in MemoryMarshal.Cast<byte, uint>(bytes))
        {
            sum += word;
        }

        Span<byte> tail = stackalloc byte[4];
        tail.Clear();
        bytes[(bytes.Length & ~3)..].CopyTo(tail);
        sum += MemoryMarshal.Read<uint>(tail);
        sum = (sum & 0xffff_ffff) + (sum >> 32);
        sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
        ushort folded = Fold((uint)((sum & 0xffff) + (sum >> 16)));
        return Fold(seed + (BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness(folded) : folded));
    }

    /// <summary>Completes a checksum that was left open: RFC 1071 over all bytes from the start on, inverted, never 0 for UDP.</summary>
    /// <returns>False, and nothing is changed, when the field is not in the packet.</returns>
    public static bool TryComplete(Span<byte> packet, PacketOffload offload)
    {
        int field = offload.ChecksumStartBytes + offload.ChecksumOffsetBytes;
        if (!offload.NeedsChecksum || field + 2 > packet.Length)
        {
            return false;
        }

        ushort sum = (ushort)~Sum(packet[offload.ChecksumStartBytes..]);
        BinaryPrimitives.WriteUInt16BigEndian(packet[field..], sum == 0 && offload.ChecksumOffsetBytes == 6 ? ushort.MaxValue : sum);
        return true;
    }

    private static ushort Fold(uint sum)
    {
        sum = (sum & 0xffff) + (sum >> 16);
        return (ushort)((sum & 0xffff) + (sum >> 16));
    }
}
