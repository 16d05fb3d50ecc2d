// SPDX-License-Identifier: MIT
using Exo.Core.Net;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tests.Tcp;

/// <summary>
/// A device between a stack and the one it believes to have: every segment is held against what must be true whatever the wire does.
/// <code>
/// the right edge of the window told never goes back · nothing is acknowledged that has not come ·
/// nothing is sent beyond the edge that the peer has told · a byte sent again is the same byte
/// </code>
/// </summary>
internal sealed class WatchedDevice(NetworkDevice inner, string? name = null) : NetworkDevice(name ?? inner.Name, inner.Frames)
{
    private readonly Dictionary<(ushort, ushort), Flow> flows = [];

    private sealed class Flow
    {
        public byte ScaleOut, ScaleIn;
        public bool KnowsEdgeOut, KnowsEdgeIn, KnowsSeen, PeerFinished;
        public uint EdgeOut, EdgeIn, Seen;
    }

    public List<string> Trace { get; } = [];

    public bool Traces { get; set; }

    /// <summary>Says of a packet to be sent, by the bytes of its payload, that it is lost.</summary>
    public Func<int, bool>? Loses { get; set; }

    public int DataPacketsSent { get; private set; }

    public int PacketsSent { get; private set; }

    /// <summary>Bytes that watching and the wire have allocated: not the stack's.</summary>
    public long AllocatedBytes { get; private set; }

    public override NetworkDeviceFeatures Features => inner.Features;

    public override NetworkDeviceCounters Counters => inner.Counters;

    public override NetworkEvents Wait(NetworkEvents wanted, TimeSpan timeout) => inner.Wait(wanted, timeout);

    public override void Wake() => inner.Wake();

    protected override int TransmitChecked(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        foreach (TransmitPacket packet in packets)
        {
            byte[] bytes = new byte[packet.Header.LengthBytes];
            packet.Header.Bytes(Frames).CopyTo(bytes);
            int payload = 0;
            foreach (PacketSlice slice in slices.Slice(packet.FirstSlice, packet.SliceCount))
            {
                payload += slice.LengthBytes;
            }

            PacketsSent++;
            Look(bytes, payload, isOut: true);
        }

        int accepted = Loses is null ? inner.Transmit(packets, slices) : TransmitSome(packets, slices);
        AllocatedBytes += GC.GetAllocatedBytesForCurrentThread() - before;
        return accepted;
    }

    private int TransmitSome(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices)
    {
        for (int i = 0; i < packets.Length; i++)
        {
            int payload = 0;
            foreach (PacketSlice slice in slices.Slice(packets[i].FirstSlice, packets[i].SliceCount))
            {
                payload += slice.LengthBytes;
            }

            if (!Loses!(payload) && inner.Transmit(packets.Slice(i, 1), slices) == 0)
            {
                return i;
            }
        }

        return packets.Length;
    }

    protected override int ReceiveInto(ReceiveBatch batch)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        int count = inner.Receive(batch);
        for (int i = 0; i < count; i++)
        {
            byte[] bytes = new byte[batch.Packets[i].LengthBytes];
            batch.CopyTo(i, bytes);
            Look(bytes, 0, isOut: false);
        }

