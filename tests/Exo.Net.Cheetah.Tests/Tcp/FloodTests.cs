// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using CsCheck;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Wire;
using Exo.Simulation.Timing;

namespace Exo.Net.Cheetah.Tests.Tcp;

/// <summary>Over IPv4.</summary>
public sealed class FloodV4Tests() : FloodTests(isV6: false);

/// <summary>Over IPv6.</summary>
public sealed class FloodV6Tests() : FloodTests(isV6: true);

/// <summary>Hostile traffic: memory stays bounded, answers stay few, and a connection that was there goes on.</summary>
public abstract class FloodTests : IDisposable
{
    private static readonly MacAddress OwnHardware = new(0x02_00_00_00_00_01), PeerHardware = new(0x02_00_00_00_00_02);

    private readonly bool isV6;
    private readonly InternetAddress own, peer;
    private readonly FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly VirtualTime time = new();
    private readonly ScriptedDevice device;
    private readonly NetworkStack stack;
    private readonly Pattern service = new(0, closesWhenSent: false);
    private uint ownNext;

    protected FloodTests(bool isV6)
    {
        this.isV6 = isV6;
        own = InternetAddress.Parse(isV6 ? "fd00::1" : "10.0.0.1");
        peer = InternetAddress.Parse(isV6 ? "fd00::2" : "10.0.0.2");
        device = new ScriptedDevice(frames);
        stack = new NetworkStack(device, new NetworkStackOptions
        {
            Addresses = [InterfaceAddress.Parse("10.0.0.1/24"), InterfaceAddress.Parse("fd00::1/64")],
            Time = time, Seed = 9, ReceiveWindowBytes = 64_000, HalfOpenMax = 100, ReceiveMemoryBytesMax = 1 << 20,
        });
        stack.Poll();
        stack.Link.Neighbors.Learn(peer, PeerHardware, mayAdd: true, stack.NowUs);
        stack.Listen(80, service);
        Establish();
    }

    public void Dispose()
    {
        stack.Dispose();
        frames.Dispose();
        GC.SuppressFinalize(this);
    }

    private int IpBytes => isV6 ? Ipv6Packet.SizeBytes : Ipv4Packet.SizeBytes;

    private byte[] Frame(InternetAddress source, in TcpSegment segment, ReadOnlySpan<byte> payload)
    {
        byte[] frame = new byte[EthernetFrame.SizeBytes + IpBytes + segment.SizeBytes + payload.Length];
        Heads(frame, source);
        segment.Emit(frame.AsSpan(EthernetFrame.SizeBytes + IpBytes));
        payload.CopyTo(frame.AsSpan(EthernetFrame.SizeBytes + IpBytes + segment.SizeBytes));
        return frame;
    }

    private void Heads(Span<byte> frame, InternetAddress source)
    {
        new EthernetFrame(OwnHardware, PeerHardware, isV6 ? EtherType.Ipv6 : EtherType.Ipv4).Emit(frame);
        int payloadBytes = frame.Length - EthernetFrame.SizeBytes - IpBytes;
        if (isV6)
        {
            new Ipv6Packet(source, own, IpProtocol.Tcp, payloadBytes).Emit(frame[EthernetFrame.SizeBytes..]);
        }
        else
        {
            new Ipv4Packet(source, own, IpProtocol.Tcp, payloadBytes).Emit(frame[EthernetFrame.SizeBytes..]);
        }
    }

    private static TcpSegment Segment(TcpFlags flags, uint sequence, uint acknowledgment = 0, ushort port = 4000) =>
        new(port, 80, sequence, acknowledgment, flags, 65535, default);

    private void Establish()
    {
        device.Arrive(Frame(peer, Segment(TcpFlags.Syn, 0), default));
        stack.Poll();
        ownNext = device.Sent.Dequeue().Segment.Sequence + 1;
        device.Arrive(Frame(peer, Segment(TcpFlags.Ack, 1, ownNext), default));
        stack.Poll();
        Assert.Equal(TcpState.Established, service.Connection!.State);
    }

