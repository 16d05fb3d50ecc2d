// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Net;
using CsCheck;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Core.PacketFilters;
using Exo.Tests;

namespace Exo.Core.Tests.Net;

/// <summary>What an environment sends through a shared interface says only what is so: whatever it hands over, and whatever it writes into its frames afterwards.</summary>
public sealed class SourceGuardTests : IDisposable
{
    private const ushort OwnPort = 80, OthersPort = 25, KernelsPort = 22;
    private const byte Tcp = ProtocolFilters.Tcp, Udp = ProtocolFilters.Udp;

    private static readonly MacAddress s_interface = new(0x0200_0000_0001), s_peer = new(0x0200_0000_0002);
    private static readonly byte[] s_ownV4 = [10, 0, 0, 1], s_peerV4 = [10, 0, 0, 2];
    private static readonly byte[] s_ownV6 = IPAddress.Parse("fd00::1").GetAddressBytes(), s_peerV6 = IPAddress.Parse("fd00::2").GetAddressBytes();
    private static readonly string[] s_kinds = ["tcp4", "tcp6", "udp4", "udp6", "echo4", "echo6", "unreachable4", "unreachable6", "ask6", "tell6", "ask4", "tell4"];

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
    private readonly ExoEnvironment _root, _web, _mail;
    private readonly WireDevice _wire;
    private readonly PacketFilterTree _filters;
    private readonly SharedInterface _shared;
    private readonly EnvironmentDevice _device;
    private readonly FrameNumber _frame;

    public SourceGuardTests()
    {
        _root = ExoEnvironment.CreateRoot(_frames.Authority);
        _web = _root.CreateChild([1]);
        _mail = _root.CreateChild([2]);
        _wire = new WireDevice(_frames, s_interface);
        _filters = new PacketFilterTree(_frames.Authority);
        _shared = Share(areKernels: false, out _device);
        Assert.True(_frames.TryAllocateRun(_frames.RootCredential, 2, out _frame));
    }

    public void Dispose()
    {
        _shared.Dispose();
        _frames.Release(_frame);
        _frames.Release(new FrameNumber(_frame.Value + 1));
        _root.Dispose();
        _wire.Dispose();
        Assert.Equal(_frames.FrameCount, _frames.FreeCount);
        _frames.Dispose();
    }

    [Fact]
    public void What_a_stack_needs_for_its_ports_passes()
    {
        foreach (string kind in s_kinds)
        {
            foreach (int options in (int[])[0, 4, 40])
            {
                byte[] packet = Packet(kind, options: options);
                Assert.Equal((kind, PacketRefusal.None), (kind, Send(packet)));
                Assert.Equal(packet, Assert.Single(_wire.Packets));
                _wire.Packets.Clear();
            }
        }

        Assert.Equal((0L, PacketRefusal.None), (_device.Counters.TransmitRefused, _device.LastRefusal));
        Assert.True(_device.Counters.TransmitCopiedBytes > 0);
    }

    [Fact]
    public void Where_the_kernel_answers_for_the_addresses_no_environment_does()
    {
        // A kernel's socket cannot be bound to addresses that it has not; what the guard is told is what counts here.
        PortSet own = new(), all = new();
        own.Set(PortSet.IndexOf(Tcp, OwnPort), true);
        own.Set(PortSet.IndexOf(Udp, OwnPort), true);
        SourceGuard guard = new(_wire, [new IPAddress(s_ownV4), new IPAddress(s_ownV6)], areKernels: true, own, all);
        foreach (string kind in s_kinds)
        {
            byte[] packet = Packet(kind);
            bool isPorts = kind.StartsWith("tcp", StringComparison.Ordinal) || kind.StartsWith('u');
            Assert.Equal((kind, isPorts ? PacketRefusal.None : PacketRefusal.Message), (kind, guard.Check(packet, packet.Length, default, out _)));
        }
    }

