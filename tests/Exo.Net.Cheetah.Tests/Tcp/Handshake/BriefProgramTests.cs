// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Diagnostics;
using System.Runtime.InteropServices;
using CsCheck;
using Exo.Core.DownloadedCode;
using Exo.Core.Linux;
using Exo.Core.Net;
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tcp.Answers;
using Exo.Net.Cheetah.Tcp.Handshake;
using Exo.Net.Cheetah.Wire;
using Exo.Tests;
using Microsoft.Win32.SafeHandles;

namespace Exo.Net.Cheetah.Tests.Tcp.Handshake;

/// <summary>
/// Connections of one request, on our own machine and in the running kernel: byte for byte the segments that the stack would send, both programs of a handler of one opinion, and whatever
/// differs in anything left alone.
/// </summary>
public sealed class BriefProgramTests : IDisposable
{
    private const int Stays = 3;   // the answer that does not end a connection

    private static readonly byte[][] Requests = RequestProgramTests.Requests;
    private static readonly SipHash Offsets = new(3, 4);
    private static readonly CookieSecrets Secrets = HandshakeProgramTests.Numbered();

    private readonly AnswerTable table;
    private readonly FarewellTable farewells;
    private readonly VerifiedProgram own;
    private readonly SafeFileHandle ingress, receive;
    private readonly byte[] context = new byte[HandshakeProgram.OwnTableBytes], memory = new byte[HandshakeProgram.OwnMemoryBytes], output = new byte[2048];
    private int answered, passed;

    public BriefProgramTests()
    {
        Requires.Root();
        table = new AnswerTable("test", 0x1234_5678_9ABC_DEF1);
        farewells = new FarewellTable("test");
        Secrets.ShareWith(farewells);
        HandshakeProgramTests.WithSecrets(context, Secrets);
        table.SetTime(RequestProgramTests.Seconds);
        for (int i = 0; i < Requests.Length; i++)
        {
            int place = table.PlaceOf(Requests[i]);
            table.Clear(place);
            table.Write(place, Requests[i], RequestProgramTests.Responses[i].Bytes, RequestProgramTests.Responses[i].DatePlace, 5, table.Epoch, closes: i != Stays);
        }

        var answer = new HandshakeAnswer(
            [80], RequestProgramTests.Own, RequestProgramTests.Hardware, Offsets, RequestProgramTests.OriginNs, 65_535, 3, 8_192, 1460, 1440, farewells.Descriptor, table.Descriptor, table.Key);
        own = Verifier.Verify(HandshakeProgram.ForOwnMachine(answer), HandshakeProgram.OwnContract).Require();
        ingress = IngressHook.Load("test", BpfAbi.PROG_TYPE_SCHED_CLS, HandshakeProgram.ForIngress(answer));
        receive = IngressHook.Load("test", BpfAbi.PROG_TYPE_SOCKET_FILTER, HandshakeProgram.ForReceive(answer));
        table.Bytes.CopyTo(context.AsSpan(FarewellTable.SizeBytes));
    }

    /// <summary>What of a first segment is not as it should be.</summary>
    private enum Fault
    {
        None,
        Again,
        AgainAcknowledged,
        AgainLate,
        Acknowledgment,
        Sequence,
        Held,
        TakenLately,
        TakenBefore,
        TakenAndEnded,
        BeingWritten,
        Lent,
        Withdrawn,
        Payload,
        Longer,
        Checksum,
        Window,
        Flags,
        Fragment,
        OtherPort,
        Last,
    }

    private sealed record Draw(bool V4, int Request, uint Isn, uint Stamp, byte Scale, int Size, long AgeUs, Fault Fault, int Salt, bool Pushes)
    {
        public ConnectionKey Key { get; } =
            new(RequestProgramTests.Own[V4 ? 0 : 1].Address, 80, V4 ? InternetAddress.Parse("10.9.0.1") : InternetAddress.Parse("fd09::1"), (ushort)(1024 + (Salt % 60_000)));

        public int ResponseBytes => RequestProgramTests.Responses[Request].Bytes.Length;

        public byte PeerScale => Scale == 15 ? (byte)0 : Scale;
    }

