// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Net;

namespace Exo.Core.Tests.Net;

/// <summary>Keeps what is on the wire when a device has done its work: segments cut, checksums written.</summary>
internal sealed class WireDevice(FramePool frames, MacAddress address) : NetworkDevice("wire", frames)
{
    public List<byte[]> Packets { get; } = [];

    public override NetworkDeviceFeatures Features { get; } = new()
    {
        Driver = "wire", Address = address, MtuBytes = 1500, TransmitChecksum = true, SegmentationV4 = true, SegmentationV6 = true, SuperPacketBytesMax = ushort.MaxValue, TransmitSlicesMax = 18,
    };

    public override NetworkDeviceCounters Counters => default;

    public override NetworkEvents Wait(NetworkEvents wanted, TimeSpan timeout) => wanted;

    public override void Wake()
    {
    }

    protected override int TransmitChecked(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices)
    {
        foreach (ref readonly TransmitPacket packet in packets)
        {
            List<byte> bytes = [.. packet.Header.Bytes(Frames)];
            foreach (PacketSlice slice in slices.Slice(packet.FirstSlice, packet.SliceCount))
            {
                bytes.AddRange(slice.Bytes(Frames));
            }

            byte[] whole = [.. bytes];
            if (!packet.Offload.IsSuperPacket)
            {
                Assert.True(!packet.Offload.NeedsChecksum || PacketChecksum.TryComplete(whole, packet.Offload));
                Packets.Add(whole);
                continue;
            }

            for (int i = 0; i < PacketSegmenter.SegmentCount(whole.Length, packet.Offload); i++)
            {
                byte[] room = new byte[whole.Length];
                Packets.Add(room[..PacketSegmenter.WriteSegment(whole, packet.Offload, i, room)]);
            }
        }

        return packets.Length;
    }

    protected override int ReceiveInto(ReceiveBatch batch) => 0;

    protected override void Dispose(bool disposing)
    {
    }
}
