// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using CsCheck;
using Exo.Core.DownloadedCode;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tcp.Handshake;
using Exo.Net.Cheetah.Wire;
using Exo.Tests;

namespace Exo.Net.Cheetah.Tests.Tcp.Handshake;

/// <summary>
/// The program that answers SYNs, on our own machine and in the running kernel: byte for byte what the stack would answer if it were short of memory, and nothing else is touched.
/// </summary>
public class HandshakeProgramTests
{
    private const long OriginNs = 123_456_789_012;

    private static readonly InterfaceAddress[] Own =
        [InterfaceAddress.Parse("10.9.0.2/24"), InterfaceAddress.Parse("fd09::2/64"), InterfaceAddress.Parse("192.0.2.7/32"), InterfaceAddress.Parse("fd09::3/64")];

    private static readonly MacAddress Hardware = MacAddress.Parse("02:00:5e:10:00:fe");
    private static readonly MacAddress Peer = MacAddress.Parse("02:00:5e:10:00:01");

    private static readonly HandshakeAnswer Answer = new(
        [80, 60_443], Own, Hardware, new SipHash(0xDEAD_BEEF_0000_0001, 42), OriginNs, 65_535, 3, 8_192, 1460, 1440, 0);

    // Two that differ: which of them a cookie is made with is for the time to say.
    private static readonly CookieSecrets Secrets = Numbered();

    /// <summary>What a peer may say in a SYN.</summary>
    private sealed record Offer(bool V4, int To, ushort Port, ushort FromPort, uint Sequence, byte Flags, int Shape, ushort Segment, byte Scale, uint Stamp, ulong From, int Damage);

    private static readonly Gen<Offer> Offers =
        from v4 in Gen.Bool
        from to in Gen.Int[0, 4]
        from port in OneOf<ushort>(80, 80, 80, 60_443, 22, 81)
        from fromPort in Gen.UShort
        from sequence in Gen.UInt
        from flags in OneOf<byte>(2, 2, 2, 2, 2, 0xC2, 0x12, 3, 4, 0x10, 0x22)
        from shape in Gen.Int[0, 12]
        from segment in Gen.OneOf(Gen.UShort, OneOf<ushort>(0, 535, 536, 1460, 1459, 1440, 8960))
        from scale in Gen.Byte[0, 20]
        from stamp in Gen.UInt
        from source in Gen.OneOf(Gen.ULong, OneOf<ulong>(0, 0x7F00_0001, 0x0A09_00FF, 0xFFFF_FFFF, 0xE000_0001, 0x0A09_0001))
        from damage in Gen.Frequency((6, Gen.Const(0)), (1, Gen.Int[1, 9]))
        select new Offer(v4, to, port, fromPort, sequence, flags, shape, segment, scale, stamp, source, damage);

    private static Gen<T> OneOf<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(index => values[index]);

    private static ulong Protocol(bool v4) => v4 ? 0x0008u : 0xDD86u;

    private struct Clock(long ns) : IHelperCalls
    {
        public readonly ulong Call(int helper, ulong r1, ulong r2, ulong r3, ulong r4, ulong r5) => (ulong)ns;
    }

    [Fact]
    public void Our_machine_answers_as_the_stack_would()
    {
        VerifyResult verified = Verifier.Verify(HandshakeProgram.ForOwnMachine(Answer), HandshakeProgram.OwnContract);
        Assert.True(verified.IsAccepted, verified.Rejection?.ToString());
        using var tables = new ThreadLocal<byte[]>(() => WithSecrets(new byte[HandshakeProgram.OwnTableBytes], Secrets));
        int answered = 0, passed = 0;
        Gen.Select(Offers, Gen.Long[0, 1L << 50]).Sample(
            (offer, nowUs) =>
            {
                byte[] syn = Build(offer);
                byte[] memory = new byte[HandshakeProgram.OwnMemoryBytes];
                syn.AsSpan(0, Math.Min(syn.Length, memory.Length)).CopyTo(memory);
                byte[] before = memory.ToArray();
                var clock = new Clock(OriginNs + (nowUs * 1000) + 999);
                ExecutionResult result = verified.Program!.Run(ProgramInput.WritableBoth(memory, tables.Value!) with { R2 = Protocol(offer.V4) }, ref clock);
                Assert.Equal(ExecutionStatus.Completed, result.Status);
                byte[]? expected = Expected(offer, syn, nowUs);
                if (expected is null)
                {
                    Assert.Equal(0UL, result.R0);
                    Assert.Equal(before, memory);
                    Interlocked.Increment(ref passed);
                    return;
                }

                Assert.Equal(1UL, result.R0 >> 32);
                byte[] whole = memory[..syn.Length];
                CorrectSum(whole.AsSpan(offer.V4 ? 34 : 54), (uint)result.R0);
                Assert.Equal(expected, whole);
                Interlocked.Increment(ref answered);
            },
            iter: 20_000);
        Assert.True(answered > 1000 && passed > 1000, $"{answered} answered, {passed} not");
    }