    private static readonly Gen<Draw> Draws =
        from v4 in Gen.Bool
        from request in Gen.Int[0, Requests.Length - 1]
        from isn in Gen.OneOf(Gen.UInt, Gen.UInt[uint.MaxValue - 1100, uint.MaxValue])
        from stamp in Gen.UInt
        from scale in Gen.Byte[0, 15]
        from size in Gen.Int[0, 7]
        from age in Gen.OneOf(Gen.Const(0L), Gen.Long[0, 260_000_000])
        from fault in Gen.Frequency((3, Gen.Const(Fault.None)), (2, Gen.Int[0, (int)Fault.Last].Select(number => (Fault)number)))
        from salt in Gen.Int[0, 1 << 20]
        from pushes in Gen.Bool
        select new Draw(v4, request, isn, stamp, scale, size, age, fault, salt, pushes);

    public void Dispose()
    {
        ingress.Dispose();
        receive.Dispose();
        farewells.Dispose();
        table.Dispose();
    }

    [Fact]
    public void Our_machine_answers_as_the_stack_would()
    {
        Gen.Select(Draws, Gen.Long[1L << 29, 1L << 50]).Sample(
            (draw, nowUs) =>
            {
                int place = Prepare(draw, nowUs);
                byte[] packet = Build(draw, SegmentOf(draw, nowUs)), before = table.Brief(place).ToArray();
                ulong result = Run(draw, packet, place, nowUs, out BriefConnection after);
                byte[]? expected = Expected(draw, nowUs, nowUs);
                if (expected is null)
                {
                    Assert.Equal(0UL, result);
                    Assert.Equal(packet, memory[..packet.Length]);
                    Assert.Equal(before, after.ToArray());
                    passed++;
                }
                else
                {
                    byte[] whole = memory[..expected.Length];
                    RequestProgramTests.CorrectSum(whole.AsSpan(draw.V4 ? 34 : 54), (uint)result, isPartial: false);
                    Assert.Equal(expected, whole);
                    IsKept(draw, nowUs, nowUs, after);
                    answered++;
                }

                PutBack(draw, place);
            },
            iter: 3000, threads: 1);
        Assert.True(answered > 300 && passed > 500, $"{answered} answered, {passed} not");
    }

    [Fact]
    public void The_kernel_answers_as_the_stack_would_and_shows_the_stack_only_the_rest()
    {
        long counted = 0;
        AnsweredCounts was = table.Answered;
        Draws.Sample(
            draw =>
            {
                long nowUs = Stopwatch.GetTimestamp() / 1000;
                int place = Prepare(draw, nowUs);
                byte[] packet = Build(draw, SegmentOf(draw, nowUs)), before = table.Brief(place).ToArray();
                bool isShown = IsShown(packet);
                int verdict = IngressHook.Run("test", ingress, packet, output, out int lengthBytes);
                long afterUs = Stopwatch.GetTimestamp() / 1000;
                BriefConnection now = table.Brief(place);
                if (afterUs / SynCookies.TickUs == nowUs / SynCookies.TickUs)
                {
                    Assert.Equal(isShown, verdict != 7);
                    Assert.Equal(isShown, Expected(draw, nowUs, nowUs) is null);
                    if (isShown)
                    {
                        Assert.Equal(-1, verdict);
                        Assert.Equal(packet, output[..lengthBytes]);
                        Assert.Equal(before, now.ToArray());
                        passed++;
                    }
                    else
                    {
                        bool isAgain = draw.Fault is Fault.Again or Fault.AgainAcknowledged;
                        long us = (long)(now.Word >> 2);
                        Assert.InRange(us, nowUs, afterUs);
                        Assert.Contains(
                            isAgain ? Enumerable.Range(0, (int)((afterUs / 1000) - (nowUs / 1000)) + 1).Select(ms => nowUs + (ms * 1000L)) : [us],
                            at => Expected(draw, nowUs, at).AsSpan().SequenceEqual(output.AsSpan(0, lengthBytes)));
                        IsKept(draw, nowUs, us, now);
                        counted += isAgain ? 0 : 1;
                        answered++;
                    }
                }

                PutBack(draw, place);
            },
            iter: 3000, threads: 1);
        Assert.True(answered > 300 && passed > 500, $"{answered} answered, {passed} not");
        Assert.Equal((counted, counted, counted * 5), (table.Answered.Requests - was.Requests, table.Answered.Connections - was.Connections, table.Answered.BodyBytes - was.BodyBytes));
    }

