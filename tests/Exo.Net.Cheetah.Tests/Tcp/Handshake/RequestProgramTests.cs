// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using CsCheck;
using Exo.Core.DownloadedCode;
using Exo.Core.Linux;
using Exo.Core.Net;
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tcp.Answers;
using Exo.Net.Cheetah.Tcp.Handshake;
using Exo.Net.Cheetah.Wire;
using Exo.Tests;
using Microsoft.Win32.SafeHandles;

namespace Exo.Net.Cheetah.Tests.Tcp.Handshake;

/// <summary>
/// The part of the program that answers requests, on our own machine and in the running kernel: byte for byte the segment that the stack would send, the connection's numbers go on by what was
/// said, and whatever differs in anything is left alone.
/// </summary>
public class RequestProgramTests
{
    internal const long OriginNs = 0, Seconds = 1_700_000_000;
    private const ushort Window = 0xFFFF;

    internal static readonly InterfaceAddress[] Own = [InterfaceAddress.Parse("10.9.0.2/24"), InterfaceAddress.Parse("fd09::2/64")];
    internal static readonly MacAddress Hardware = MacAddress.Parse("02:00:5e:10:00:fe"), Peer = MacAddress.Parse("02:00:5e:10:00:01");

    // Lengths around every edge: of double words, of sums, of what is taken.
    private static readonly int[] Lengths = [1, 7, 8, 9, 61, 64, 333, 1016, 1017, 1023, 1024];
    internal static readonly byte[][] Requests = [.. Lengths.Select((length, index) => Text(length, index))];
    internal static readonly (byte[] Bytes, int DatePlace)[] Responses =
        [.. Lengths.Select((_, index) => (Text(new[] { 30, 31, 100, 333, 700, 1024, 1447, 1448, 1200, 29, 64 }[index], 100 + index), new[] { 0, 1, 37, 200, 671, 8, 1418, 1419, 7, 0, 35 }[index]))];

    /// <summary>What of a request is not as it should be.</summary>
    private enum Fault
    {
        None,
        Again,
        AgainAnother,
        Sequence,
        Acknowledgment,
        Flags,
        OldClock,
        Payload,
        Longer,
        Shorter,
        Window,
        Checksum,
        PartialChecksum,
        PartialChecksumWrong,
        OtherPort,
        OtherAddress,
        Options,
        Fragment,
        NotLent,
        Withdrawn,
        SmallSegment,
        Vlan,
        AgainInAnotherSecond,
        Nobody,
    }

    private sealed record Draw(bool V4, int Request, uint Receive, uint Send, uint Stamp, uint Recent, byte Scale, uint Offset, Fault Fault, int Salt, bool Pushes);

    private static readonly Gen<Draw> Draws =
        from v4 in Gen.Bool
        from request in Gen.Int[0, Lengths.Length - 1]
        from receive in Gen.OneOf(Gen.UInt, Gen.UInt[uint.MaxValue - 1100, uint.MaxValue])
        from send in Gen.OneOf(Gen.UInt, Gen.UInt[uint.MaxValue - 1500, uint.MaxValue])
        from stamp in Gen.UInt
        from ahead in Gen.OneOf(Gen.Const(0u), Gen.UInt[0, int.MaxValue])
        from scale in Gen.Byte[0, 14]
        from offset in Gen.UInt
        from fault in Gen.Frequency((2, Gen.Const(Fault.None)), (1, Gen.Const(Fault.Again)), (3, Gen.Int[0, (int)Fault.Nobody].Select(number => (Fault)number)))
        from salt in Gen.Int[0, 1 << 20]
        from pushes in Gen.Bool
        select new Draw(v4, request, receive, send, stamp, stamp - ahead, scale, offset, fault, salt, pushes);

    internal struct Calls(long ns) : IHelperCalls
    {
        public readonly ulong Call(int helper, ulong r1, ulong r2, ulong r3, ulong r4, ulong r5) => helper == 8 ? 0 : (ulong)ns;
    }

    private static byte[] Text(int length, int seed)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private static AnswerTable Table()
    {
        var table = new AnswerTable("test", 0x1234_5678_9ABC_DEF1);
        table.SetTime(Seconds);
        for (int i = 0; i < Requests.Length; i++)
        {
            int place = table.PlaceOf(Requests[i]);
            table.Clear(place);
            table.Write(place, Requests[i], Responses[i].Bytes, Responses[i].DatePlace, 5, table.Epoch);
            Assert.True(table.Holds(place, Requests[i]));
        }

        return table;
    }