    [Fact]
    public void The_kernel_answers_as_the_stack_would()
    {
        Requires.Root();
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        using var device = new ScriptedDevice(frames);
        int answered = 0, passed = 0;

        // Time stands still: a clock that began when the machine did, so that ticks of 64 s are far apart from the test's length, is read from both sides.
        using var table = new FarewellTable("test");
        Secrets.ShareWith(table);
        HandshakeAnswer now = Answer with { OriginNs = 0, Farewells = table.Descriptor };
        PacketHandler handler = new(HandshakeProgram.ForIngress(now), HandshakeProgram.ForReceive(now));
        Offers.Sample(
            offer =>
            {
                byte[] syn = Build(offer), packet = syn.ToArray();
                long beforeUs = System.Diagnostics.Stopwatch.GetTimestamp() / 1000;
                int verdict = device.TestHandler(handler, packet);
                long afterUs = System.Diagnostics.Stopwatch.GetTimestamp() / 1000;
                if (verdict != 7)
                {
                    Assert.Equal(-1, verdict);
                    Assert.Equal(syn, packet);
                    Assert.Null(Expected(offer, syn, beforeUs));
                    passed++;
                    return;
                }

                // Every moment between the two has one of few answers.
                byte[]? match = null;
                for (long ms = beforeUs / 1000; ms <= afterUs / 1000 && match is null; ms++)
                {
                    byte[]? expected = Expected(offer, syn, Math.Max(ms * 1000, beforeUs));
                    match = expected is not null && expected.AsSpan().SequenceEqual(packet) ? expected : null;
                }

                Assert.True(match is not null, Convert.ToHexString(packet) + "\n" + Convert.ToHexString(Expected(offer, syn, beforeUs) ?? []));
                answered++;
            },
            iter: 80, threads: 1);
        Assert.True(answered > 0 && passed > 20, $"{answered} answered, {passed} not");
    }

    /// <summary>The end of a connection, and what the table says of it.</summary>
    private sealed record Farewell(bool V4, uint Sequence, uint Acknowledgment, uint Stamp, byte Flags, int Options, int PayloadBytes, int Difference);

    private static readonly Gen<Farewell> Farewells =
        from v4 in Gen.Bool
        from sequence in Gen.UInt
        from acknowledgment in Gen.UInt
        from stamp in Gen.UInt
        from flags in OneOf<byte>(0x11, 0x11, 0x11, 0xD1, 0x19, 0x10, 0x14, 1)
        from options in OneOf(12, 12, 12, 16, 0)
        from payload in OneOf(0, 0, 0, 4)
        from difference in OneOf(0, 0, 0, 0, 1, 2, 3, 4)
        select new Farewell(v4, sequence, acknowledgment, stamp, flags, options, payload, difference);