    // The connection that was there still takes bytes in order.
    private void StillWorks(uint sequence)
    {
        byte[] bytes = [Pattern.At(service.Received)];
        long before = service.Received;
        device.Arrive(Frame(peer, Segment(TcpFlags.Ack, sequence, ownNext), bytes));
        stack.Poll();
        Assert.True(service.Received > before);
    }

    [Fact]
    public void A_flood_of_SYNs_is_answered_with_cookies_and_keeps_nothing()
    {
        var random = new Random(1);
        for (int i = 0; i < 20_000; i++)
        {
            InternetAddress source = isV6 ? new InternetAddress(0xFD00_0000_0000_0000, 3 + (ulong)random.Next(200)) : InternetAddress.FromV4(0x0A00_0003 + (uint)random.Next(200));
            device.Arrive(Frame(source, Segment(TcpFlags.Syn, (uint)random.Next(), port: (ushort)random.Next(1024, 65536)), default));
            if (i % 64 == 0)
            {
                stack.Poll();
                device.Sent.Clear();
            }
        }

        stack.Poll();
        Assert.InRange(stack.ConnectionCount, 1, 101);
        Assert.True(stack.Tcp.Counters.CookiesSent > 10_000);
        StillWorks(1);
        time.Advance(TimeSpan.FromMinutes(3));
        for (int i = 0; i < 10; i++)
        {
            stack.Poll();
            time.Advance(TimeSpan.FromSeconds(30));
        }

        Assert.Equal(1, stack.ConnectionCount);   // what was half open has been given up
    }

    [Fact]
    public void Resets_and_acknowledgments_with_guessed_numbers_change_nothing_and_are_seldom_answered()
    {
        var random = new Random(2);
        for (int i = 0; i < 20_000; i++)
        {
            TcpFlags flags = (i % 3) switch { 0 => TcpFlags.Rst, 1 => TcpFlags.Syn, _ => TcpFlags.Ack };
            uint sequence = 2 + (uint)random.Next(60_000);   // in the window, not the exact one
            device.Arrive(Frame(peer, Segment(flags, sequence, ownNext + 100_000 + (uint)random.Next(1000)), default));
            if (i % 64 == 0)
            {
                stack.Poll();
            }
        }

        stack.Poll();
        Assert.Equal(TcpState.Established, service.Connection!.State);
        Assert.InRange(device.Sent.Count, 1, 3);   // no time has passed: one challenge
        StillWorks(1);
    }

    [Fact]
    public void Segments_for_nobody_are_reset_so_many_a_second()
    {
        for (int i = 0; i < 5000; i++)
        {
            device.Arrive(Frame(peer, Segment(TcpFlags.Ack, 1, 1, port: (ushort)(5000 + i)), default));
        }

        for (int i = 0; i < 200; i++)
        {
            stack.Poll();
        }

        Assert.InRange(device.Sent.Count, 900, 1100);
    }

    [Fact]
    public void Tiny_and_overlapping_segments_stay_within_bounds_and_the_first_bytes_count()
    {
        var random = new Random(3);
        for (int i = 0; i < 20_000; i++)
        {
            // Out of order always: the byte at 1 never comes.
            uint sequence = 2 + (uint)random.Next(60_000);
            byte[] bytes = new byte[random.Next(1, 40)];
            for (int k = 0; k < bytes.Length; k++)
            {
                bytes[k] = Pattern.At(sequence - 1 + k);
            }

            device.Arrive(Frame(peer, Segment(TcpFlags.Ack, sequence, ownNext), bytes));
            if (i % 64 == 0)
            {
                stack.Poll();
                device.Sent.Clear();
            }
        }

        stack.Poll();
        Assert.InRange(service.Connection!.Received!.RangeCount, 1, ReceiveQueue.RangesMax);
        Assert.InRange(stack.Tcp.ReceiveBytes, 1, 256 * 1024);
        StillWorks(1);
        Assert.True(service.Received >= 1);   // and every byte that was connected by it was right
    }