    private static HandshakeAnswer Answer(AnswerTable table, int farewells) => new(
        [80], Own, Hardware, new SipHash(3, 4), OriginNs, 65_535, 3, 8_192, 1460, 1440, farewells, table.Descriptor, table.Key);

    [Fact]
    public void Our_machine_answers_as_the_stack_would()
    {
        Requires.Root();
        using AnswerTable table = Table();
        VerifyResult verified = Verifier.Verify(HandshakeProgram.ForOwnMachine(Answer(table, 1)), HandshakeProgram.OwnContract);
        Assert.True(verified.IsAccepted, verified.Rejection?.ToString());
        byte[] context = new byte[HandshakeProgram.OwnTableBytes], memory = new byte[HandshakeProgram.OwnMemoryBytes];
        table.Bytes.CopyTo(context.AsSpan(FarewellTable.SizeBytes));
        int answered = 0, passed = 0;
        Gen.Select(Draws, Gen.Long[0, 1L << 50]).Sample(
            (draw, nowUs) =>
            {
                int lent = Prepare(table, draw), answer = table.PlaceOf(Requests[draw.Request]);
                byte[] request = Build(draw);
                Span<byte> after = context.AsSpan(FarewellTable.SizeBytes);
                int at = AnswerTable.ConnectionsAt + (lent * AnswerTable.ConnectionBytes);
                table.Bytes[..AnswerTable.ScratchAt].CopyTo(after);
                table.Bytes.Slice(at, AnswerTable.ConnectionBytes).CopyTo(after[at..]);
                memory.AsSpan().Clear();
                request.AsSpan(0, Math.Min(request.Length, memory.Length)).CopyTo(memory);
                var calls = new Calls((nowUs * 1000) + 999);
                ExecutionResult result = verified.Program!.Run(ProgramInput.WritableBoth(memory, context) with { R2 = BinaryPrimitives.ReadUInt16LittleEndian(request.AsSpan(12)) }, ref calls);
                Assert.Equal(ExecutionStatus.Completed, result.Status);
                byte[]? expected = Expected(table, draw, lent, nowUs);
                if (expected is null)
                {
                    Assert.Equal(0UL, result.R0);
                    Assert.Equal(request, memory[..request.Length]);
                    Assert.Equal(Touched(table.Bytes, lent, answer), Touched(after, lent, answer));
                    passed++;
                }
                else
                {
                    Assert.Equal(1UL, result.R0 >> 32);
                    byte[] whole = memory[..expected.Length];
                    CorrectSum(whole.AsSpan(draw.V4 ? 34 : 54), (uint)result.R0, isPartial: false);
                    if (draw.Fault == Fault.PartialChecksum)
                    {
                        whole[draw.V4 ? 50 : 70] = expected[draw.V4 ? 50 : 70];   // only the kernel knows that it is partial
                        whole[draw.V4 ? 51 : 71] = expected[draw.V4 ? 51 : 71];
                    }

                    Assert.Equal(expected, whole);
                    HasGoneOn(MemoryMarshal.Read<LentConnection>(after[at..]), table.Connection(lent), draw, nowUs);
                    answered++;
                }

                GiveBack(table, lent);
            },
            iter: 3000, threads: 1);
        Assert.True(answered > 500 && passed > 500, $"{answered} answered, {passed} not");
    }

