// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Globalization;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Link;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tests.Tcp;
using Exo.Net.Cheetah.Wire;
using Exo.Simulation.Timing;

namespace Exo.Net.Cheetah.Tests.Network;

/// <summary>
/// Packets that are almost right, of every kind the stack looks at, into its input: options and extension headers, ICMP of both versions with packets quoted, ARP and neighbour discovery,
/// whole or in fragments that overlap, come twice and out of order, then with wrong bytes. Nothing throws, everything that is kept stays within bounds, and the connection that was there
/// goes on. EXO_PACKET_SEED and EXO_PACKET_COUNT choose and lengthen it.
/// </summary>
public sealed class HostilePacketTests : IDisposable
{
    private static readonly MacAddress OwnHardware = new(0x02_00_00_00_00_01), PeerHardware = new(0x02_00_00_00_00_02);

    private readonly FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly VirtualTime time = new();
    private readonly ScriptedDevice device;
    private readonly NetworkStack stack;
    private readonly Pattern service = new(0, closesWhenSent: false, closesWithPeer: false) { Checks = false };
    private Random random = new(0);
    private bool isV6;
    private uint ownNext, peerNext = 1;

    public HostilePacketTests()
    {
        device = new ScriptedDevice(frames) { Checksum = ChecksumState.Unknown };   // or a wrong byte could make a reset
        stack = new NetworkStack(device, new NetworkStackOptions
        {
            Addresses = [InterfaceAddress.Parse("10.0.0.1/24"), InterfaceAddress.Parse("fd00::1/64")], Time = time, Seed = 9, HalfOpenMax = 100, ReceiveMemoryBytesMax = 1 << 20,
        });
        stack.Poll();
        stack.Listen(80, service);
    }

    private InternetAddress Own => InternetAddress.Parse(isV6 ? "fd00::1" : "10.0.0.1");

    private InternetAddress Peer => InternetAddress.Parse(isV6 ? "fd00::2" : "10.0.0.2");