    /// <summary>What differs between the end of a connection and what is known of it.</summary>
    private enum Difference
    {
        None,
        Acknowledged,
        Sequence,
        Acknowledgment,
        Port,
        Address,
        Free,
        BeingWritten,
        TheStacks,
        Flags,
    }

    private static readonly Gen<(Draw, Difference, bool)> Ends =
        Gen.Select(Draws, Gen.OneOf(Gen.Const(Difference.None), Gen.Int[0, (int)Difference.Flags].Select(number => (Difference)number)), Gen.Bool);

    [Fact]
    public void The_end_is_acknowledged_as_often_as_it_comes_and_the_stack_hears_nothing_of_it()
    {
        Ends.Sample(
            (draw, difference, isFin) =>
            {
                // Numbers that no cookie has, or an acknowledgment alone might be the end of a handshake.
                uint receive = draw.Isn, send = (uint)((Stopwatch.GetTimestamp() / 1000 / SynCookies.TickUs) + 16) << 27;
                int place = table.BriefPlaceOf(draw.Key);
                ref BriefConnection brief = ref table.Brief(place);
                brief.Names = ConnectionNames.Of(draw.Key);
                brief.Word = (1_000_000UL << 2) | difference switch { Difference.Acknowledged => 2UL, Difference.BeingWritten => 3, _ => 1 };
                brief.Word = difference == Difference.Free ? 0 : brief.Word;
                brief.Numbers = receive | ((ulong)send << 32);
                brief.Numbers ^= difference switch { Difference.Sequence => 1UL << (draw.Salt % 32), Difference.Acknowledgment => 1UL << (32 + (draw.Salt % 27)), _ => 0 };
                brief.Names.Ports ^= difference == Difference.Port ? 1UL << (draw.Salt % 32) : 0;
                brief.Names.LocalHigh ^= difference == Difference.Address ? 1UL << (draw.Salt % 64) : 0;
                brief.TimestampOffset = draw.Stamp * 3;
                if (difference == Difference.TheStacks)
                {
                    table.Hold(draw.Key);   // a connection of the same names has been opened
                    table.LetGo(draw.Key);
                }

                TcpFlags flags = (isFin ? TcpFlags.Fin : 0) | (difference == Difference.Flags ? TcpFlags.Rst : TcpFlags.Ack);
                var segment = new TcpSegment(draw.Key.RemotePort, 80, receive, send, flags, 77, new TcpOptions(HasTimestamps: true, Timestamp: draw.Stamp, TimestampEcho: 5));
                byte[] packet = Build(draw with { Fault = Fault.None, Request = -1 }, segment);
                bool isKnown = difference is Difference.None or Difference.Acknowledged;
                const long NowUs = 5_000_000;
                ulong result = Run(draw, packet, place, NowUs, out BriefConnection after);
                Assert.Equal(isKnown && isFin ? 1UL : 0, result >> 32);
                if (isKnown && isFin)
                {
                    byte[] whole = memory[..packet.Length];
                    RequestProgramTests.CorrectSum(whole.AsSpan(draw.V4 ? 34 : 54), (uint)result, isPartial: false);
                    Assert.Equal(Acknowledgment(NowUs), whole);
                    Assert.Equal(2UL, after.Word & 3);
                    answered++;
                }

                Assert.Equal(!isKnown, IsShown(packet));
                long beforeMs = Stopwatch.GetTimestamp() / 1_000_000;
                for (int i = 0; i < 2; i++)
                {
                    int verdict = IngressHook.Run("test", ingress, packet, output, out int lengthBytes);
                    Assert.Equal(isKnown && isFin ? 7 : -1, verdict);
                    if (verdict == 7)
                    {
                        byte[] made = output[..lengthBytes];
                        long afterMs = Stopwatch.GetTimestamp() / 1_000_000;
                        Assert.Contains(Enumerable.Range(0, (int)(afterMs - beforeMs) + 1), ms => Acknowledgment((beforeMs + ms) * 1000).AsSpan().SequenceEqual(made));
                        Assert.Equal(2UL, table.Brief(place).Word & 3);
                    }
                }

                table.Brief(place) = default;

                byte[] Acknowledgment(long nowUs) => Reply(
                    draw, new TcpSegment(80, draw.Key.RemotePort, send, receive + 1, TcpFlags.Ack, 65_535,
                        new TcpOptions(HasTimestamps: true, Timestamp: (uint)(nowUs / 1000) + (draw.Stamp * 3), TimestampEcho: draw.Stamp)), []);
            },
            iter: 2000, threads: 1);
        Assert.True(answered > 300);
    }

