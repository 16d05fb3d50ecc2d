// SPDX-License-Identifier: MIT
using Exo.Core.Memory;

namespace Exo.Core.Net;

/// <summary>The rules of packets to be sent, in one place for all devices: a driver sees only what the kernel could be given blindly.</summary>
internal static class TransmitCheck
{
    public static void ThrowUnlessValid(
        FramePool frames, NetworkDeviceFeatures features, ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices)
    {
        for (int i = 0; i < packets.Length; i++)
        {
            ref readonly TransmitPacket packet = ref packets[i];
            if (Fault(frames, features, in packet, slices) is { } fault)
            {
                throw new ArgumentException($"Packet {i}: {fault}.", nameof(packets));
            }
        }
    }

    // Null: none.
    private static string? Fault(FramePool frames, NetworkDeviceFeatures features, in TransmitPacket packet, ReadOnlySpan<PacketSlice> slices)
    {
        if ((uint)packet.FirstSlice > (uint)slices.Length || (uint)packet.SliceCount > (uint)(slices.Length - packet.FirstSlice))
        {
            return "its slices leave the vector";
        }

        if (packet.SliceCount >= features.TransmitSlicesMax)
        {
            return "it has more pieces than the device takes";
        }

        if (!IsHeld(frames, packet.Header))
        {
            return "its header is not in allocated frames of the pool";
        }

        long lengthBytes = packet.Header.LengthBytes;
        foreach (ref readonly PacketSlice slice in slices.Slice(packet.FirstSlice, packet.SliceCount))
        {
            if (!IsHeld(frames, slice))
            {
                return "a slice is empty or not in allocated frames of the pool";
            }

            lengthBytes += slice.LengthBytes;
        }

        if (packet.Header.LengthBytes < NetworkDevice.EthernetHeaderBytes)
        {
            return "its header is shorter than Ethernet's";
        }

        PacketOffload offload = packet.Offload;
        int bytesMax = features.PacketBytesMax(offload.Segmentation);
        if (lengthBytes > bytesMax)
        {
            return bytesMax == 0 ? "the device has no such segmentation" : "it is longer than the device takes";
        }

        if (offload.NeedsChecksum)
        {
            if (!features.TransmitChecksum)
            {
                return "the device computes no checksums";
            }

            // In the header: whoever completes it must not write into payload, which is shared.
            if (offload.ChecksumStartBytes + offload.ChecksumOffsetBytes + 2 > packet.Header.LengthBytes)
            {
                return "its checksum is not in the header";
            }
        }

        if (!offload.IsSuperPacket)
        {
            return offload.SegmentBytes == 0 && offload.HeaderBytes == 0 ? null : "it names segments but no segmentation";
        }

        return !offload.NeedsChecksum ? "a super-packet needs its checksum completed"
            : offload.SegmentBytes == 0 ? "its segments are empty"
            : offload.HeaderBytes != packet.Header.LengthBytes ? "the header of a super-packet is not what is repeated"
            : offload.ChecksumOffsetBytes != 16 || offload.ChecksumStartBytes + 20 > offload.HeaderBytes
                || offload.ChecksumStartBytes < PacketSegmenter.TransportOffsetMin(offload.Segmentation) ? "its headers are not those of TCP"
            : null;
    }

    private static bool IsHeld(FramePool frames, PacketSlice slice)
    {
        if ((uint)slice.OffsetBytes >= FramePool.FrameBytes || slice.LengthBytes <= 0
            || slice.Frame.Value + (long)slice.FrameCount > frames.FrameCount)
        {
            return false;
        }

        for (uint i = 0; i < (uint)slice.FrameCount; i++)
        {
            if (frames.ReferenceCount(new FrameNumber(slice.Frame.Value + i)) == 0)
            {
                return false;
            }
        }

        return true;
    }
}