    [Fact]
    public void A_last_FIN_is_acknowledged_once_and_only_where_the_stack_allows_it()
    {
        Requires.Root();
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        using var device = new ScriptedDevice(frames);
        using var table = new FarewellTable("test");
        Secrets.ShareWith(table);
        HandshakeAnswer now = Answer with { OriginNs = 0, Farewells = table.Descriptor };
        PacketHandler handler = new(HandshakeProgram.ForIngress(now), HandshakeProgram.ForReceive(now));
        VerifiedProgram own = Verifier.Verify(HandshakeProgram.ForOwnMachine(Answer), HandshakeProgram.OwnContract).Require();
        int acknowledged = 0, passed = 0;
        Farewells.Sample(
            farewell =>
            {
                InternetAddress to = Own[farewell.V4 ? 0 : 1].Address, from = farewell.V4 ? InternetAddress.Parse("10.9.0.1") : InternetAddress.Parse("fd09::1");
                var key = new ConnectionKey(to, 80, from, 4000);
                ulong name = Answer.Offsets.Of(key, 1);
                byte[] packet = Fin(farewell, key);
                bool isArmed = farewell.Difference != 1;
                uint sendNext = farewell.Acknowledgment + (farewell.Difference == 2 ? 1u : 0), receiveNext = farewell.Sequence - (farewell.Difference == 3 ? 1u : 0);
                ulong armedName = farewell.Difference == 4 ? name ^ (1UL << 63) : name;
                bool isAnswered = farewell is { Options: 12, PayloadBytes: 0, Difference: 0 } && (farewell.Flags & 0x3F) == 0x11;

                // Our machine, with a table in memory.
                ulong[] words = new ulong[HandshakeProgram.OwnTableBytes / 8];
                int slot = (int)(name >> 32) & (FarewellTable.Slots - 1);
                words[2 * slot] = isArmed ? armedName | 3 : 0;
                words[(2 * slot) + 1] = sendNext | ((ulong)receiveNext << 32);
                ulong[] armed = words.ToArray();
                byte[] memory = new byte[HandshakeProgram.OwnMemoryBytes];
                packet.AsSpan(0, Math.Min(packet.Length, memory.Length)).CopyTo(memory);
                var clock = new Clock(OriginNs + 5_000_000);
                ExecutionResult result = own.Run(
                    ProgramInput.WritableBoth(memory, System.Runtime.InteropServices.MemoryMarshal.AsBytes(words.AsSpan())) with { R2 = Protocol(farewell.V4) }, ref clock);
                Assert.Equal(ExecutionStatus.Completed, result.Status);
                Assert.Equal(isAnswered, result.R0 != 0);
                if (isAnswered)
                {
                    CorrectSum(memory.AsSpan(farewell.V4 ? 34 : 54), (uint)result.R0);
                    armed[2 * slot] ^= 1;
                    IsAcknowledgment(memory.AsSpan(0, packet.Length), farewell, key, 5 + (uint)name);
                }

                Assert.Equal(armed, words);

                // The kernel, with the stack's own table.
                int taken = isArmed ? table.TryArm(armedName, sendNext, receiveNext) : -1;
                Assert.Equal(isArmed, taken >= 0);
                Assert.True(!isArmed || table.TryArm(name, 1, 1) < 0);   // nobody is put out
                byte[] inKernel = packet.ToArray();
                Assert.Equal(isAnswered ? 7 : -1, device.TestHandler(handler, inKernel));
                if (isAnswered)
                {
                    uint stamp = IsAcknowledgment(inKernel, farewell, key, null);
                    Assert.InRange((uint)(System.Diagnostics.Stopwatch.GetTimestamp() / 1_000_000) + (uint)name - stamp, 0u, 60_000u);
                    Assert.Equal(-1, device.TestHandler(handler, packet.ToArray()));   // not a second time
                }
                else
                {
                    Assert.Equal(packet, inKernel);
                }

                Assert.True(!isArmed || table.Take(taken, armedName) == isAnswered);
                Interlocked.Increment(ref isAnswered ? ref acknowledged : ref passed);
            },
            iter: 120, threads: 1);
        Assert.True(acknowledged > 0 && passed > 10, $"{acknowledged} acknowledged, {passed} not");
    }

    /// <summary>Secrets that are the same each time.</summary>
    internal static CookieSecrets Numbered()
    {
        ulong drawn = 0x0706_0504_0302_0100;
        return new CookieSecrets(() => new SipHash(drawn += 0x9E37_79B9_7F4A_7C15, drawn * 3));
    }