    [Fact]
    public void Every_lie_is_refused_for_its_reason()
    {
        foreach (string kind in s_kinds)
        {
            bool isV4 = kind.EndsWith('4');
            byte[] good = Packet(kind);
            void Refused(PacketRefusal reason, Action<byte[]> lie)
            {
                byte[] packet = [.. good];
                lie(packet);
                Assert.Equal((kind, reason), (kind, Send(packet)));
            }

            Refused(PacketRefusal.HardwareAddress, packet => packet[11] ^= 2);
            foreach (ushort type in (ushort[])[0x8100, 0x88A8, 0x8847, 0x8864, 0x88CC, 46, 0x0000, 0xFFFF])
            {
                Refused(PacketRefusal.Protocol, packet => BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(12), type));
            }

            if (kind is "ask4" or "tell4")
            {
                Refused(PacketRefusal.HardwareAddress, packet => packet[27] ^= 1);
                Refused(PacketRefusal.Address, packet => packet[31] ^= 3);
                Refused(PacketRefusal.Address, packet => packet.AsSpan(28, 4).Clear());
                Refused(PacketRefusal.Message, packet => packet[21] = 3);   // RARP and what came after
                Refused(PacketRefusal.Message, packet => packet[18] = 8);
                continue;
            }

            int transport = isV4 ? 34 : 54;
            Refused(PacketRefusal.Address, packet => packet[isV4 ? 29 : 37] ^= 3);
            Refused(PacketRefusal.Address, packet => packet.AsSpan(isV4 ? 26 : 22, isV4 ? 4 : 16).Clear());
            Refused(PacketRefusal.Malformed, packet => packet[14] ^= 0x20);
            foreach (byte protocol in (byte[])[0, 2, 4, 33, 41, 43, 47, 50, 51, 58, 59, 60, 89, 132, 135, 136, 139, 140, 255])
            {
                if (isV4 || protocol != 58)
                {
                    Refused(PacketRefusal.Protocol, packet => packet[isV4 ? 23 : 20] = protocol);
                }
            }

            if (isV4)
            {
                foreach (ushort field in (ushort[])[0x2000, 0x0001, 0x1FFF, 0x3FFF, 0x6000, 0x4001])
                {
                    Refused(PacketRefusal.Fragment, packet => BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(20), field));
                }
            }
            else
            {
                Refused(PacketRefusal.Fragment, packet => packet[20] = 44);
            }