    [Fact]
    public void The_kernel_answers_as_the_stack_would()
    {
        Requires.Root();
        using AnswerTable table = Table();
        using var farewells = new FarewellTable("test");
        using SafeFileHandle program = IngressHook.Load("test", BpfAbi.PROG_TYPE_SCHED_CLS, HandshakeProgram.ForIngress(Answer(table, farewells.Descriptor)));
        byte[] output = new byte[2048];
        int answered = 0, passed = 0;
        AnsweredCounts before = table.Answered;
        Draws.Sample(
            draw =>
            {
                int lent = Prepare(table, draw), answer = table.PlaceOf(Requests[draw.Request]);
                LentConnection was = table.Connection(lent);
                byte[] request = Build(draw), touched = Touched(table.Bytes, lent, answer);
                long beforeUs = System.Diagnostics.Stopwatch.GetTimestamp() / 1000;
                int verdict = IngressHook.Run("test", program, request, output, out int lengthBytes);
                long afterUs = System.Diagnostics.Stopwatch.GetTimestamp() / 1000;
                byte[] made = output[..lengthBytes];
                if (verdict != 7)
                {
                    Assert.Equal(-1, verdict);
                    Assert.Equal(request, made);
                    Assert.Equal(touched, Touched(table.Bytes, lent, answer));
                    Assert.True(draw.Fault == Fault.PartialChecksum || Expected(table, draw, lent, beforeUs) is null, draw.ToString());
                    passed++;
                }
                else
                {
                    LentConnection now = table.Connection(lent);
                    table.Connection(lent) = was;
                    Assert.InRange(now.LastUs, beforeUs, afterUs);
                    byte[]? expected = Expected(table, draw, lent, now.LastUs);
                    if (draw.Fault == Fault.PartialChecksum)
                    {
                        // A packet from nowhere has a whole sum as far as the kernel knows, so it is treated as one.
                        made.AsSpan(draw.V4 ? 50 : 70, 2).Clear();
                        expected.AsSpan(draw.V4 ? 50 : 70, 2).Clear();
                    }

                    Assert.Equal(expected, made);
                    HasGoneOn(now, was, draw, now.LastUs);
                    table.Connection(lent) = now;
                    answered++;
                }

                GiveBack(table, lent);
            },
            iter: 3000, threads: 1);
        Assert.True(answered > 500 && passed > 500, $"{answered} answered, {passed} not");
        Assert.InRange(table.Answered.Requests - before.Requests, 500, answered);   // those that came again count once
        Assert.Equal(5 * (table.Answered.Requests - before.Requests), table.Answered.BodyBytes - before.BodyBytes);
    }

    private static ConnectionKey KeyOf(Draw draw) =>
        new(Own[draw.V4 ? 0 : 1].Address, 80, draw.V4 ? InternetAddress.Parse("10.9.0.1") : InternetAddress.Parse("fd09::1"), (ushort)(1024 + (draw.Salt % 60_000)));

    // The connection as it is lent, as a fault of the table's may have it.
    private static int Prepare(AnswerTable table, Draw draw)
    {
        ConnectionKey key = KeyOf(draw);
        int place = table.PlaceOf(key), answer = table.PlaceOf(Requests[draw.Request]);
        bool isAgain = draw.Fault is Fault.Again or Fault.AgainAnother or Fault.AgainInAnotherSecond;
        ref LentConnection lent = ref table.Connection(place);
        lent = new LentConnection
        {
            Names = ConnectionNames.Of(key),
            ReceiveNext = draw.Receive,
            SendNext = draw.Send,
            RecentTimestamp = draw.Recent,
            TimestampOffset = draw.Offset,
            PeerScale = draw.Scale,
            SegmentBytes = draw.Fault == Fault.SmallSegment ? (uint)Responses[draw.Request].Bytes.Length - 1 : 1448,
            Window = BinaryPrimitives.ReverseEndianness(Window),
        };
        if (isAgain)
        {
            lent.Count = 1;
            lent.LastReceive = draw.Receive;
            lent.LastSend = draw.Send;
            lent.ReceiveNext = draw.Receive + (uint)Requests[draw.Request].Length;
            lent.SendNext = draw.Send + (uint)Responses[draw.Request].Bytes.Length;
            lent.LastAnswer = (uint)answer + 1;
            lent.LastAnswerNumber = MemoryMarshal.Read<ulong>(table.Bytes[(AnswerTable.AnswersAt + (answer * AnswerTable.AnswerBytes) + AnswerTable.NumberAt)..]) + (draw.Fault == Fault.AgainAnother ? 1u : 0);
            lent.LastSeconds = Seconds - (draw.Fault == Fault.AgainInAnotherSecond ? 1 : 0);
        }

        if (draw.Fault == Fault.OtherAddress)
        {
            lent.Names.RemoteHigh ^= 1UL << (draw.Salt % 64);
        }
        else if (draw.Fault == Fault.OtherPort)
        {
            lent.Names.Ports ^= 1UL << (draw.Salt % 32);
        }

        if (draw.Fault == Fault.Withdrawn)
        {
            table.Withdraw();
        }

        if (draw.Fault != Fault.NotLent)
        {
            table.Lend(place);
        }

        return place;
    }

    private static void GiveBack(AnswerTable table, int place)
    {
        if (table.Connection(place).Word != 0)
        {
            table.Recall(place);
        }

        MemoryMarshal.Write(table.Bytes, 1UL);   // what was withdrawn holds again
    }