    [Fact]
    public void Many_peers_that_send_out_of_order_share_one_bound()
    {
        service.Checks = false;
        for (int i = 0; i < 200; i++)
        {
            ushort port = (ushort)(6000 + i);
            device.Sent.Clear();
            device.Arrive(Frame(peer, Segment(TcpFlags.Syn, 0, port: port), default));
            stack.Poll();
            uint next = device.Sent.Dequeue().Segment.Sequence + 1;
            device.Arrive(Frame(peer, Segment(TcpFlags.Ack, 1, next, port), default));
            device.Arrive(Frame(peer, Segment(TcpFlags.Ack, 50_001, next, port), new byte[1000]));
            stack.Poll();
        }

        Assert.InRange(stack.Tcp.ReceiveBytes, 1, (1 << 20) + (256 * 1024));
    }

    [Fact]
    public void Fragments_that_never_complete_are_forgotten()
    {
        byte[] frame = new byte[EthernetFrame.SizeBytes + IpBytes + (isV6 ? 8 : 0) + 800];
        for (int i = 0; i < 5000; i++)
        {
            int offset = (i % 80) * 800;
            Heads(frame, peer);
            Span<byte> ip = frame.AsSpan(EthernetFrame.SizeBytes);
            if (isV6)
            {
                ip[6] = 44;
                Span<byte> fragment = ip[Ipv6Packet.SizeBytes..];
                fragment[0] = (byte)IpProtocol.Tcp;
                BinaryPrimitives.WriteUInt16BigEndian(fragment[2..], (ushort)(offset | 1));
                BinaryPrimitives.WriteInt32BigEndian(fragment[4..], i);
            }
            else
            {
                new Ipv4Packet(peer, own, IpProtocol.Tcp, 800, DontFragment: false, MoreFragments: true, FragmentOffsetBytes: offset, Identification: (ushort)i).Emit(ip);
            }

            device.Arrive([.. frame]);
        }

        for (int i = 0; i < 200; i++)
        {
            stack.Poll();
        }

        Assert.InRange(stack.Input.Reassembly.Count, 1, Reassembly.PacketsMax);
        time.Advance(TimeSpan.FromMinutes(1));
        stack.Poll();
        Assert.Equal(0, stack.Input.Reassembly.Count);
        StillWorks(1);
    }

    [Fact]
    public void No_frame_makes_the_stack_throw()
    {
        service.Checks = false;
        long seen = 0;
        Gen.Select(Gen.UInt[0, 70_000], Gen.UInt[0, 3], Gen.Byte, Gen.Byte.Array[0, 60], Gen.Byte.Array[0, 40], Gen.Select(Gen.Int[12, 120], Gen.Byte).Array[0, 3], Gen.Int[0, 20]).Sample(
            (sequence, acknowledged, flags, payload, options, edits, cut) =>
            {
                // A segment for the connection that is there, or for the port, with options of any kind and a few bytes changed.
                int optionBytes = options.Length & ~3;
                byte[] frame = new byte[EthernetFrame.SizeBytes + IpBytes + TcpSegment.FixedBytes + optionBytes + payload.Length];
                Heads(frame, peer);
                Span<byte> tcp = frame.AsSpan(EthernetFrame.SizeBytes + IpBytes);
                ushort port = (ushort)(4000 + (sequence % 3));
                Segment((TcpFlags)(flags & ~(byte)TcpFlags.Rst), sequence, ownNext + acknowledged - 1, port).Emit(tcp);
                tcp[12] = (byte)((TcpSegment.FixedBytes + optionBytes) >> 2 << 4);
                options.AsSpan(0, optionBytes).CopyTo(tcp[TcpSegment.FixedBytes..]);
                payload.CopyTo(tcp[(TcpSegment.FixedBytes + optionBytes)..]);
                foreach ((int at, byte value) in edits)
                {
                    frame[at % frame.Length] = value;
                }

                lock (time)
                {
                    device.Arrive(frame[..^Math.Min(cut / 8, frame.Length)]);
                    time.Advance(TimeSpan.FromMilliseconds(flags));
                    stack.Poll();
                    device.Sent.Clear();
                    seen++;
                }
            }, iter: 20_000, threads: 1);
        Assert.True(seen >= 20_000);
        Assert.InRange(stack.ConnectionCount, 0, 101);
    }
}
