// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Exo.Core.Net;

/// <summary>
/// Cuts a super-packet in software, as the kernel and network cards do: for wires that are simulated, and for whoever must send one where
/// <see cref="NetworkDeviceFeatures.SegmentationV4"/> is missing. Ethernet II without tags, IPv4 with options or IPv6 without extension headers, TCP.
/// </summary>
public static class PacketSegmenter
{
    private const int Network = NetworkDevice.EthernetHeaderBytes;
    private const byte TcpFin = 0x01, TcpPush = 0x08, TcpReducedWindow = 0x80;

    /// <summary>Packets that a super-packet becomes.</summary>
    /// <param name="lengthBytes">Of the whole super-packet.</param>
    /// <param name="offload">How it is to be cut.</param>
    public static int SegmentCount(int lengthBytes, PacketOffload offload) =>
        !offload.IsSuperPacket || offload.SegmentBytes == 0 ? 1
            : Math.Max(1, (lengthBytes - offload.HeaderBytes + offload.SegmentBytes - 1) / offload.SegmentBytes);

    /// <summary>Writes one of the packets, with all lengths, numbers, flags and checksums right.</summary>
    /// <param name="superPacket">The whole super-packet.</param>
    /// <param name="offload">How it is to be cut; <see cref="PacketOffload.HeaderBytes"/> must be exact.</param>
    /// <param name="index">Which, from 0.</param>
    /// <param name="destination">Where to; needs room for the headers and one segment.</param>
    /// <returns>Its length in bytes.</returns>
    /// <exception cref="ArgumentException">The offload does not describe the super-packet, or there is no room.</exception>
    public static int WriteSegment(ReadOnlySpan<byte> superPacket, PacketOffload offload, int index, Span<byte> destination)
    {
        int headerBytes = offload.HeaderBytes;
        int tcp = offload.ChecksumStartBytes;
        int count = SegmentCount(superPacket.Length, offload);
        if (!offload.IsSuperPacket || headerBytes > superPacket.Length || tcp < TransportOffsetMin(offload.Segmentation) || tcp + 20 > headerBytes)
        {
            throw new ArgumentException("The offload does not describe the super-packet.", nameof(offload));
        }

        ArgumentOutOfRangeException.ThrowIfNegative(index);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, count);
        int start = headerBytes + index * offload.SegmentBytes;
        ReadOnlySpan<byte> payload = superPacket.Slice(start, Math.Min(offload.SegmentBytes, superPacket.Length - start));
        int lengthBytes = headerBytes + payload.Length;
        superPacket[..headerBytes].CopyTo(destination);
        payload.CopyTo(destination[headerBytes..]);

        Span<byte> packet = destination[..lengthBytes];
        uint pseudo;
        if (offload.Segmentation == SegmentationKind.Tcp4)
        {
            Span<byte> ip = packet[Network..tcp];
            BinaryPrimitives.WriteUInt16BigEndian(ip[2..], (ushort)(lengthBytes - Network));
            BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)(BinaryPrimitives.ReadUInt16BigEndian(ip[4..]) + index));
            ip[10..12].Clear();
            BinaryPrimitives.WriteUInt16BigEndian(ip[10..], (ushort)~PacketChecksum.Sum(ip));
            pseudo = PacketChecksum.Sum(ip[12..20]);
        }
        else
        {
            Span<byte> ip = packet[Network..tcp];
            BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)(lengthBytes - Network - 40));
            pseudo = PacketChecksum.Sum(ip[8..40]);
        }

        Span<byte> segment = packet[tcp..];
        BinaryPrimitives.WriteUInt32BigEndian(segment[4..], BinaryPrimitives.ReadUInt32BigEndian(segment[4..]) + (uint)(index * offload.SegmentBytes));
        if (index < count - 1)
        {
            segment[13] &= unchecked((byte)~(TcpFin | TcpPush));
        }

        if (index > 0)
        {
            segment[13] &= unchecked((byte)~TcpReducedWindow);
        }

        segment[16..18].Clear();
        BinaryPrimitives.WriteUInt16BigEndian(segment[16..], (ushort)~PacketChecksum.Sum(segment, pseudo + 6 + (uint)segment.Length));
        return lengthBytes;
    }

    /// <summary>Where TCP's header begins at the earliest.</summary>
    internal static int TransportOffsetMin(SegmentationKind kind) => Network + (kind == SegmentationKind.Tcp4 ? 20 : 40);
}