            // Ports: another's, the kernel's, none, and the same number of the other protocol.
            if (kind[..3] is "tcp" or "udp")
            {
                foreach (ushort port in (ushort[])[OthersPort, KernelsPort, 0, OwnPort + 1, 0xFFFF])
                {
                    Refused(PacketRefusal.Port, packet => BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(transport), port));
                }
            }
            else if (kind.StartsWith('u'))
            {
                int quoted = transport + 8;
                Refused(PacketRefusal.Port, packet => packet[quoted + (isV4 ? 20 : 40) + 3] = (byte)OthersPort);
                Refused(PacketRefusal.Message, packet => packet[quoted + (isV4 ? 9 : 6)] = Tcp);
                Refused(PacketRefusal.Message, packet => packet[quoted + (isV4 ? 15 : 23)] ^= 1);   // it is told to another than who sent
                Refused(PacketRefusal.Message, packet => packet[quoted + (isV4 ? 19 : 39)] ^= 3);
                Refused(PacketRefusal.Message, packet => packet[transport + 1] = 1);
            }
            else if (kind is "ask6" or "tell6")
            {
                Refused(PacketRefusal.Message, packet => packet[21] = 64);
                Refused(PacketRefusal.Message, packet => packet[transport + 31] ^= 1);
                Refused(PacketRefusal.Message, packet => packet[transport + 24] ^= 3);
                if (kind == "tell6")
                {
                    Refused(PacketRefusal.Message, packet => packet[transport + 23] ^= 3);   // another's address
                    Refused(PacketRefusal.Message, packet => packet[transport + 4] |= 0x80); // a router
                }
            }

            if (kind[..3] is not ("tcp" or "udp"))
            {
                foreach (byte type in (byte[])[2, 4, 5, 8, 9, 128, 130, 133, 134, 137])
                {
                    Refused(PacketRefusal.Message, packet => packet[transport] = type);   // redirects, routers, groups, too big, questions
                }
            }
        }

        Assert.Empty(_wire.Packets);
        long refused = Enum.GetValues<PacketRefusal>().Sum(_device.RefusedFor);
        Assert.Equal(refused, _device.Counters.TransmitRefused);
        Assert.Equal(0, _device.RefusedFor(PacketRefusal.None));
        Assert.Equal(refused, _device.Counters.TransmittedPackets);
    }

    [Fact]
    public void A_packet_that_is_cut_short_is_refused()
    {
        foreach (string kind in s_kinds)
        {
            byte[] packet = Packet(kind, options: 8);
            for (int length = NetworkDevice.EthernetHeaderBytes; length < packet.Length; length++)
            {
                Assert.Equal((kind, length, PacketRefusal.Malformed), (kind, length, Send(packet[..length])));
            }

            // The same when the rest is there but not in the first piece: ports are read nowhere else.
            int transport = packet.Length - Behind(kind);
            for (int length = NetworkDevice.EthernetHeaderBytes; length < transport + 8; length++)
            {
                Assert.Equal((kind, length, PacketRefusal.Malformed), (kind, length, Send(packet, headerBytes: length)));
            }
        }

        Assert.Empty(_wire.Packets);
    }

    [Fact]
    public void What_the_device_is_to_do_must_not_change_who_sends()
    {
        foreach (string kind in (string[])["tcp4", "tcp6", "udp4", "udp6"])
        {
            bool isTcp = kind[0] == 't';
            byte[] packet = Packet(kind);
            ushort transport = (ushort)(kind.EndsWith('4') ? 34 : 54), field = (ushort)(isTcp ? 16 : 6);
            Assert.Equal(PacketRefusal.None, Send(packet, new PacketOffload(transport, field)));

            // A sum that is written over the port, or over an address.
            foreach (PacketOffload offload in (PacketOffload[])[new(transport, 0), new((ushort)(transport - 8), field), new(1, (ushort)(transport - 1)), new(14, 12), new((ushort)(transport + 2), (ushort)(field - 2))])
            {
                Assert.Equal((kind, PacketRefusal.Offload), (kind, Send(packet, offload)));
            }

            SegmentationKind segmentation = kind.EndsWith('4') ? SegmentationKind.Tcp4 : SegmentationKind.Tcp6, other = kind.EndsWith('4') ? SegmentationKind.Tcp6 : SegmentationKind.Tcp4;
            ushort headerBytes = (ushort)(transport + 20);
            Assert.Equal((kind, isTcp ? PacketRefusal.None : PacketRefusal.Offload), (kind, Send(Packet(kind, payloadBytes: 3000), new PacketOffload(transport, 16, segmentation, 1000, headerBytes), headerBytes)));
            if (isTcp)
            {
                Assert.Equal(PacketRefusal.Offload, Send(Packet(kind, payloadBytes: 3000), new PacketOffload((ushort)(transport + 20), 16, segmentation, 1000, (ushort)(headerBytes + 20)), headerBytes + 20));
                Assert.Equal(kind == "tcp4" ? null : PacketRefusal.Offload, Send(Packet(kind, payloadBytes: 3000), new PacketOffload(transport, 16, other, 1000, headerBytes), headerBytes));

                // The header that is repeated is longer than TCP says, or the packet than IP says.
                Assert.Equal(PacketRefusal.Offload, Send(Packet(kind, payloadBytes: 3000), new PacketOffload(transport, 16, segmentation, 1000, (ushort)(headerBytes + 4)), headerBytes + 4));
                Assert.Equal(PacketRefusal.Offload, Send([.. Packet(kind, payloadBytes: 3000), 0], new PacketOffload(transport, 16, segmentation, 1000, headerBytes), headerBytes));
            }
        }

        foreach (string kind in (string[])["echo4", "echo6", "tell6", "tell4"])
        {
            Assert.Equal((kind, PacketRefusal.Offload), (kind, Send(Packet(kind), new PacketOffload(14, 2))));
        }

        Assert.All(_wire.Packets, packet => Assert.True(IsTrue(packet)));
    }

    // An odd slice of all that may be wrong: bytes, length, pieces, and what the device is to do.
    private static readonly Gen<(int Kind, int Options, int Payload, (int At, byte Value)[] Changes, int Cut, int Pieces, (int Kind, int Start, int Field) Offload)> s_attack = Gen.Select(
        Gen.Int[0, s_kinds.Length - 1], Gen.Int[0, 10], Gen.OneOf<int>(0, 1, 100, 1400), Gen.Select(Gen.Int[0, 120], Gen.OneOf(Gen.Byte, Gen.OneOf<byte>(0, 1, 6, 8, 17, 25, 44, 80, 0x40, 0x45, 0x60))).Array[0, 3],
        Gen.OneOf(Gen.OneOf<int>(0), Gen.Int[0, 60]), Gen.OneOf(Gen.OneOf<int>(int.MaxValue), Gen.Int[14, 140]), Gen.Select(Gen.Int[0, 3], Gen.OneOf(Gen.OneOf<int>(34, 54), Gen.Int[0, 140]), Gen.OneOf(Gen.OneOf<int>(6, 16), Gen.Int[0, 60])));

    [Fact]
    public void Whatever_is_handed_over_the_wire_hears_only_what_is_so()
    {
        int passed = 0, refused = 0;
        s_attack.Sample(
            attack =>
            {
                byte[] packet = Packet(s_kinds[attack.Kind], options: 4 * attack.Options, payloadBytes: attack.Payload);
                foreach ((int at, byte value) in attack.Changes)
                {
                    packet[at % packet.Length] = value;
                }

                packet = packet[..^Math.Min(attack.Cut, packet.Length - 14)];
                int headerBytes = Math.Min(attack.Pieces, packet.Length);
                PacketOffload offload = attack.Offload.Kind switch
                {
                    0 or 1 => default,
                    2 => new PacketOffload((ushort)attack.Offload.Start, (ushort)attack.Offload.Field),
                    _ => new PacketOffload((ushort)attack.Offload.Start, (ushort)attack.Offload.Field, attack.Kind % 2 == 0 ? SegmentationKind.Tcp4 : SegmentationKind.Tcp6, 500, (ushort)headerBytes),
                };
                _wire.Packets.Clear();
                PacketRefusal? answer = Send(packet, offload, headerBytes);
                Assert.Equal(answer == PacketRefusal.None, _wire.Packets.Count > 0);
                Assert.All(_wire.Packets, sent => Assert.True(IsTrue(sent), Convert.ToHexString(sent)));
                passed += answer == PacketRefusal.None ? 1 : 0;
                refused += answer == PacketRefusal.None ? 0 : 1;
            },
            iter: 30_000, threads: 1);
        Assert.True(passed > 1000 && refused > 1000, $"{passed} passed, {refused} refused");
    }

    [Fact]
    public void A_header_that_is_rewritten_while_it_waits_leaves_as_it_was_looked_at()
    {
        byte[] packet = Packet("tcp4");
        Assert.Equal(1, Transmit(packet, default, packet.Length));
        Span<byte> bytes = _frames.Bytes(_frame);
        BinaryPrimitives.WriteUInt16BigEndian(bytes[34..], OthersPort);
        bytes[..14].Clear();
        Poll();
        Assert.Equal(packet, Assert.Single(_wire.Packets));

        // While it is looked at, too: a thread writes one port and the other in turn, and only the right one ever leaves.
        using CancellationTokenSource ending = new();
        Thread writer = new(() =>
        {
            for (int i = 0; !ending.IsCancellationRequested; i++)
            {
                _frames.Bytes(_frame)[35] = (byte)(i % 2 == 0 ? OthersPort : OwnPort);
            }
        });
        packet.CopyTo(_frames.Bytes(_frame));
        writer.Start();
        PacketSlice slice = new(_frame, 0, packet.Length);
        for (int i = 0; i < 20_000; i++)
        {
            Assert.Equal(1, _device.Transmit([new TransmitPacket(slice)], []));
            if (i % 64 == 0)
            {
                Poll();
            }
        }

        ending.Cancel();
        writer.Join();
        Poll();
        Assert.All(_wire.Packets, sent => Assert.Equal(OwnPort, BinaryPrimitives.ReadUInt16BigEndian(sent.AsSpan(34))));
    }

    [Fact]
    public void A_port_ends_for_what_is_sent_as_for_what_comes_in()
    {
        byte[] packet = Packet("tcp6");
        Assert.Equal(PacketRefusal.Port, Send(packet, from: OthersPort));
        Assert.True(_device.Ports.TryBind(Tcp, OthersPort, null, out PortBinding? binding).IsBound);
        Assert.Equal(PacketRefusal.None, Send(packet, from: OthersPort));

        // What waits when the port is given back still leaves: the last words of its connections.
        Assert.Equal(1, Transmit(packet, default, packet.Length, OthersPort));
        binding!.Dispose();
        _wire.Packets.Clear();
        Poll();
        Assert.Single(_wire.Packets);
        Assert.Equal(PacketRefusal.Port, Send(packet, from: OthersPort));

        // Not when it is another's already.
        Assert.True(_device.Ports.TryBind(Tcp, OthersPort, null, out binding).IsBound);
        Assert.Equal(1, Transmit(packet, default, packet.Length, OthersPort));
        Assert.Equal(1, Transmit(packet, default, packet.Length));
        Assert.Equal(2, _device.TransmitsInFlight);
        binding!.Dispose();
        Assert.True(_shared.Ports.For(_mail).TryBind(Tcp, OthersPort, null, out _).IsBound);
        _wire.Packets.Clear();
        long refused = _device.RefusedFor(PacketRefusal.Port);
        Poll();
        Assert.Equal(OwnPort, BinaryPrimitives.ReadUInt16BigEndian(Assert.Single(_wire.Packets).AsSpan(54)));
        Assert.Equal((refused + 1, 0), (_device.RefusedFor(PacketRefusal.Port), _device.TransmitsInFlight));

        // A batch in which all are such is no batch.
        Assert.True(_device.Ports.TryBind(Tcp, 8080, null, out binding).IsBound);
        Assert.Equal(1, Transmit(packet, default, packet.Length, 8080));
        binding!.Dispose();
        Assert.True(_shared.Ports.For(_mail).TryBind(Tcp, 8080, null, out _).IsBound);
        Assert.Equal(0, _shared.Poll());
        Assert.Equal(refused + 2, _device.RefusedFor(PacketRefusal.Port));

        // With its environment a port ends as well.
        _mail.Dispose();
        Assert.True(_device.Ports.TryBind(Tcp, OthersPort, null, out _).IsBound);
        Assert.Equal(PacketRefusal.None, Send(packet, from: OthersPort));
    }

    [Fact]
    public void Who_has_queued_all_that_there_is_room_for_waits()
    {
        byte[] packet = [.. Packet("udp4", payloadBytes: 1000)];
        packet.CopyTo(_frames.Bytes(_frame));
        TransmitPacket whole = new(new PacketSlice(_frame, 0, packet.Length));
        int accepted = 0;
        while (_device.Transmit([whole], []) == 1)
        {
            accepted++;
        }

        // Long headers, so copies come to an end before places do; either way it is told when there is room.
        Assert.InRange(accepted, 1, 256);
        Assert.Equal(NetworkEvents.None, _device.Wait(NetworkEvents.Transmittable, TimeSpan.Zero));
        Poll();
        Assert.Equal(accepted, _wire.Packets.Count);
        Assert.All(_wire.Packets, sent => Assert.Equal(packet, sent));
        Assert.Equal(NetworkEvents.Transmittable, _device.Wait(NetworkEvents.Transmittable, TimeSpan.Zero));

        // A first piece of more than a frame is not copied.
        Assert.Equal(PacketRefusal.Malformed, Send(Packet("tcp4", payloadBytes: 4500), new PacketOffload(34, 16, SegmentationKind.Tcp4, 1000, 4200), 4200));
    }

    [Fact]
    public void Looking_allocates_nothing()
    {
        byte[] packet = Packet("tcp4"), lie = Packet("tcp6");
        lie[54] ^= 1;
        packet.CopyTo(_frames.Bytes(_frame));
        lie.CopyTo(_frames.Bytes(new FrameNumber(_frame.Value + 1)));
        TransmitPacket[] packets = [new(new PacketSlice(_frame, 0, packet.Length)), new(new PacketSlice(new FrameNumber(_frame.Value + 1), 0, lie.Length))];
        PortSet own = new(), all = new();
        own.Set(PortSet.IndexOf(Tcp, OwnPort), true);
        SourceGuard guard = new(_wire, [new IPAddress(s_ownV4), new IPAddress(s_ownV6)], areKernels: true, own, all);
        void Once()
        {
            _ = guard.Check(packet, packet.Length, default, out _);
            _ = guard.Check(lie, lie.Length, default, out _);
            _device.Transmit(packets, []);
        }

        // Each place of the queue has memory once it has held a packet.
        for (int i = 0; i < 256; i++)
        {
            Once();
        }

        // So few that the queue has room for all passes.
        Poll();
        Assert.Equal(0, Allocations.Least(() =>
        {
            for (int i = 0; i < 12; i++)
            {
                Once();
            }
        }));
    }

    // What a receiver and the switches before it take from a packet: every claim must be so. Written after the standards, and not after the guard: it steps over all that a receiver may step over.
    private static bool IsTrue(ReadOnlySpan<byte> packet)
    {
        if (MacAddress.Read(packet[6..]) != s_interface)
        {
            return false;
        }

        ushort type = BinaryPrimitives.ReadUInt16BigEndian(packet[12..]);
        ReadOnlySpan<byte> rest = packet[14..];
        if (type == 0x0806)
        {
            return MacAddress.Read(rest[8..]) == s_interface && rest.Slice(14, 4).SequenceEqual(s_ownV4);
        }

        if (type == 0x0800)
        {
            int ihl = (rest[0] & 15) * 4;
            bool isPiece = (BinaryPrimitives.ReadUInt16BigEndian(rest[6..]) & 0x3FFF) != 0;
            return rest[0] >> 4 == 4 && !isPiece && rest.Slice(12, 4).SequenceEqual(s_ownV4)
                && IsTrueTransport(rest[9], rest[ihl..BinaryPrimitives.ReadUInt16BigEndian(rest[2..])], isV4: true, rest.Slice(16, 4), hopLimit: 0);
        }

        if (type != 0x86DD || rest[0] >> 4 != 6 || !rest.Slice(8, 16).SequenceEqual(s_ownV6))
        {
            return false;
        }

        byte next = rest[6];
        ReadOnlySpan<byte> destination = rest.Slice(24, 16), inner = rest.Slice(40, BinaryPrimitives.ReadUInt16BigEndian(rest[4..]));
        while (next is 0 or 43 or 60)
        {
            (byte after, int bytes) = (inner[0], (inner[1] + 1) * 8);
            inner = inner[bytes..];
            next = after;
        }

        return IsTrueTransport(next, inner, isV4: false, destination, rest[7]);
    }

    private static bool IsTrueTransport(byte protocol, ReadOnlySpan<byte> segment, bool isV4, ReadOnlySpan<byte> destination, byte hopLimit)
    {
        if (protocol is Tcp or Udp)
        {
            return BinaryPrimitives.ReadUInt16BigEndian(segment) == OwnPort;
        }

        if (protocol != (isV4 ? 1 : 58))
        {
            return false;
        }

        int addressBytes = isV4 ? 4 : 16;
        byte[] own = isV4 ? s_ownV4 : s_ownV6;
        switch (segment[0])
        {
            case 0 when isV4:
            case 129 when !isV4:
                return true;
            case 3 when isV4:
            case 1 when !isV4:
                ReadOnlySpan<byte> quoted = segment[8..];
                int at = isV4 ? 12 : 8, ports = isV4 ? (quoted[0] & 15) * 4 : 40;
                return quoted[isV4 ? 9 : 6] == Udp && quoted.Slice(at, addressBytes).SequenceEqual(destination) && quoted.Slice(at + addressBytes, addressBytes).SequenceEqual(own)
                    && BinaryPrimitives.ReadUInt16BigEndian(quoted[(ports + 2)..]) == OwnPort;
            case 135 or 136 when !isV4:
                bool isTold = segment.Length < 32 || MacAddress.Read(segment[26..]) == s_interface;
                return hopLimit == 255 && isTold && (segment[0] == 135 || ((segment[4] & 0x80) == 0 && segment.Slice(8, 16).SequenceEqual(own)));
            default:
                return false;
        }
    }

    private static int Behind(string kind) => kind switch
    {
        "tcp4" or "tcp6" => 20,
        "udp4" or "udp6" or "echo4" or "echo6" => 8,
        "unreachable4" => 36,
        "unreachable6" => 56,
        "ask6" or "tell6" => 32,
        _ => 28,
    };

    // An honest packet; options are IPv4's, in bytes.
    private static byte[] Packet(string kind, int options = 0, int payloadBytes = 0)
    {
        bool isV4 = kind.EndsWith('4'), isArp = kind is "ask4" or "tell4";
        payloadBytes = Behind(kind) is 20 or 8 ? payloadBytes : 0;
        int ipBytes = isArp ? 0 : isV4 ? 20 + options : 40, at = 14 + ipBytes;
        byte[] packet = new byte[at + Behind(kind) + payloadBytes];
        s_peer.Write(packet);
        s_interface.Write(packet.AsSpan(6));
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(12), isArp ? (ushort)0x0806 : isV4 ? (ushort)0x0800 : (ushort)0x86DD);
        Span<byte> ip = packet.AsSpan(14), rest = packet.AsSpan(at);
        if (isArp)
        {
            BinaryPrimitives.WriteUInt64BigEndian(ip, kind == "ask4" ? 0x0001_0800_0604_0001u : 0x0001_0800_0604_0002u);
            s_interface.Write(ip[8..]);
            s_ownV4.CopyTo(ip[14..]);
            s_peerV4.CopyTo(ip[24..]);
            return packet;
        }

        byte protocol = kind[..3] switch { "tcp" => Tcp, "udp" => Udp, _ => isV4 ? (byte)1 : (byte)58 };
        if (isV4)
        {
            (ip[0], ip[6], ip[8], ip[9]) = ((byte)(0x40 | ipBytes / 4), 0x40, 64, protocol);
            BinaryPrimitives.WriteUInt16BigEndian(ip[2..], (ushort)(packet.Length - 14));
            s_ownV4.CopyTo(ip[12..]);
            s_peerV4.CopyTo(ip[16..]);
            ip[20..ipBytes].Fill(1);
        }
        else
        {
            (ip[0], ip[6], ip[7]) = (0x60, protocol, kind is "ask6" or "tell6" ? (byte)255 : (byte)64);
            BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)(packet.Length - at));
            s_ownV6.CopyTo(ip[8..]);
            s_peerV6.CopyTo(ip[24..]);
        }

        BinaryPrimitives.WriteUInt16BigEndian(rest, OwnPort);
        BinaryPrimitives.WriteUInt16BigEndian(rest[2..], 5000);
        switch (kind)
        {
            case "tcp4" or "tcp6":
                (rest[12], rest[13]) = (0x50, 0x10);
                break;
            case "echo4" or "echo6":
                (rest[0], rest[1]) = (isV4 ? (byte)0 : (byte)129, 0);
                break;
            case "unreachable4" or "unreachable6":
                (rest[0], rest[1]) = isV4 ? ((byte)3, (byte)3) : ((byte)1, (byte)4);
                rest[2..8].Clear();
                Span<byte> quoted = rest[8..];
                (quoted[0], quoted[isV4 ? 9 : 6]) = (isV4 ? (byte)0x45 : (byte)0x60, Udp);
                (isV4 ? s_peerV4 : s_peerV6).CopyTo(quoted[(isV4 ? 12 : 8)..]);
                (isV4 ? s_ownV4 : s_ownV6).CopyTo(quoted[(isV4 ? 16 : 24)..]);
                BinaryPrimitives.WriteUInt16BigEndian(quoted[((isV4 ? 20 : 40) + 2)..], OwnPort);
                break;
            case "ask6" or "tell6":
                rest[..8].Clear();
                (rest[0], rest[24], rest[25]) = (kind == "ask6" ? (byte)135 : (byte)136, kind == "ask6" ? (byte)1 : (byte)2, 1);
                (kind == "ask6" ? s_peerV6 : s_ownV6).CopyTo(rest[8..]);
                s_interface.Write(rest[26..]);
                break;
        }

        return packet;
    }

    private SharedInterface Share(bool areKernels, out EnvironmentDevice device)
    {
        SharedInterface shared = new(_wire, _filters, _root, [new IPAddress(s_ownV4), new IPAddress(s_ownV6)], areKernels);
        shared.Ports.Grant(_root.Credential, 1, ushort.MaxValue, _web.Name);
        shared.Ports.Grant(_root.Credential, 1, ushort.MaxValue, _mail.Name);
        Assert.True(shared.TryOpen(_web, out EnvironmentDevice? made).IsGranted);
        device = made!;
        Assert.True(device.Ports.TryBind(Tcp, OwnPort, null, out _).IsBound);
        Assert.True(device.Ports.TryBind(Udp, OwnPort, null, out _).IsBound);
        return shared;
    }

    private int Transmit(byte[] packet, PacketOffload offload, int headerBytes, ushort? from = null)
    {
        packet = [.. packet];
        if (from is { } port)
        {
            BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(54), port);
        }

        packet.CopyTo(_frames.Bytes(_frame, 2));
        PacketSlice whole = new(_frame, 0, packet.Length);
        PacketSlice[] payload = headerBytes < packet.Length ? [whole.Slice(headerBytes, packet.Length - headerBytes)] : [];
        return _device.Transmit([new TransmitPacket(whole.Slice(0, headerBytes), 0, payload.Length, offload)], payload);
    }

    // Null: the device takes no such packet. What was handed over is another packet when it leaves.
    private PacketRefusal? Send(byte[] packet, PacketOffload offload = default, int headerBytes = int.MaxValue, ushort? from = null)
    {
        headerBytes = Math.Min(headerBytes, packet.Length);
        long[] before = [.. Enum.GetValues<PacketRefusal>().Select(_device.RefusedFor)];
        try
        {
            Assert.Equal(1, Transmit(packet, offload, headerBytes, from));
        }
        catch (ArgumentException)
        {
            return null;
        }

        _frames.Bytes(_frame, 2)[..headerBytes].Fill(0xEE);
        Poll();
        PacketRefusal[] refused = [.. Enum.GetValues<PacketRefusal>().Where(reason => _device.RefusedFor(reason) != before[(int)reason])];
        Assert.True(refused.Length < 2);
        Assert.True(refused.Length == 0 || _device.LastRefusal == refused[0]);
        return refused.Length == 0 ? PacketRefusal.None : refused[0];
    }

    private void Poll()
    {
        while (_shared.Poll() > 0)
        {
        }
    }
}