    [Fact]
    public void The_end_of_a_handshake_is_not_shown_and_everything_like_it_is()
    {
        Draws.Sample(
            draw =>
            {
                long nowUs = Stopwatch.GetTimestamp() / 1000;
                TcpSegment segment = SegmentOf(draw, nowUs) with { Flags = TcpFlags.Ack };
                byte[] packet = Build(draw with { Request = -1 }, segment);
                bool isShown = IsShown(packet);
                if (Stopwatch.GetTimestamp() / 1000 / SynCookies.TickUs == nowUs / SynCookies.TickUs)
                {
                    Assert.Equal(!IsCookie(draw, nowUs) || draw.Fault is Fault.Fragment or Fault.OtherPort, isShown);
                    Assert.Equal(-1, IngressHook.Run("test", ingress, packet, output, out _));
                }

                answered += isShown ? 0 : 1;
            },
            iter: 1000, threads: 1);
        Assert.True(answered > 300);
    }

    private static bool IsCookie(Draw draw, long nowUs) =>
        draw.Fault is not (Fault.Acknowledgment or Fault.Sequence) && (nowUs / SynCookies.TickUs) - ((nowUs - draw.AgeUs) / SynCookies.TickUs) <= SynCookies.TicksValid;

    // As a packet socket has it: behind the Ethernet header that the kernel takes off.
    private bool IsShown(byte[] packet) => IngressHook.Run("test", receive, (byte[])[.. packet[..14], .. packet], output, out _) != 0;

    private ulong Run(Draw draw, byte[] packet, int place, long nowUs, out BriefConnection after)
    {
        Span<byte> there = context.AsSpan(FarewellTable.SizeBytes);
        int at = AnswerTable.BriefsAt + (place * AnswerTable.BriefBytes), lent = AnswerTable.ConnectionsAt + (table.PlaceOf(draw.Key) * AnswerTable.ConnectionBytes);
        table.Bytes[..AnswerTable.ScratchAt].CopyTo(there);
        table.Bytes.Slice(at, AnswerTable.BriefBytes).CopyTo(there[at..]);
        table.Bytes.Slice(lent, AnswerTable.ConnectionBytes).CopyTo(there[lent..]);
        memory.AsSpan().Clear();
        packet.CopyTo(memory, 0);
        var calls = new RequestProgramTests.Calls((nowUs * 1000) + 999);
        ExecutionResult result = own.Run(ProgramInput.WritableBoth(memory, context) with { R2 = BinaryPrimitives.ReadUInt16LittleEndian(packet.AsSpan(12)) }, ref calls);
        Assert.Equal(ExecutionStatus.Completed, result.Status);
        after = MemoryMarshal.Read<BriefConnection>(there[at..]);
        return result.R0;
    }