    /// <summary>Puts secrets where a program on our own machine reads them.</summary>
    internal static byte[] WithSecrets(byte[] tables, CookieSecrets secrets)
    {
        for (int place = 0; place < CookieSecrets.Places; place++)
        {
            SipHash secret = secrets.Of((long)place << CookieSecrets.TickBits);
            BinaryPrimitives.WriteUInt64LittleEndian(tables.AsSpan(FarewellTable.SecretsAt + (place * FarewellTable.SecretBytes)), secret.Key0);
            BinaryPrimitives.WriteUInt64LittleEndian(tables.AsSpan(FarewellTable.SecretsAt + (place * FarewellTable.SecretBytes) + 8), secret.Key1);
        }

        return tables;
    }

    private static byte[] Fin(Farewell farewell, in ConnectionKey key)
    {
        int ipBytes = farewell.V4 ? 20 : 40, tcpBytes = 20 + farewell.Options + farewell.PayloadBytes;
        byte[] packet = new byte[14 + ipBytes + tcpBytes];
        new EthernetFrame(Hardware, Peer, farewell.V4 ? EtherType.Ipv4 : EtherType.Ipv6).Emit(packet);
        Span<byte> ip = packet.AsSpan(14), tcp = ip[ipBytes..];
        if (farewell.V4)
        {
            new Ipv4Packet(key.Remote, key.Local, IpProtocol.Tcp, tcpBytes).Emit(ip);
        }
        else
        {
            new Ipv6Packet(key.Remote, key.Local, IpProtocol.Tcp, tcpBytes).Emit(ip);
        }

        new TcpSegment(
            key.RemotePort, key.LocalPort, farewell.Sequence, farewell.Acknowledgment, (TcpFlags)farewell.Flags, 500,
            farewell.Options == 0 ? default : new TcpOptions(HasTimestamps: true, Timestamp: farewell.Stamp, TimestampEcho: 9)).Emit(tcp);
        tcp[12] = (byte)((20 + farewell.Options) << 2);
        TcpSegment.Seal(key.Remote, key.Local, tcp, 0, 0);
        return packet;
    }

    private static uint IsAcknowledgment(ReadOnlySpan<byte> packet, Farewell farewell, in ConnectionKey key, uint? stamp)
    {
        Assert.True(EthernetFrame.TryParse(packet, out EthernetFrame ethernet, out ReadOnlySpan<byte> ip));
        Assert.Equal((Peer, Hardware), (ethernet.Destination, ethernet.Source));
        InternetAddress source, destination;
        if (farewell.V4)
        {
            Assert.True(Ipv4Packet.TryParse(ip, out Ipv4Packet v4, out ip));
            (source, destination) = (v4.Source, v4.Destination);
        }
        else
        {
            Assert.True(Ipv6Packet.TryParse(ip, out Ipv6Packet v6, out ip));
            (source, destination) = (v6.Source, v6.Destination);
        }

        Assert.Equal((key.Local, key.Remote), (source, destination));
        Assert.True(TcpSegment.Check(source, destination, ip));
        Assert.True(TcpSegment.TryParse(ip, out TcpSegment segment, out ReadOnlySpan<byte> payload));
        Assert.Equal(0, payload.Length);
        uint told = segment.Options.Timestamp;
        Assert.Equal(
            new TcpSegment(
                80, 4000, farewell.Acknowledgment, farewell.Sequence + 1, TcpFlags.Ack, Answer.WindowBytes,
                new TcpOptions(HasTimestamps: true, Timestamp: stamp ?? told, TimestampEcho: farewell.Stamp)),
            segment);
        return told;
    }