    public void Dispose()
    {
        stack.Dispose();
        frames.Dispose();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Nothing_throws_and_all_that_is_kept_is_bounded(bool v6)
    {
        int seed = int.Parse(Environment.GetEnvironmentVariable("EXO_PACKET_SEED") ?? "1", CultureInfo.InvariantCulture);
        int count = int.Parse(Environment.GetEnvironmentVariable("EXO_PACKET_COUNT") ?? "20000", CultureInfo.InvariantCulture);
        isV6 = v6;
        Establish();
        int taken = 0;
        for (int i = 0; i < count; i++)
        {
            random = new Random(seed + i);
            try
            {
                foreach (byte[] frame in Frames(Packet()))
                {
                    device.Arrive(frame);
                    taken++;
                }

                time.Advance(TimeSpan.FromMilliseconds(random.Next(20)));
                stack.Poll();
            }
            catch (Exception e) when (e is not Xunit.Sdk.IAssertionException)
            {
                Assert.Fail($"EXO_PACKET_SEED={seed}, packet {i}: {e}");
            }

            int answers = device.Sent.Count + device.Others.Count;
            Assert.True(answers <= 80, $"EXO_PACKET_SEED={seed}, packet {i}: {answers} answers");
            device.Sent.Clear();
            device.Others.Clear();
            Assert.InRange(stack.Input.Reassembly.Count, 0, Reassembly.PacketsMax);
            Assert.InRange(stack.Link.Neighbors.Count, 0, NeighborTable.EntriesMax);
            Assert.InRange(stack.ConnectionCount, 1, 101 + 64);
            if (i % 500 == 499)
            {
                StillWorks($"EXO_PACKET_SEED={seed}, packet {i}");
            }
        }

        Assert.InRange(stack.Tcp.Counters.SegmentsReceived, count / 100, taken);   // enough of them are right in every respect
    }

    // A neighbour may be told to be elsewhere by whoever is on the link; so the peer speaks first, as it would.
    private void StillWorks(string where)
    {
        Discover();
        long before = service.Received;
        device.Arrive(Whole(IpProtocol.Tcp, Sealed([.. Segment(4000, TcpFlags.Ack, peerNext, ownNext), 7]), []));
        stack.Poll();
        Assert.True(service.Received == before + 1, where);
        peerNext++;
    }

    private void Establish()
    {
        Discover();
        device.Arrive(Whole(IpProtocol.Tcp, Sealed(Segment(4000, TcpFlags.Syn, 0, 0)), []));
        stack.Poll();
        ownNext = device.Sent.Dequeue().Segment.Sequence + 1;
        device.Arrive(Whole(IpProtocol.Tcp, Sealed(Segment(4000, TcpFlags.Ack, 1, ownNext)), []));
        stack.Poll();
        Assert.Equal(TcpState.Established, service.Connection!.State);
    }

    private void Discover() => stack.Link.Neighbors.Learn(Peer, PeerHardware, mayAdd: true, stack.NowUs);

    // What lies behind the IP header, its kind, and extension headers or options in front of it.
    private (IpProtocol Protocol, byte[] Payload, byte[] Extra)? Packet() => random.Next(10) switch
    {
        0 => null,
        1 or 2 => (IpProtocol.Tcp, AnySegment(), AnyExtra()),
        3 => (IpProtocol.Udp, Datagram(), AnyExtra()),
        4 => (isV6 ? IpProtocol.Icmpv6 : IpProtocol.Icmpv4, Icmp(isV6 ? IcmpMessage.EchoV6 : IcmpMessage.EchoV4, 0, (uint)random.Next(), Bytes(random.Next(1600))), AnyExtra()),
        5 => (IpProtocol.Icmpv6, Icmp((byte)random.Next(133, 138), (byte)(random.Next(8) == 0 ? 1 : 0), (uint)random.Next(), Discovery()), random.Next(4) == 0 ? AnyExtra() : []),
        6 => ((IpProtocol)random.Next(256), Bytes(random.Next(200)), AnyExtra()),
        _ => (isV6 ? IpProtocol.Icmpv6 : IpProtocol.Icmpv4, Error(), AnyExtra()),
    };

    private IEnumerable<byte[]> Frames((IpProtocol Protocol, byte[] Payload, byte[] Extra)? packet)
    {
        if (packet is not { } one)
        {
            yield return Spoilt(Arp());
            yield break;
        }

        if (random.Next(3) > 0 || one.Payload.Length < 16)
        {
            yield return Spoilt(Whole(one.Protocol, one.Payload, one.Extra));
            yield break;
        }

        // Pieces of 8 bytes and more; now and then one overlaps, goes beyond the end, comes twice, early, or never.
        uint identification = (uint)random.Next(40);
        List<byte[]> pieces = [];
        int pieceBytes = 8 * random.Next(1, Math.Max(2, one.Payload.Length / 16));
        pieceBytes = Math.Max(pieceBytes, (one.Payload.Length / 60 / 8 * 8) + 8);
        for (int at = 0; at < one.Payload.Length; at += pieceBytes)
        {
            int start = Math.Max(0, at - (random.Next(12) == 0 ? 8 : 0)), length = Math.Min(pieceBytes, one.Payload.Length - start);
            bool more = start + length < one.Payload.Length && random.Next(40) > 0;
            byte[] piece = Fragment(one.Protocol, one.Payload.AsSpan(start, length), random.Next(40) == 0 ? 65_528 : start, more, identification);
            if (random.Next(20) > 0)
            {
                pieces.Add(piece);
            }

            if (random.Next(12) == 0)
            {
                pieces.Add(piece);
            }
        }

        byte[][] ordered = [.. pieces];
        if (random.Next(2) == 0)
        {
            random.Shuffle(ordered);
        }

        foreach (byte[] piece in ordered)
        {
            yield return random.Next(8) == 0 ? Spoilt(piece) : piece;
        }
    }

    private byte[] Spoilt(byte[] frame)
    {
        for (int edits = random.Next(3) == 0 ? random.Next(1, 5) : 0; edits > 0; edits--)
        {
            frame[random.Next(12, frame.Length)] = (byte)random.Next(256);
        }

        return random.Next(10) == 0 ? frame[..random.Next(1, frame.Length + 1)] : frame;
    }

    private byte[] Whole(IpProtocol protocol, ReadOnlySpan<byte> payload, ReadOnlySpan<byte> extra)
    {
        int ipBytes = isV6 ? Ipv6Packet.SizeBytes : Ipv4Packet.SizeBytes;
        byte[] frame = new byte[EthernetFrame.SizeBytes + ipBytes + extra.Length + payload.Length];
        new EthernetFrame(OwnHardware, PeerHardware, isV6 ? EtherType.Ipv6 : EtherType.Ipv4).Emit(frame);
        Span<byte> ip = frame.AsSpan(EthernetFrame.SizeBytes);
        if (isV6)
        {
            // Extension headers end in the protocol; the first says what follows it in its own first byte.
            byte hops = random.Next(4) > 0 ? (byte)255 : (byte)64;
            InternetAddress to = protocol == IpProtocol.Icmpv6 && random.Next(4) == 0 ? Own.SolicitedNode : Own;
            new Ipv6Packet(Peer, to, extra.IsEmpty ? protocol : (IpProtocol)extra[0], extra.Length + payload.Length, hops).Emit(ip);
            extra.CopyTo(ip[ipBytes..]);
            if (!extra.IsEmpty)
            {
                Chain(ip[ipBytes..(ipBytes + extra.Length)], protocol);
            }
        }
        else
        {
            new Ipv4Packet(Peer, Own, protocol, extra.Length + payload.Length).Emit(ip);
            extra.CopyTo(ip[ipBytes..]);
            ip[0] = (byte)(0x45 + (extra.Length / 4));
            ip[10] = ip[11] = 0;
            BinaryPrimitives.WriteUInt16BigEndian(ip[10..], InternetChecksum.Finish(InternetChecksum.Partial(ip[..(ipBytes + extra.Length)])));
        }

        payload.CopyTo(ip[(ipBytes + extra.Length)..]);
        return frame;
    }

    // The first byte of each header names the next: as generated it names itself.
    private static void Chain(Span<byte> headers, IpProtocol last)
    {
        while (!headers.IsEmpty)
        {
            int bytes = Math.Min((headers[0] == 44 ? 1 : headers[1] + 1) * 8, headers.Length);
            headers[0] = bytes < headers.Length ? headers[bytes] : (byte)last;
            headers = headers[bytes..];
        }
    }

    private byte[] Fragment(IpProtocol protocol, ReadOnlySpan<byte> piece, int offset, bool more, uint identification)
    {
        if (isV6)
        {
            Span<byte> header = stackalloc byte[8];
            header[0] = 44;
            BinaryPrimitives.WriteUInt16BigEndian(header[2..], (ushort)((offset & 0xFFF8) | (more ? 1 : 0)));
            BinaryPrimitives.WriteUInt32BigEndian(header[4..], identification);
            return Whole(protocol, piece, header);
        }

        byte[] frame = new byte[EthernetFrame.SizeBytes + Ipv4Packet.SizeBytes + piece.Length];
        new EthernetFrame(OwnHardware, PeerHardware, EtherType.Ipv4).Emit(frame);
        new Ipv4Packet(Peer, Own, protocol, piece.Length, DontFragment: false, MoreFragments: more, FragmentOffsetBytes: offset, Identification: (ushort)identification)
            .Emit(frame.AsSpan(EthernetFrame.SizeBytes));
        piece.CopyTo(frame.AsSpan(EthernetFrame.SizeBytes + Ipv4Packet.SizeBytes));
        return frame;
    }

    private byte[] AnyExtra()
    {
        if (random.Next(3) == 0)
        {
            return [];
        }

        if (!isV6)
        {
            byte[] options = Bytes(4 * random.Next(11));
            if (options.Length > 1 && random.Next(2) == 0)
            {
                (options[0], options[1]) = ((byte)random.Next(2, 200), (byte)options.Length);
            }

            return options;
        }

        List<byte> chain = [];
        for (int count = random.Next(1, 11); count > 0; count--)
        {
            byte kind = (byte)(random.Next(8) switch { 0 => 43, 1 => 44, 2 => 51, 3 when chain.Count == 0 => 0, _ => 60 });
            byte[] header = new byte[kind == 44 ? 8 : 8 * random.Next(1, 4)];
            (header[0], header[1]) = (kind, (byte)((header.Length / 8) - 1));
            if (kind is 0 or 60)
            {
                // Padding, or any option at all.
                header[2] = random.Next(6) == 0 ? (byte)random.Next(256) : (byte)1;
                header[3] = random.Next(8) == 0 ? (byte)random.Next(256) : (byte)(header.Length - 4);
            }
            else if (kind != 44 && random.Next(4) == 0)
            {
                header[3] = (byte)random.Next(3);
            }

            chain.AddRange(header);
        }

        return [.. chain];
    }

    private static byte[] Segment(ushort port, TcpFlags flags, uint sequence, uint acknowledgment)
    {
        byte[] bytes = new byte[TcpSegment.FixedBytes];
        new TcpSegment(port, 80, sequence, acknowledgment, flags, 65535, default).Emit(bytes);
        return bytes;
    }

    // Never a reset, nor a FIN, of the connection that has to go on.
    private byte[] AnySegment()
    {
        ushort port = (ushort)(4000 + random.Next(4));
        var flags = (TcpFlags)random.Next(256);
        flags &= port == 4000 ? ~(TcpFlags.Rst | TcpFlags.Fin | TcpFlags.Ack) : TcpFlags.Syn | TcpFlags.Ack | TcpFlags.Psh | TcpFlags.Fin;
        byte[] options = random.Next(2) == 0 ? [] : Bytes(4 * random.Next(11)), payload = Bytes(random.Next(300));
        byte[] bytes = [.. Segment(port, flags, peerNext + (uint)random.Next(100), ownNext - 1 + (uint)random.Next(3)), .. options, .. payload];
        bytes[12] = (byte)((TcpSegment.FixedBytes + options.Length) / 4 << 4);
        return Sealed(bytes);
    }

    private byte[] Sealed(byte[] segment)
    {
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(16), 0);
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(16), PseudoHeader.Checksum(Peer, Own, IpProtocol.Tcp, segment));
        return segment;
    }

    private byte[] Datagram()
    {
        byte[] bytes = Bytes(UdpDatagram.SizeBytes + random.Next(600));
        new UdpDatagram((ushort)random.Next(65536), (ushort)random.Next(65536), bytes.Length - UdpDatagram.SizeBytes).Emit(Peer, Own, bytes);
        return bytes;
    }

    private byte[] Icmp(byte type, byte code, uint parameter, ReadOnlySpan<byte> body)
    {
        byte[] bytes = [.. new byte[IcmpMessage.SizeBytes], .. body];
        if (isV6)
        {
            new IcmpMessage(type, code, parameter).EmitV6(Peer, Own, bytes);
        }
        else
        {
            new IcmpMessage(type, code, parameter).EmitV4(bytes);
        }

        return bytes;
    }

    // An error that quotes a packet of ours, or nearly: with options or extension headers, cut anywhere, of the connection or of none.
    private byte[] Error()
    {
        byte[] quoted = Whole(random.Next(8) == 0 ? IpProtocol.Udp : IpProtocol.Tcp, Bytes(random.Next(8, 60)), AnyExtra())[EthernetFrame.SizeBytes..];
        int ipBytes = isV6 ? Ipv6Packet.SizeBytes : Ipv4Packet.SizeBytes;
        Span<byte> addresses = quoted.AsSpan(isV6 ? 8 : 12);
        int bytes = Own.Emit(addresses);
        Peer.Emit(addresses[bytes..]);
        int tcp = random.Next(2) == 0 ? quoted.Length - Math.Min(quoted.Length - ipBytes, 60) : ipBytes;
        BinaryPrimitives.WriteUInt16BigEndian(quoted.AsSpan(tcp), 80);
        BinaryPrimitives.WriteUInt16BigEndian(quoted.AsSpan(tcp + 2), (ushort)(4000 + random.Next(3)));
        BinaryPrimitives.WriteUInt32BigEndian(quoted.AsSpan(tcp + 4), ownNext - 2 + (uint)random.Next(4));
        if (!isV6)
        {
            quoted[10] = quoted[11] = 0;
            int headBytes = Math.Min((quoted[0] & 15) * 4, quoted.Length);
            BinaryPrimitives.WriteUInt16BigEndian(quoted.AsSpan(10), InternetChecksum.Finish(InternetChecksum.Partial(quoted.AsSpan(0, headBytes))));
        }

        byte type = isV6 ? (byte)random.Next(1, 5) : (byte)(random.Next(3) switch { 0 => 11, 1 => random.Next(20), _ => 3 });
        return Icmp(type, (byte)random.Next(7), (uint)random.Next(random.Next(2) == 0 ? 2000 : int.MaxValue), quoted.AsSpan(0, random.Next(2) == 0 ? quoted.Length : random.Next(quoted.Length + 1)));
    }

    private byte[] Discovery()
    {
        byte[] body = new byte[24 + (8 * random.Next(3))];
        InternetAddress target = random.Next(3) switch { 0 => Own, 1 => Peer, _ => new InternetAddress(0xFD00_0000_0000_0000, (ulong)random.Next(5000)) };
        new NeighborMessage(target.IsV4 ? default : target, random.Next(8) == 0 ? new MacAddress((ulong)random.NextInt64(1L << 48)) : PeerHardware).Emit(body, random.Next(2) == 0);
        for (int at = 24; at < body.Length; at += 8)
        {
            (body[at], body[at + 1]) = ((byte)random.Next(6), (byte)random.Next(3));
        }

        return random.Next(6) == 0 ? body[..random.Next(body.Length)] : body;
    }

    private byte[] Arp()
    {
        byte[] frame = new byte[EthernetFrame.SizeBytes + ArpPacket.SizeBytes + random.Next(3)];
        InternetAddress Any() => random.Next(3) switch
        {
            0 => InternetAddress.FromV4(0x0A00_0001), 1 => InternetAddress.FromV4(0x0A00_0000 + (uint)random.Next(256)), _ => InternetAddress.FromV4((uint)random.NextInt64(1L << 32)),
        };
        new EthernetFrame(random.Next(2) == 0 ? OwnHardware : MacAddress.Broadcast, PeerHardware, EtherType.Arp).Emit(frame);
        new ArpPacket(random.Next(2) == 0, new MacAddress((ulong)random.NextInt64(1L << 48)), Any(), OwnHardware, Any()).Emit(frame.AsSpan(EthernetFrame.SizeBytes));
        return frame;
    }

    private byte[] Bytes(int count)
    {
        byte[] bytes = new byte[count];
        random.NextBytes(bytes);
        return bytes;
    }
}