        AllocatedBytes += GC.GetAllocatedBytesForCurrentThread() - before;
        return count;
    }

    protected override void Dispose(bool disposing) => inner.Dispose();

    private void Look(byte[] frame, int outOfBandBytes, bool isOut)
    {
        if (Traces)
        {
            Trace.Add($"{(isOut ? ">" : "<")} {PacketPrinter.Line(frame)}{(outOfBandBytes > 0 ? $" +{outOfBandBytes}" : string.Empty)}");
        }

        if (!EthernetFrame.TryParse(frame, out EthernetFrame ethernet, out ReadOnlySpan<byte> packet))
        {
            return;
        }

        ReadOnlySpan<byte> transport;
        int payloadBytes;
        InternetAddress source, destination;
        if (ethernet.Type == EtherType.Ipv4 && Ipv4Packet.TryParseHead(packet, ushort.MaxValue, out Ipv4Packet v4, out int headerBytes) && v4.Protocol == IpProtocol.Tcp)
        {
            transport = packet[headerBytes..];
            payloadBytes = v4.PayloadBytes;
            (source, destination) = (v4.Source, v4.Destination);
        }
        else if (ethernet.Type == EtherType.Ipv6 && Ipv6Packet.TryParseHead(packet, ushort.MaxValue + 40, out Ipv6Packet v6) && v6.NextHeader == IpProtocol.Tcp)
        {
            transport = packet[Ipv6Packet.SizeBytes..];
            payloadBytes = v6.PayloadBytes;
            (source, destination) = (v6.Source, v6.Destination);
        }
        else
        {
            return;
        }

        if (!TcpSegment.TryParse(transport, out TcpSegment segment, out _)
            || (!isOut && !TcpSegment.Check(source, destination, transport[..Math.Min(transport.Length, payloadBytes)])))
        {
            return;
        }

        payloadBytes -= segment.SizeBytes;
        DataPacketsSent += isOut && payloadBytes > 0 ? 1 : 0;
        (ushort, ushort) key = isOut ? (segment.SourcePort, segment.DestinationPort) : (segment.DestinationPort, segment.SourcePort);
        if ((segment.Flags & TcpFlags.Rst) != 0)
        {
            return;
        }

        if (!flows.TryGetValue(key, out Flow? flow))
        {
            flows.Add(key, flow = new Flow());
        }

        bool isSyn = (segment.Flags & TcpFlags.Syn) != 0;
        uint end = segment.Sequence + (uint)payloadBytes + ((segment.Flags & TcpFlags.Fin) != 0 ? 1u : 0) + (isSyn ? 1u : 0);
        if (isSyn && isOut)
        {
            flow.ScaleOut = segment.Options.WindowScale;
        }
        else if (isSyn && !flow.KnowsSeen)
        {
            flow.ScaleIn = segment.Options.HasWindowScale ? segment.Options.WindowScale : (byte)0;
        }

        bool hasAck = (segment.Flags & TcpFlags.Ack) != 0;
        uint edge = segment.Acknowledgment + ((uint)segment.Window << (isSyn ? 0 : isOut ? flow.ScaleOut : flow.ScaleIn));
        if (isOut)
        {
            string line = PacketPrinter.Describe(segment, payloadBytes);
            Assert.True(!hasAck || !flow.KnowsSeen || SequenceNumber.IsAtOrBefore(segment.Acknowledgment, flow.Seen), $"acknowledges what has not come: {line}");
            Assert.True(
                payloadBytes == 0 || !flow.KnowsEdgeIn || SequenceNumber.IsAtOrBefore(segment.Sequence + (uint)payloadBytes, flow.EdgeIn),
                $"sent beyond the window {flow.EdgeIn}: {line}");
            if (hasAck && !isSyn && !flow.PeerFinished)
            {
                Assert.True(!flow.KnowsEdgeOut || SequenceNumber.IsAtOrAfter(edge, flow.EdgeOut), $"the window shrank from {flow.EdgeOut} to {edge}: {line}");
                flow.EdgeOut = edge;
                flow.KnowsEdgeOut = true;
            }
        }
        else
        {
            flow.Seen = flow.KnowsSeen ? SequenceNumber.Later(flow.Seen, end) : end;
            flow.KnowsSeen = true;
            flow.PeerFinished |= (segment.Flags & TcpFlags.Fin) != 0;
            if (hasAck)
            {
                flow.EdgeIn = flow.KnowsEdgeIn ? SequenceNumber.Later(flow.EdgeIn, edge) : edge;
                flow.KnowsEdgeIn = true;
            }
        }
    }
}