    // The stack's own answer to a packet, by its own code; null where it is left to the stack.
    private static byte[]? Expected(Offer offer, byte[] packet, long nowUs)
    {
        int ipBytes = offer.V4 ? 20 : 40;
        ReadOnlySpan<byte> ip = packet.AsSpan(14);
        InternetAddress source, destination;
        if (offer.V4)
        {
            if (!Ipv4Packet.TryParse(ip, out Ipv4Packet v4, out _) || v4.IsFragment || v4.Protocol != IpProtocol.Tcp)
            {
                return null;
            }

            (source, destination) = (v4.Source, v4.Destination);
            if (source.V4 >> 24 is 0 or 127 or >= 224 || source.V4 == 0x0A09_00FF)
            {
                return null;
            }
        }
        else
        {
            if (!Ipv6Packet.TryParse(ip, out Ipv6Packet v6, out _) || v6.NextHeader != IpProtocol.Tcp)
            {
                return null;
            }

            (source, destination) = (v6.Source, v6.Destination);
            if (source.IsMulticast || source.High == 0)
            {
                return null;
            }
        }

        if (!EthernetFrame.TryParse(packet, out EthernetFrame ethernet, out _) || ethernet.Destination != Hardware || ethernet.Source.IsGroup
            || !Own.Any(own => own.Address == destination)
            || !TcpSegment.TryParse(ip[ipBytes..], out TcpSegment segment, out ReadOnlySpan<byte> payload)
            || !Answer.Ports.Contains(segment.DestinationPort) || ((byte)segment.Flags & 0x3F) != 2 || payload.Length > 0 || !segment.Options.HasTimestamps
            || segment.Options.SackCount > 0)
        {
            return null;
        }

        var key = new ConnectionKey(destination, segment.DestinationPort, source, segment.SourcePort);
        TcpOptions options = segment.Options;
        var cookies = new SynCookies(Secrets);
        var tcp = new TcpSegment(
            key.LocalPort, key.RemotePort, cookies.Make(key, segment.Sequence, options.MaximumSegmentBytes, nowUs), segment.Sequence + 1, TcpFlags.Syn | TcpFlags.Ack, Answer.WindowBytes,
            new TcpOptions(
                MaximumSegmentBytes: options.MaximumSegmentBytes == 0 ? (ushort)0 : offer.V4 ? Answer.SegmentBytesV4 : Answer.SegmentBytesV6,
                HasWindowScale: options.HasWindowScale, WindowScale: options.HasWindowScale ? Answer.WindowScale : (byte)0, SackPermitted: options.SackPermitted,
                HasTimestamps: true, Timestamp: SynCookies.Stamp((uint)(nowUs / 1000) + (uint)Answer.Offsets.Of(key, 1), options), TimestampEcho: options.Timestamp));
        byte[] answer = new byte[packet.Length];
        new EthernetFrame(Peer, Hardware, ethernet.Type).Emit(answer);
        Span<byte> segmentBytes = answer.AsSpan(14 + ipBytes);
        if (offer.V4)
        {
            new Ipv4Packet(destination, source, IpProtocol.Tcp, segmentBytes.Length).Emit(answer.AsSpan(14));
        }
        else
        {
            new Ipv6Packet(destination, source, IpProtocol.Tcp, segmentBytes.Length).Emit(answer.AsSpan(14));
        }

        tcp.Emit(segmentBytes);
        segmentBytes[12] = (byte)(packet[14 + ipBytes + 12] & 0xF0);   // as long as the SYN, zeros behind the options
        TcpSegment.Seal(destination, source, segmentBytes, 0, 0);
        return answer;
    }