    // The table as a fault may have it.
    private int Prepare(Draw draw, long nowUs)
    {
        int place = table.BriefPlaceOf(draw.Key);
        ref BriefConnection brief = ref table.Brief(place);
        brief.Names = ConnectionNames.Of(draw.Key);
        TcpSegment first = SegmentOf(draw, nowUs);
        switch (draw.Fault)
        {
            case Fault.Again or Fault.AgainAcknowledged or Fault.AgainLate:
                brief.Word = AgainWord(draw, nowUs - (draw.Fault == Fault.AgainLate ? BriefConnection.RepeatedUs + 1 + draw.Salt : 0));
                brief.Numbers = NumbersOf(draw, first);
                break;
            case Fault.Held:
                table.Hold(draw.Key);
                break;
            case Fault.TakenLately or Fault.TakenBefore or Fault.TakenAndEnded:
                brief.Names.Ports ^= 1UL << (draw.Salt % 32);
                long agoUs = draw.Fault == Fault.TakenBefore ? BriefConnection.KeptUs + 1 + draw.Salt : draw.Fault == Fault.TakenAndEnded ? 0 : draw.Salt % 2_000_000;
                brief.Word = ((ulong)(nowUs - agoUs) << 2) | (draw.Fault == Fault.TakenAndEnded ? 2u : 1);
                brief.Numbers = NumbersOf(draw, first);
                break;
            case Fault.BeingWritten:
                brief.Word = 3;
                break;
            case Fault.Lent:
                ref LentConnection lent = ref table.Connection(table.PlaceOf(draw.Key));
                lent = new LentConnection { Names = brief.Names, ReceiveNext = draw.Isn + 2 };
                table.Lend(table.PlaceOf(draw.Key));
                break;
            case Fault.Withdrawn:
                table.Withdraw();
                break;
        }

        return place;
    }

    private void PutBack(Draw draw, int place)
    {
        if (draw.Fault == Fault.Held)
        {
            table.LetGo(draw.Key);
        }
        else if (draw.Fault == Fault.Lent)
        {
            table.Recall(table.PlaceOf(draw.Key));
        }

        table.Brief(place) = default;
        MemoryMarshal.Write(table.Bytes, 1UL);   // what was withdrawn holds again
    }

    private static ulong NumbersOf(Draw draw, in TcpSegment first) =>
        (first.Sequence + (uint)Requests[draw.Request].Length) | ((ulong)(first.Acknowledgment + (uint)draw.ResponseBytes + 1) << 32);

    // The first segment behind a handshake whose SYN came a while ago.
    private static TcpSegment SegmentOf(Draw draw, long nowUs)
    {
        uint cookie = new SynCookies(Secrets).Make(draw.Key, draw.Isn, SynCookies.SegmentSizes[draw.Size], nowUs - draw.AgeUs);
        ushort window = draw.Fault == Fault.Window
            ? (ushort)((draw.ResponseBytes - 1) >> draw.PeerScale) : (ushort)Math.Max((draw.ResponseBytes + (1 << draw.PeerScale) - 1) >> draw.PeerScale, draw.Salt % 65536);
        TcpFlags flags = draw.Fault == Fault.Flags
            ? new TcpFlags[] { TcpFlags.Ack | TcpFlags.Fin, TcpFlags.Psh, TcpFlags.Ack | TcpFlags.Syn, TcpFlags.Ack | TcpFlags.Rst, TcpFlags.Ack | (TcpFlags)0x20, 0 }[draw.Salt % 6]
            : TcpFlags.Ack | (draw.Pushes ? TcpFlags.Psh : 0);
        return new TcpSegment(
            draw.Key.RemotePort, 80, draw.Isn + 1 + (draw.Fault == Fault.Sequence ? 1u << (draw.Salt % 32) : 0), cookie + 1 + (draw.Fault == Fault.Acknowledgment ? 1u << (draw.Salt % 24) : 0), flags, window,
            new TcpOptions(HasTimestamps: true, Timestamp: draw.Stamp, TimestampEcho: ((uint)draw.Salt << 4) | draw.Scale));
    }

    private static byte[] Build(Draw draw, TcpSegment segment)
    {
        byte[] payload = draw.Request < 0 ? [] : Requests[draw.Request].ToArray();
        if (draw is { Fault: Fault.Payload, Request: >= 0 })
        {
            payload[draw.Salt % payload.Length] ^= (byte)(1 << (draw.Salt % 8));
        }
        else if (draw is { Fault: Fault.Longer, Request: >= 0 })
        {
            payload = [.. payload, 0];
        }

        segment = draw.Fault == Fault.OtherPort ? segment with { DestinationPort = 81 } : segment;
        byte[] packet = RequestProgramTests.Frame(draw.Key, draw.V4, segment.SizeBytes + payload.Length, draw.Fault == Fault.Fragment);
        Span<byte> tcp = packet.AsSpan(draw.V4 ? 34 : 54);
        segment.Emit(tcp);
        payload.CopyTo(tcp[segment.SizeBytes..]);
        TcpSegment.Seal(draw.Key.Remote, draw.Key.Local, tcp, 0, 0);
        if (draw.Fault == Fault.Checksum)
        {
            tcp[16 + (draw.Salt % 2)] ^= (byte)(1 << (draw.Salt % 8));
        }

        return packet;
    }