    // A connection's place, and what an answer says beside its bytes.
    private static byte[] Touched(ReadOnlySpan<byte> table, int place, int answer) =>
        [.. table.Slice(AnswerTable.ConnectionsAt + (place * AnswerTable.ConnectionBytes), AnswerTable.ConnectionBytes),
            .. table.Slice(AnswerTable.AnswersAt + (answer * AnswerTable.AnswerBytes), AnswerTable.UsedAt)];

    private static TcpSegment SegmentOf(Draw draw)
    {
        bool isOld = draw.Fault == Fault.OldClock;
        uint stamp = isOld ? draw.Recent - 1 - (uint)draw.Salt : draw.Stamp;
        int response = Responses[draw.Request].Bytes.Length;
        ushort window = draw.Fault == Fault.Window ? (ushort)((response - 1) >> draw.Scale) : (ushort)Math.Max((response + (1 << draw.Scale) - 1) >> draw.Scale, draw.Salt % 65536);
        return new TcpSegment(
            KeyOf(draw).RemotePort, 80, draw.Receive + (draw.Fault == Fault.Sequence ? 1u << (draw.Salt % 32) : 0), draw.Send + (draw.Fault == Fault.Acknowledgment ? 1u << (draw.Salt % 32) : 0),
            draw.Fault == Fault.Flags ? Flags(draw) : TcpFlags.Ack | (draw.Pushes ? TcpFlags.Psh : 0), window, new TcpOptions(HasTimestamps: true, Timestamp: stamp, TimestampEcho: (uint)draw.Salt));
    }

    private static TcpFlags Flags(Draw draw) => new TcpFlags[] { TcpFlags.Ack | TcpFlags.Fin, TcpFlags.Psh, TcpFlags.Ack | TcpFlags.Syn, TcpFlags.Ack | TcpFlags.Rst, TcpFlags.Ack | (TcpFlags)0x20, TcpFlags.Ack | (TcpFlags)0x80, 0 }[draw.Salt % 7];

    private static byte[] Build(Draw draw)
    {
        byte[] payload = Requests[draw.Request].ToArray();
        switch (draw.Fault)
        {
            case Fault.Payload:
                payload[draw.Salt % payload.Length] ^= (byte)(1 << (draw.Salt % 8));
                break;
            case Fault.Longer:
                payload = [.. payload, 0];
                break;
            case Fault.Shorter:
                payload = payload[..^1];
                break;
        }

        ConnectionKey key = KeyOf(draw);
        TcpSegment segment = SegmentOf(draw);
        byte[] options = draw.Fault == Fault.Options ? [1, 1, 1, 1] : [];
        int tcpBytes = segment.SizeBytes + options.Length + payload.Length;
        byte[] packet = Frame(key, draw.V4, tcpBytes, draw.Fault == Fault.Fragment);
        Span<byte> tcp = packet.AsSpan(draw.V4 ? 34 : 54);
        segment.Emit(tcp);
        options.CopyTo(tcp[segment.SizeBytes..]);
        tcp[12] += (byte)(options.Length << 2);
        payload.CopyTo(tcp[(segment.SizeBytes + options.Length)..]);
        TcpSegment.Seal(key.Remote, key.Local, tcp, 0, 0);
        switch (draw.Fault)
        {
            case Fault.Checksum:
                tcp[16 + (draw.Salt % 2)] ^= (byte)(1 << (draw.Salt % 8));
                break;
            case Fault.PartialChecksum or Fault.PartialChecksumWrong:
                ushort sum = PseudoSum(key, tcp.Length);
                BinaryPrimitives.WriteUInt16BigEndian(tcp[16..], (ushort)(sum + (draw.Fault == Fault.PartialChecksumWrong ? 1 + (draw.Salt % 1000) : 0)));
                break;
            case Fault.Vlan:
                packet[12] = 0x81;
                packet[13] = 0;
                break;
        }

        return packet;
    }

    private static ushort PseudoSum(in ConnectionKey key, int lengthBytes)
    {
        // Sealing an empty segment of that length, with the words of a segment that sum to nothing, leaves the complement.
        byte[] nothing = new byte[lengthBytes];
        TcpSegment.Seal(key.Remote, key.Local, nothing, 0, 0);
        return (ushort)~BinaryPrimitives.ReadUInt16BigEndian(nothing.AsSpan(16));
    }

