// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Link;

/// <summary>
/// The device as the floors above see it: packets are built from a header written here and payload where it lies, collected, and handed over
/// together. One thread.
/// </summary>
internal sealed class LinkInterface : IDisposable
{
    private readonly NetworkStack stack;
    private readonly NetworkDevice device;
    private readonly HeaderFrames headers;
    private readonly TransmitBatch departing = new(64, 1024);
    private readonly Ablations without;
    private readonly INeighborResolver? resolver;
    private NetworkDeviceFeatures features;

    public LinkInterface(NetworkStack stack, NetworkDevice device, RouteTable routes, INeighborResolver? resolver, Ablations without)
    {
        this.resolver = resolver;
        this.stack = stack;
        this.device = device;
        this.without = without;
        Routes = routes;
        features = Features();
        headers = new HeaderFrames(device.Frames);
        Neighbors = resolver is null
            ? new NeighborTable(address => NeighborDiscovery.Ask(this, address), SendWaiting, NeighborTable.OnTheLink)
            : new NeighborTable(AskResolver, SendWaiting, NeighborTable.InMemory);
    }

    public FramePool Frames => device.Frames;

    public RouteTable Routes { get; }

    public NeighborTable Neighbors { get; }

    /// <summary>The stack answers for its addresses on the link; otherwise somebody else does, and it has just its ports.</summary>
    public bool IsHost => resolver is null;

    public MacAddress Hardware => features.Address;

    public int MtuBytes => features.MtuBytes;

    public bool ComputesChecksums => features.TransmitChecksum;

    /// <summary>Pieces of payload in one packet.</summary>
    public int PayloadSlicesMax => features.TransmitSlicesMax - 1;

    /// <summary>The device has refused a packet in this poll: nothing more goes until the next.</summary>
    public bool IsFull { get; private set; }

    /// <summary>Packets that the device has not accepted.</summary>
    public int WaitingPackets => departing.Count;

    public long NowUs => stack.NowUs;

    public long PacketsSent { get; private set; }

    /// <summary>Bytes of the largest super-packet of one family; 0 = none.</summary>
    public int SuperPacketBytesMax(bool v4) => features.PacketBytesMax(v4 ? SegmentationKind.Tcp4 : SegmentationKind.Tcp6);

    /// <summary>A poll begins.</summary>
    public void Begin()
    {
        features = Features();
        IsFull = departing.Count > 0;
    }

    /// <summary>Takes in what has become of neighbours that somebody else watches.</summary>
    public void ReadNeighborChanges()
    {
        if (resolver?.ReadChanges(TakeChange) == false)
        {
            Neighbors.ForgetAll();
        }
    }

    /// <summary>Hands over what has been collected.</summary>
    public void Flush()
    {
        if (departing.Count > 0)
        {
            try
            {
                PacketsSent += device.Transmit(departing);
            }
            catch (NetworkDeviceException) when (stack.IsDisposed)
            {
                departing.Clear();   // the device went before the stack: resets reach nobody, and frames have to come back all the same
            }
        }

        IsFull = departing.Count > 0;
        if (!IsFull)
        {
            stack.Tcp.Releases.Flush();
        }
    }

    /// <summary>Sends one TCP segment or super-packet. False when the device is full.</summary>
    public bool TrySendTcp(
        ref MacHop hop, in ConnectionKey key, in TcpSegment segment, ReadOnlySpan<PacketSlice> payload, int payloadBytes, ushort payloadSum, int segmentBytes, byte trafficClass = 0)
    {
        bool v4 = key.Remote.IsV4;
        int ipBytes = v4 ? Ipv4Packet.SizeBytes : Ipv6Packet.SizeBytes;
        int tcpBytes = segment.SizeBytes;
        int headerBytes = EthernetFrame.SizeBytes + ipBytes + tcpBytes;
        bool isKnown = hop.Version == Neighbors.Version;
        InternetAddress next = default;
        if (!isKnown)
        {
            if (!Routes.TryNextHop(key.Remote, out next))
            {
                return true;   // no way: as good as lost
            }

            isKnown = Neighbors.TryFind(next, NowUs, out hop.Hardware);
            hop.Version = isKnown ? Neighbors.Version : 0;
        }

        if (!TryTakeHeader(headerBytes, payload.Length, out PacketSlice header))
        {
            return false;
        }

        Span<byte> bytes = header.Bytes(Frames);
        new EthernetFrame(hop.Hardware, Hardware, v4 ? EtherType.Ipv4 : EtherType.Ipv6).Emit(bytes);
        Span<byte> ip = bytes[EthernetFrame.SizeBytes..];
        if (v4)
        {
            new Ipv4Packet(key.Local, key.Remote, IpProtocol.Tcp, tcpBytes + payloadBytes, TrafficClass: trafficClass).Emit(ip);
        }
        else
        {
            new Ipv6Packet(key.Local, key.Remote, IpProtocol.Tcp, tcpBytes + payloadBytes, TrafficClass: trafficClass).Emit(ip);
        }

        Span<byte> tcp = ip[ipBytes..];
        segment.Emit(tcp);
        PacketOffload offload = default;
        if (ComputesChecksums && isKnown)
        {
            int start = EthernetFrame.SizeBytes + ipBytes;
            BinaryPrimitives.WriteUInt16BigEndian(
                tcp[TcpSegment.ChecksumOffset..], PseudoHeader.Partial(key.Local, key.Remote, IpProtocol.Tcp, tcpBytes + payloadBytes));
            offload = segmentBytes == 0
                ? new PacketOffload((ushort)start, TcpSegment.ChecksumOffset)
                : new PacketOffload(
                    (ushort)start, TcpSegment.ChecksumOffset, v4 ? SegmentationKind.Tcp4 : SegmentationKind.Tcp6, (ushort)segmentBytes, (ushort)headerBytes);
        }
        else
        {
            ushort sum = isKnown || payloadBytes == 0 ? payloadSum : SumOf(payload);
            TcpSegment.Seal(key.Local, key.Remote, tcp, payloadBytes, sum);
        }

        if (!isKnown)
        {
            if (segmentBytes == 0)
            {
                Keep(next, bytes, payload, payloadBytes);
            }

            return true;   // a super-packet cannot wait: it is sent again
        }

        Add(header, payload, offload);
        return true;
    }

