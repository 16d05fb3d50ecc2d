// SPDX-License-Identifier: MIT
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

namespace Exo.Net.Cheetah.Tests.Tcp.Answers;

/// <summary>The program runs in the kernel on one thread while another does to the table what a stack does.</summary>
public sealed class AnswerRaceTests : IDisposable
{
    private static readonly ConnectionKey Key = new(InternetAddress.Parse("10.9.0.2"), 80, InternetAddress.Parse("10.9.0.1"), 4000);
    private static readonly byte[] Request = [.. "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"u8];
    private static readonly MacAddress Hardware = MacAddress.Parse("02:00:5e:10:00:fe"), Peer = MacAddress.Parse("02:00:5e:10:00:01");
    private const int ResponseBytes = 700;

    private readonly AnswerTable table;
    private readonly FarewellTable farewells;
    private readonly SafeFileHandle program;
    private readonly int answer, place;

    public AnswerRaceTests()
    {
        Requires.Root();
        table = new AnswerTable("race", 77);
        farewells = new FarewellTable("race");
        table.SetTime(1_700_000_000);
        answer = table.PlaceOf(Request);
        place = table.PlaceOf(Key);
        program = IngressHook.Load("race", BpfAbi.PROG_TYPE_SCHED_CLS, HandshakeProgram.ForIngress(new HandshakeAnswer(
            [80], [InterfaceAddress.Parse("10.9.0.2/24")], Hardware, new SipHash(3, 4), 0, 65_535, 3, 8_192, 1460, 1440, farewells.Descriptor, table.Descriptor, table.Key)));
        Write((byte)'a');
    }

    public void Dispose()
    {
        program.Dispose();
        farewells.Dispose();
        table.Dispose();
    }

    private void Write(byte letter)
    {
        byte[] response = new byte[ResponseBytes];
        response.AsSpan().Fill(letter);
        table.Clear(answer);
        table.Write(answer, Request, response, 9, 5, table.Epoch);
    }

    private void Lend(uint receive, uint send)
    {
        table.Connection(place) = new LentConnection
        {
            Names = ConnectionNames.Of(Key),
            ReceiveNext = receive, SendNext = send, SegmentBytes = 1448, PeerScale = 7, Window = 0xFFFF,
        };
        table.Lend(place);
    }

    // What the kernel makes of the request with these numbers; null = it leaves it alone.
    private byte[]? Arrive(uint receive, uint send)
    {
        var segment = new TcpSegment(4000, 80, receive, send, TcpFlags.Ack | TcpFlags.Psh, 500, new TcpOptions(HasTimestamps: true, Timestamp: 5, TimestampEcho: 6));
        byte[] packet = new byte[34 + segment.SizeBytes + Request.Length], output = new byte[2048];
        new EthernetFrame(Hardware, Peer, EtherType.Ipv4).Emit(packet);
        new Ipv4Packet(Key.Remote, Key.Local, IpProtocol.Tcp, segment.SizeBytes + Request.Length).Emit(packet.AsSpan(14));
        segment.Emit(packet.AsSpan(34));
        Request.CopyTo(packet, 34 + segment.SizeBytes);
        TcpSegment.Seal(Key.Remote, Key.Local, packet.AsSpan(34), 0, 0);
        int verdict = IngressHook.Run("race", program, packet, output, out int lengthBytes);
        Assert.True(verdict is 7 or -1, $"{verdict}");
        return verdict == 7 ? output[..lengthBytes] : null;
    }