    internal static byte[] Frame(in ConnectionKey key, bool v4, int tcpBytes, bool isFragment = false)
    {
        byte[] packet = new byte[14 + (v4 ? 20 : 40) + tcpBytes];
        new EthernetFrame(Hardware, Peer, v4 ? EtherType.Ipv4 : EtherType.Ipv6).Emit(packet);
        if (v4)
        {
            new Ipv4Packet(key.Remote, key.Local, IpProtocol.Tcp, tcpBytes, TimeToLive: 3, DontFragment: false, MoreFragments: isFragment, Identification: 77).Emit(packet.AsSpan(14));
        }
        else
        {
            new Ipv6Packet(key.Remote, key.Local, isFragment ? (IpProtocol)44 : IpProtocol.Tcp, tcpBytes, HopLimit: 3, FlowLabel: 0x12345).Emit(packet.AsSpan(14));
        }

        return packet;
    }

    // The response as the stack's own code writes it; null where the request is left to the stack.
    private static byte[]? Expected(AnswerTable table, Draw draw, int place, long nowUs)
    {
        if (draw.Fault is not (Fault.None or Fault.Again or Fault.PartialChecksum or Fault.Nobody))
        {
            return null;
        }

        LentConnection lent = table.Connection(place);
        ConnectionKey key = KeyOf(draw);
        byte[] body = Responses[draw.Request].Bytes.ToArray();
        HttpDate.Format(Seconds, body.AsSpan(Responses[draw.Request].DatePlace));
        TcpSegment request = SegmentOf(draw);
        var segment = new TcpSegment(
            key.LocalPort, key.RemotePort, draw.Send, draw.Receive + (uint)Requests[draw.Request].Length, TcpFlags.Ack | TcpFlags.Psh, Window,
            new TcpOptions(HasTimestamps: true, Timestamp: (uint)(nowUs / 1000) + lent.TimestampOffset, TimestampEcho: request.Options.Timestamp));
        int tcpBytes = segment.SizeBytes + body.Length, at = draw.V4 ? 34 : 54;
        byte[] packet = new byte[at + tcpBytes];
        new EthernetFrame(Peer, Hardware, draw.V4 ? EtherType.Ipv4 : EtherType.Ipv6).Emit(packet);
        if (draw.V4)
        {
            new Ipv4Packet(key.Local, key.Remote, IpProtocol.Tcp, tcpBytes).Emit(packet.AsSpan(14));
        }
        else
        {
            new Ipv6Packet(key.Local, key.Remote, IpProtocol.Tcp, tcpBytes).Emit(packet.AsSpan(14));
        }

        Span<byte> tcp = packet.AsSpan(at);
        segment.Emit(tcp);
        body.CopyTo(tcp[segment.SizeBytes..]);
        TcpSegment.Seal(key.Local, key.Remote, tcp, 0, 0);
        return packet;
    }

    private static void HasGoneOn(in LentConnection now, LentConnection was, Draw draw, long nowUs)
    {
        TcpSegment request = SegmentOf(draw);
        bool isAgain = draw.Fault == Fault.Again;
        LentConnection expected = was;
        expected.RecentTimestamp = request.Options.Timestamp;
        expected.PeerWindow = (uint)request.Window << draw.Scale;
        expected.LastUs = nowUs;
        if (!isAgain)
        {
            expected.Count++;
            expected.LastReceive = draw.Receive;
            expected.LastSend = draw.Send;
            expected.ReceiveNext = draw.Receive + (uint)Requests[draw.Request].Length;
            expected.SendNext = draw.Send + (uint)Responses[draw.Request].Bytes.Length;
            expected.LastSeconds = Seconds;
            expected.LastAnswer = now.LastAnswer;
            expected.LastAnswerNumber = now.LastAnswerNumber;
            Assert.NotEqual(0u, now.LastAnswer);
        }

        Assert.Equal(expected, now);
    }

    internal static void CorrectSum(Span<byte> tcp, uint difference, bool isPartial)
    {
        ulong sum = (ushort)~BinaryPrimitives.ReadUInt16LittleEndian(tcp[16..]) + (ulong)difference;
        while (sum >> 16 != 0)
        {
            sum = (sum & 0xFFFF) + (sum >> 16);
        }

        BinaryPrimitives.WriteUInt16LittleEndian(tcp[16..], isPartial ? (ushort)sum : (ushort)~sum);
    }
}