    // The response as the stack's own code writes it; null where the segment is left to the stack.
    private static byte[]? Expected(Draw draw, long arrivedUs, long nowUs)
    {
        int fits = Math.Min(draw.V4 ? 1460 : 1440, SynCookies.SegmentSizes[draw.Size]) - TcpOptions.TimestampsBytes;
        if (draw.Fault is not (Fault.None or Fault.Again or Fault.AgainAcknowledged or Fault.TakenBefore or Fault.TakenAndEnded or Fault.Last)
            || draw.Request == Stays || draw.ResponseBytes > fits || !IsCookie(draw, arrivedUs))
        {
            return null;
        }

        byte[] body = RequestProgramTests.Responses[draw.Request].Bytes.ToArray();
        HttpDate.Format(RequestProgramTests.Seconds, body.AsSpan(RequestProgramTests.Responses[draw.Request].DatePlace));
        TcpSegment first = SegmentOf(draw, arrivedUs);
        return Reply(
            draw,
            new TcpSegment(
                80, draw.Key.RemotePort, first.Acknowledgment, first.Sequence + (uint)Requests[draw.Request].Length, TcpFlags.Ack | TcpFlags.Psh | TcpFlags.Fin, draw.Scale == 15 ? (ushort)65_535 : (ushort)8_192,
                new TcpOptions(HasTimestamps: true, Timestamp: (uint)(nowUs / 1000) + (uint)Offsets.Of(draw.Key, 1), TimestampEcho: draw.Stamp)),
            body);
    }

    private static byte[] Reply(Draw draw, in TcpSegment segment, byte[] body)
    {
        int tcpBytes = segment.SizeBytes + body.Length, at = draw.V4 ? 34 : 54;
        byte[] packet = new byte[at + tcpBytes];
        new EthernetFrame(MacAddress.Parse("02:00:5e:10:00:01"), RequestProgramTests.Hardware, draw.V4 ? EtherType.Ipv4 : EtherType.Ipv6).Emit(packet);
        if (draw.V4)
        {
            new Ipv4Packet(draw.Key.Local, draw.Key.Remote, IpProtocol.Tcp, tcpBytes).Emit(packet.AsSpan(14));
        }
        else
        {
            new Ipv6Packet(draw.Key.Local, draw.Key.Remote, IpProtocol.Tcp, tcpBytes).Emit(packet.AsSpan(14));
        }

        Span<byte> tcp = packet.AsSpan(at);
        segment.Emit(tcp);
        body.CopyTo(tcp[segment.SizeBytes..]);
        TcpSegment.Seal(draw.Key.Local, draw.Key.Remote, tcp, 0, 0);
        return packet;
    }

    private static ulong AgainWord(Draw draw, long us) => ((ulong)us << 2) | (draw.Fault == Fault.AgainAcknowledged ? 2u : 1);

    private static void IsKept(Draw draw, long arrivedUs, long nowUs, in BriefConnection now)
    {
        BriefConnection expected = new() { Word = draw.Fault is Fault.Again or Fault.AgainAcknowledged ? AgainWord(draw, arrivedUs) : ((ulong)nowUs << 2) | 1, Numbers = NumbersOf(draw, SegmentOf(draw, arrivedUs)), TimestampOffset = (uint)Offsets.Of(draw.Key, 1) };
        expected.Names = ConnectionNames.Of(draw.Key);
        Assert.Equal(expected.ToArray(), now.ToArray());
    }
}

internal static class BriefConnectionBytes
{
    public static byte[] ToArray(this BriefConnection brief) => MemoryMarshal.AsBytes(new ReadOnlySpan<BriefConnection>(in brief)).ToArray();
}