    [Fact]
    public void Who_takes_a_connection_back_finds_the_numbers_that_the_handler_came_to()
    {
        const int Rounds = 5_000, Least = 500;
        long answered = 0;
        uint receive = 1000, send = 0xFFFF_F000;
        ulong numbers = receive | ((ulong)send << 32);
        bool isEnding = false;
        Exception? failure = null;
        var handler = new Thread(() =>
        {
            try
            {
                // As a peer does: one request after the other, each with the numbers that the last answer left.
                while (!Volatile.Read(ref isEnding))
                {
                    ulong now = Volatile.Read(ref numbers);
                    while (!Volatile.Read(ref isEnding) && Arrive((uint)now, (uint)(now >> 32)) is { } response)
                    {
                        Assert.True(TcpSegment.Check(Key.Local, Key.Remote, response.AsSpan(34)));
                        Assert.True(TcpSegment.TryParse(response.AsSpan(34), out TcpSegment segment, out _));
                        Assert.Equal(((uint)(now >> 32), (uint)now + (uint)Request.Length), (segment.Sequence, segment.Acknowledgment));
                        now = segment.Acknowledgment | ((ulong)(segment.Sequence + ResponseBytes) << 32);
                        answered++;
                    }
                }
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        Lend(receive, send);
        handler.IsBackground = true;
        handler.Start();
        long counted = 0;
        for (int i = 0; (i < Rounds || Volatile.Read(ref answered) < Least) && failure is null; i++)
        {
            Thread.SpinWait(i % 200);
            table.Recall(place);
            LentConnection there = table.Connection(place);
            counted += there.Count;
            Assert.Equal(receive + (there.Count * (uint)Request.Length), there.ReceiveNext);
            Assert.Equal(send + (there.Count * ResponseBytes), there.SendNext);
            Assert.Equal(there.Count > 0, there.LastAnswer == (uint)answer + 1);
            (receive, send) = (there.ReceiveNext, there.SendNext);
            Volatile.Write(ref numbers, receive | ((ulong)send << 32));
            Lend(receive, send);
        }

        Volatile.Write(ref isEnding, true);
        handler.Join();
        Assert.Null(failure);
        table.Recall(place);
        counted += table.Connection(place).Count;
        Assert.Equal(answered, counted);
        Assert.Equal(answered, table.Answered.Requests);
    }

    [Fact]
    public void An_answer_that_is_replaced_while_it_is_given_is_the_old_one_or_the_new_one()
    {
        bool isEnding = false;
        Exception? failure = null;
        int answered = 0, different = 0;
        byte last = 0;
        var handler = new Thread(() =>
        {
            try
            {
                uint receive = 1, send = 1;
                Lend(receive, send);
                while (!Volatile.Read(ref isEnding))
                {
                    if (Arrive(receive, send) is not { } response)
                    {
                        continue;
                    }

                    Assert.True(TcpSegment.Check(Key.Local, Key.Remote, response.AsSpan(34)));
                    Span<byte> body = response.AsSpan(34 + 32);
                    body.Slice(9, HttpDate.LengthBytes).Fill(body[0]);
                    Assert.Equal(-1, body.IndexOfAnyExcept(body[0]));
                    different += body[0] != last ? 1 : 0;
                    last = body[0];
                    receive += (uint)Request.Length;
                    send += ResponseBytes;
                    answered++;
                }
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        handler.IsBackground = true;
        handler.Start();
        for (int i = 0; (i < 10_000 || Volatile.Read(ref answered) < 500 || Volatile.Read(ref different) < 10) && failure is null; i++)
        {
            Write((byte)('a' + (i % 26)));
            Thread.SpinWait(i % 100);
        }

        Volatile.Write(ref isEnding, true);
        handler.Join();
        Assert.Null(failure);
    }

    [Fact]
    public void A_withdrawn_answer_is_given_no_more_and_what_was_made_before_a_withdrawal_does_not_hold()
    {
        Lend(1, 1);
        Assert.NotNull(Arrive(1, 1));
        Assert.NotNull(Arrive(1, 1));   // once more
        table.Withdraw();
        Assert.Null(Arrive(1, 1));
        ulong epoch = table.Epoch;
        table.Withdraw();
        table.Clear(answer);
        table.Write(answer, Request, new byte[50], 0, 0, epoch);
        Assert.False(table.Holds(answer, Request));
        Assert.Null(Arrive(1 + (uint)Request.Length, 1 + ResponseBytes));
        Write((byte)'b');
        Assert.NotNull(Arrive(1 + (uint)Request.Length, 1 + ResponseBytes));
    }

    [Fact]
    public void A_source_that_changes_something_lets_nobody_take_it_up_meanwhile()
    {
        var changes = new DocumentChanges();
        changes.Add(table);
        ulong before = table.Epoch;
        changes.Begin();
        Assert.True(changes.IsChanging);
        Assert.NotEqual(before, table.Epoch);
        changes.Begin();
        changes.End();
        Assert.True(changes.IsChanging);
        changes.End();
        Assert.False(changes.IsChanging);
        ulong after = table.Epoch;
        changes.Remove(table);
        changes.Begin();
        Assert.Equal(after, table.Epoch);
    }
}
