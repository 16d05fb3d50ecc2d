// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Net;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tests.Kernel;

/// <summary>A device whose wire marks every so many packets that may be marked, out and in, super-packets as one (RFC 3168 section 5), and watches what TCP says of marks.</summary>
internal sealed class MarkingDevice(NetworkDevice inner, int everyPackets) : NetworkDevice(inner.Name, inner.Frames)
{
    private int outward, inward;

    /// <summary>Packets marked, on their way out and in.</summary>
    public int MarkedOut { get; private set; }

    public int MarkedIn { get; private set; }

    /// <summary>Packets with CWR that were no SYNs.</summary>
    public int ReducedOut { get; private set; }

    public int ReducedIn { get; private set; }

    /// <summary>Super-packets that said so.</summary>
    public int ReducedSuperIn { get; private set; }

    /// <summary>What must not be marked: without payload, or sent again. By the sequence numbers of one connection.</summary>
    public int WronglyCapableOut { get; private set; }

    public override NetworkDeviceFeatures Features => inner.Features;

    public override NetworkDeviceCounters Counters => inner.Counters;

    public override NetworkEvents Wait(NetworkEvents wanted, TimeSpan timeout) => inner.Wait(wanted, timeout);

    public override void Wake() => inner.Wake();

    public override void Refresh() => inner.Refresh();

    protected override int TransmitChecked(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices)
    {
        foreach (ref readonly TransmitPacket packet in packets)
        {
            Span<byte> header = packet.Header.Bytes(Frames);
            if (TryTcp(header, out int tcp, out int shift))
            {
                bool isReduced = (header[tcp + 13] & 0x82) == 0x80;
                ReducedOut += isReduced ? 1 : 0;
                Assert.False(isReduced && packet.Offload.IsSuperPacket);
                WronglyCapableOut += packet.SliceCount == 0 && (header[15] >> shift & 3) != 0 ? 1 : 0;
                MarkedOut += TryMark(header, shift, ref outward) ? 1 : 0;
            }
        }

        return inner.Transmit(packets, slices);
    }

    protected override int ReceiveInto(ReceiveBatch batch)
    {
        int count = inner.Receive(batch);
        for (int i = 0; i < count; i++)
        {
            Span<byte> head = batch.Head(i);
            if (TryTcp(head, out int tcp, out int shift))
            {
                bool isReduced = (head[tcp + 13] & 0x82) == 0x80;
                ReducedIn += isReduced ? 1 : 0;
                ReducedSuperIn += isReduced && batch.Packets[i].Offload.IsSuperPacket ? 1 : 0;
                MarkedIn += TryMark(head, shift, ref inward) ? 1 : 0;
            }
        }

        return count;
    }

    protected override void Dispose(bool disposing)
    {
    }

    private static bool TryTcp(Span<byte> packet, out int tcp, out int shift)
    {
        bool isV6 = packet.Length > 54 && BinaryPrimitives.ReadUInt16BigEndian(packet[12..]) == (ushort)EtherType.Ipv6 && packet[20] == (byte)IpProtocol.Tcp;
        bool isV4 = packet.Length > 34 && BinaryPrimitives.ReadUInt16BigEndian(packet[12..]) == (ushort)EtherType.Ipv4 && packet[23] == (byte)IpProtocol.Tcp;
        tcp = isV6 ? 54 : 34;
        shift = isV6 ? 4 : 0;
        return (isV4 || isV6) && packet.Length >= tcp + TcpSegment.FixedBytes;
    }

    private bool TryMark(Span<byte> packet, int shift, ref int count)
    {
        if ((packet[15] >> shift & 3) == 0 || ++count % everyPackets != 0)
        {
            return false;
        }

        packet[15] |= (byte)(3 << shift);
        if (shift == 0)
        {
            packet[24] = packet[25] = 0;
            BinaryPrimitives.WriteUInt16BigEndian(packet[24..], InternetChecksum.Finish(InternetChecksum.Partial(packet[14..34])));
        }

        return true;
    }
}