    /// <summary>What goes to a destination is not answered: the next hop may have another hardware address by now.</summary>
    public void Doubt(InternetAddress destination)
    {
        if (Routes.TryNextHop(destination, out InternetAddress next))
        {
            Neighbors.Doubt(next, NowUs);
        }
    }

    /// <summary>
    /// Sends a packet of which only the part behind the Ethernet header is given, to a neighbour or by way of a gateway. Packets for which there is
    /// no room are lost.
    /// </summary>
    public void SendIp(InternetAddress destination, ReadOnlySpan<byte> packet)
    {
        if (destination.IsMulticast)
        {
            SendTo(destination.GroupHardware, destination.IsV4 ? EtherType.Ipv4 : EtherType.Ipv6, packet);
            return;
        }

        if (!Routes.TryNextHop(destination, out InternetAddress next))
        {
            return;
        }

        if (Neighbors.TryFind(next, NowUs, out MacAddress hardware))
        {
            SendTo(hardware, destination.IsV4 ? EtherType.Ipv4 : EtherType.Ipv6, packet);
            return;
        }

        byte[] frame = new byte[EthernetFrame.SizeBytes + packet.Length];
        new EthernetFrame(default, Hardware, destination.IsV4 ? EtherType.Ipv4 : EtherType.Ipv6).Emit(frame);
        packet.CopyTo(frame.AsSpan(EthernetFrame.SizeBytes));
        Neighbors.Keep(next, frame);
    }

    /// <summary>Sends a small packet to a hardware address.</summary>
    public void SendTo(MacAddress hardware, EtherType type, ReadOnlySpan<byte> packet)
    {
        int lengthBytes = EthernetFrame.SizeBytes + packet.Length;
        if (packet.Length > MtuBytes || lengthBytes > FramePool.FrameBytes || !TryTakeHeader(lengthBytes, 0, out PacketSlice header))
        {
            return;
        }

        Span<byte> bytes = header.Bytes(Frames);
        new EthernetFrame(hardware, Hardware, type).Emit(bytes);
        packet.CopyTo(bytes[EthernetFrame.SizeBytes..]);
        Add(header, default, default);
    }

    public void Dispose() => headers.Dispose();

    private bool TryTakeHeader(int headerBytes, int payloadSlices, out PacketSlice header)
    {
        header = default;
        if (!IsFull && (departing.Count == 64 || departing.Slices.Length + payloadSlices > 1024))
        {
            Flush();
        }

        if (IsFull)
        {
            return false;
        }

        if (!headers.TryTake(headerBytes, out header))
        {
            IsFull = true;
            return false;
        }

        return true;
    }

    private void Add(PacketSlice header, ReadOnlySpan<PacketSlice> payload, PacketOffload offload)
    {
        bool added = departing.TryAdd(header, payload, offload);
        Invariant.Check(added);
        stack.Tcp.Releases.IsHeld = true;
        if ((without & Ablations.Batching) != 0)
        {
            Flush();
        }
    }

    private NetworkDeviceFeatures Features() => (without & Ablations.Offload) == 0
        ? device.Features
        : device.Features with { TransmitChecksum = false, SegmentationV4 = false, SegmentationV6 = false, SuperPacketBytesMax = 0 };

    /// <summary>The partial sum of payload, read.</summary>
    public ushort SumOf(ReadOnlySpan<PacketSlice> payload)
    {
        ushort sum = 0;
        int summed = 0;
        foreach (PacketSlice slice in payload)
        {
            sum = InternetChecksum.Combine(sum, summed, InternetChecksum.Partial(slice.Bytes(Frames)));
            summed += slice.LengthBytes;
        }

        return sum;
    }

    private void Keep(InternetAddress next, ReadOnlySpan<byte> header, ReadOnlySpan<PacketSlice> payload, int payloadBytes)
    {
        byte[] frame = new byte[header.Length + payloadBytes];
        stack.Tcp.Counters.BytesCopied += 2L * payloadBytes;   // and into a frame again when the neighbour answers
        header.CopyTo(frame);
        int at = header.Length;
        foreach (PacketSlice slice in payload)
        {
            slice.Bytes(Frames).CopyTo(frame.AsSpan(at));
            at += slice.LengthBytes;
        }

        Neighbors.Keep(next, frame);
    }

    private void AskResolver(InternetAddress address)
    {
        if (resolver!.TryFind(address.ToIPAddress(), out MacAddress hardware))
        {
            Neighbors.Learn(address, hardware, mayAdd: false, NowUs);
        }
    }

    private void TakeChange(System.Net.IPAddress neighbor, MacAddress? hardware)
    {
        InternetAddress address = InternetAddress.From(neighbor);
        if (hardware is { } known)
        {
            Neighbors.Learn(address, known, mayAdd: false, NowUs);
        }
        else
        {
            Neighbors.Forget(address);
        }
    }

    private void SendWaiting(byte[] frame, MacAddress hardware)
    {
        EtherType type = (EtherType)BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(12));
        SendTo(hardware, type, frame.AsSpan(EthernetFrame.SizeBytes));
    }
}
