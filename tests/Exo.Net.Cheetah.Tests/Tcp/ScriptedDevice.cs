// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tests.Tcp;

/// <summary>A device whose other end is a script: what is sent is listed, what is to come is put in.</summary>
internal sealed class ScriptedDevice(FramePool frames) : NetworkDevice("script", frames)
{
    private readonly Queue<byte[]> arriving = new();

    public Queue<(TcpSegment Segment, int PayloadBytes, byte TrafficClass)> Sent { get; } = new();

    /// <summary>The payload of what was sent last.</summary>
    public byte[] LastPayload { get; private set; } = [];

    /// <summary>What the device says of the checksums of packets that come.</summary>
    public ChecksumState Checksum { get; init; } = ChecksumState.Verified;

    /// <summary>What was sent and is no TCP, from the Ethernet header on.</summary>
    public Queue<byte[]> Others { get; } = new();

    public override NetworkDeviceFeatures Features { get; } = new()
    {
        Driver = "script", Address = new MacAddress(0x02_00_00_00_00_01), MtuBytes = 1500, TransmitChecksum = true, ReceiveChecksum = true, TransmitSlicesMax = 18,
    };

    public override NetworkDeviceCounters Counters => default;

    public void Arrive(byte[] frame) => arriving.Enqueue(frame);

    public override NetworkEvents Wait(NetworkEvents wanted, TimeSpan timeout) => NetworkEvents.None;

    public override void Wake()
    {
    }

    protected override int TransmitChecked(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices)
    {
        foreach (TransmitPacket packet in packets)
        {
            ReadOnlySpan<byte> header = packet.Header.Bytes(Frames);
            int payload = 0;
            foreach (PacketSlice slice in slices.Slice(packet.FirstSlice, packet.SliceCount))
            {
                payload += slice.LengthBytes;
            }

            Assert.True(EthernetFrame.TryParse(header, out _, out ReadOnlySpan<byte> ip));
            if (Tcp(ip, out byte trafficClass) is { IsEmpty: false } tcp)
            {
                Assert.True(TcpSegment.TryParse(tcp, out TcpSegment segment, out _));
                Sent.Enqueue((segment, payload, trafficClass));
                using var bytes = new MemoryStream();
                foreach (PacketSlice slice in slices.Slice(packet.FirstSlice, packet.SliceCount))
                {
                    bytes.Write(slice.Bytes(Frames));
                }

                LastPayload = bytes.ToArray();
            }
            else
            {
                Others.Enqueue([.. header]);
            }
        }

        return packets.Length;
    }

    private static ReadOnlySpan<byte> Tcp(ReadOnlySpan<byte> ip, out byte trafficClass)
    {
        if (Ipv4Packet.TryParseHead(ip, ushort.MaxValue, out Ipv4Packet v4, out int headerBytes))
        {
            trafficClass = v4.TrafficClass;
            return v4.Protocol == IpProtocol.Tcp ? ip[headerBytes..] : default;
        }

        bool isV6 = Ipv6Packet.TryParseHead(ip, ushort.MaxValue + Ipv6Packet.SizeBytes, out Ipv6Packet v6) && v6.NextHeader == IpProtocol.Tcp;
        trafficClass = v6.TrafficClass;
        return isV6 ? ip[Ipv6Packet.SizeBytes..] : default;
    }

    protected override int ReceiveInto(ReceiveBatch batch)
    {
        while (batch.Count < batch.Capacity && arriving.TryDequeue(out byte[]? frame))
        {
            int count = (frame.Length + FramePool.FrameBytes - 1) / FramePool.FrameBytes;
            Assert.True(Frames.TryAllocateRun(Frames.RootCredential, count, out FrameNumber first));
            frame.CopyTo(Frames.Bytes(first, count));
            batch.Add(null, [new PacketSlice(first, 0, frame.Length)], Checksum);
        }

        return batch.Count;
    }

    protected override void Dispose(bool disposing)
    {
    }
}