    private static byte[] Build(Offer offer)
    {
        byte[] options = Options(offer);
        int ipBytes = offer.V4 ? 20 : 40, tcpBytes = 20 + options.Length + (offer.Damage == 1 ? 4 : 0);
        byte[] packet = new byte[14 + ipBytes + tcpBytes];
        InternetAddress[] own = [.. Own.Select(address => address.Address).Where(address => address.IsV4 == offer.V4), offer.V4 ? InternetAddress.Parse("10.9.0.3") : InternetAddress.Parse("fd09::4")];
        InternetAddress to = own[Math.Min(offer.To / 2, own.Length - 1)];
        InternetAddress from = offer.V4 ? InternetAddress.FromV4((uint)offer.From) : new InternetAddress(offer.From % 7 == 0 ? 0 : 0xFD09_0000_0000_0000 | (offer.From % 5), offer.From);
        new EthernetFrame(offer.Damage == 2 ? Peer : Hardware, offer.Damage == 3 ? MacAddress.Broadcast : Peer, offer.V4 ? EtherType.Ipv4 : EtherType.Ipv6).Emit(packet);
        Span<byte> ip = packet.AsSpan(14), tcp = ip[ipBytes..];
        if (offer.V4)
        {
            new Ipv4Packet(
                from, to, offer.Damage == 4 ? IpProtocol.Udp : IpProtocol.Tcp, tcpBytes, TimeToLive: 3, DontFragment: false, MoreFragments: offer.Damage == 5, Identification: 77, TrafficClass: 8).Emit(ip);
            ip[10] ^= (byte)(offer.Damage == 6 ? 1 : 0);
        }
        else
        {
            new Ipv6Packet(from, to, offer.Damage == 4 ? IpProtocol.Udp : IpProtocol.Tcp, tcpBytes, HopLimit: 3, FlowLabel: 0x12345).Emit(ip);
            ip[0] ^= (byte)(offer.Damage == 6 ? 0x10 : 0);
        }

        BinaryPrimitives.WriteUInt16BigEndian(tcp, offer.FromPort);
        BinaryPrimitives.WriteUInt16BigEndian(tcp[2..], offer.Port);
        BinaryPrimitives.WriteUInt32BigEndian(tcp[4..], offer.Sequence);
        BinaryPrimitives.WriteUInt32BigEndian(tcp[8..], offer.Stamp * 3);
        tcp[12] = (byte)(((20 + options.Length) << 2) | (offer.Damage == 7 ? 5 : 0));
        tcp[13] = offer.Flags;
        BinaryPrimitives.WriteUInt16BigEndian(tcp[14..], 29_200);
        BinaryPrimitives.WriteUInt16BigEndian(tcp[18..], (ushort)(offer.Damage == 8 ? 9 : 0));
        options.CopyTo(tcp[20..]);
        TcpSegment.Seal(from, to, tcp, 0, 0);
        return packet;
    }

    // As Linux, Windows, macOS and others order them, and some that nobody sends.
    private static byte[] Options(Offer offer)
    {
        byte[] size = [2, 4, (byte)(offer.Segment >> 8), (byte)offer.Segment], scale = [3, 3, offer.Scale], sack = [4, 2];
        byte[] stamps = [8, 10, (byte)(offer.Stamp >> 24), (byte)(offer.Stamp >> 16), (byte)(offer.Stamp >> 8), (byte)offer.Stamp, 0, 0, 0, 0];
        byte[] all = offer.Shape switch
        {
            0 => [.. size, .. sack, .. stamps, 1, .. scale],
            1 => [.. size, 1, .. scale, 1, 1, .. stamps, .. sack, 0, 0],
            2 => [.. size, 1, .. scale, .. sack, .. stamps],
            3 => [.. size, 1, .. scale, 1, 1, .. sack],
            4 => [.. stamps, 1, 1],
            5 => [.. sack, .. stamps],
            6 => [.. scale, .. stamps, 0, 0, 0],
            7 => [.. size, 30, 4, 1, 2, .. stamps, .. scale, 1, 1, 1, .. sack, 254, 2, 1, 1, 1, 1],
            8 => [.. size, .. stamps[..9], 1, 1, 1],
            9 => [.. stamps, 5, 10, 0, 0, 0, 0, 0, 0, 0, 1],
            10 => [.. stamps, 3, 9],
            11 => [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, .. stamps],
            _ => [],
        };
        int padded = Math.Min(40, (all.Length + 3) & ~3);
        Array.Resize(ref all, padded);
        return all;
    }

    private static void CorrectSum(Span<byte> tcp, uint difference)
    {
        // RFC 1624 equation 3, in the machine's byte order as the kernel does it.
        ulong sum = (ushort)~BinaryPrimitives.ReadUInt16LittleEndian(tcp[16..]) + (ulong)difference;
        while (sum >> 16 != 0)
        {
            sum = (sum & 0xFFFF) + (sum >> 16);
        }

        BinaryPrimitives.WriteUInt16LittleEndian(tcp[16..], (ushort)~sum);
    }
}
