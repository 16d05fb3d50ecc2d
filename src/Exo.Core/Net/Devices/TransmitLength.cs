// SPDX-License-Identifier: MIT
namespace Exo.Core.Net;

/// <summary>Bytes of packets to be sent.</summary>
internal static class TransmitLength
{
    public static long Of(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices)
    {
        long sum = 0;
        foreach (ref readonly TransmitPacket packet in packets)
        {
            sum += Of(packet, slices);
        }

        return sum;
    }

    public static int Of(in TransmitPacket packet, ReadOnlySpan<PacketSlice> slices)
    {
        int sum = packet.Header.LengthBytes;
        foreach (ref readonly PacketSlice slice in slices.Slice(packet.FirstSlice, packet.SliceCount))
        {
            sum += slice.LengthBytes;
        }

        return sum;
    }
}
