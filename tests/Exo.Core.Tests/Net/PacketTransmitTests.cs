// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using CsCheck;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Tests;

namespace Exo.Core.Tests.Net;

/// <summary>The two ways out of a packet socket: a ring for packets that fit into a slot, calls for the others.</summary>
public sealed class PacketTransmitTests
{
    private const int TcpBytes = 32;

    // One frame for a packet's header, and sixteen that all payload is taken from.
    private const int HeaderFrames = 64, PayloadFrames = 16;

    [Fact]
    public void Packets_of_both_ways_arrive_in_the_order_in_which_they_were_sent()
    {
        using World world = new();
        uint next = 0;
        Gen.Int[1, 64].SelectMany(count => Gen.Frequency((3, Gen.Int[0, 1448]), (1, Gen.Int[1449, 4000]), (1, Gen.Int[20_000, 65_000])).Array[count])
            .Sample(
                payloads =>
                {
                    uint first = next;
                    world.Send(payloads, ref next);
                    List<(uint Sequence, int Bytes)> arrived = world.Arrived(payloads.Length, TimeSpan.FromSeconds(2));

                    // The network may lose, but not swap, and nothing may change.
                    Assert.True(arrived.Zip(arrived.Skip(1)).All(pair => pair.First.Sequence < pair.Second.Sequence), string.Join(' ', arrived));
                    Assert.All(arrived, packet => Assert.Equal(payloads[(int)(packet.Sequence - first)], packet.Bytes));
                    Assert.True(arrived.Count > payloads.Length / 2, $"{arrived.Count} of {payloads.Length}");
                },
                iter: 60, threads: 1);
        Assert.Equal(next, world.A.Counters.TransmittedPackets);
        Assert.Equal((0, 0), (world.A.Counters.TransmitDropped, world.A.Counters.TransmitFull));
    }

    [Fact]
    public void The_fill_of_the_rings_is_what_was_not_fetched()
    {
        using World world = new();
        uint next = 0;
        Assert.True(world.B.RingFill.ReceiveCapacity > 64 && world.A.RingFill.TransmitCapacity > 0);
        world.Send([.. Enumerable.Repeat(100, 50)], ref next);
        Assert.True(SpinWait.SpinUntil(() => world.B.RingFill.ReceiveWaiting >= 50, TimeSpan.FromSeconds(20)));
        Assert.True(SpinWait.SpinUntil(() => world.A.RingFill.TransmitWaiting == 0, TimeSpan.FromSeconds(20)));
        world.Arrived(50, TimeSpan.FromSeconds(2));
        Assert.InRange(world.B.RingFill.ReceiveWaiting, 0, 49);   // the kernel has something to say of its own
    }

    [Fact]
    public void What_is_sent_while_the_interface_is_down_is_lost_and_counted_and_what_comes_later_arrives()
    {
        using World world = new();
        uint next = 0;
        foreach (int[] payloads in (int[][])[[100, 200, 300], [30_000, 60_000], [100, 30_000, 200, 200, 60_000, 300]])
        {
            long dropped = world.A.Counters.TransmitDropped;
            TestNetwork.Ip("-n", world.Network.NamespaceA, "link", "set", TestNetwork.LinkA, "down");
            world.Send(payloads, ref next);
            Assert.Equal(payloads.Length, world.A.Counters.TransmitDropped - dropped);
            TestNetwork.Ip("-n", world.Network.NamespaceA, "link", "set", TestNetwork.LinkA, "up");
            uint first = next;
            world.SendUntilArrived(payloads, ref next);
            Assert.True(next > first);
        }
    }

    [Fact]
    public void A_queue_that_holds_packets_back_fills_the_ring_and_nothing_is_swapped_or_lost_track_of()
    {
        Requires.Program("tc");
        using World world = new(new PacketSocketOptions { BypassQueueing = false, TransmitRingSlots = 1 });
        TestNetwork.Tc(world.Network.NamespaceA, "qdisc", "add", "dev", TestNetwork.LinkA, "root", "tbf", "rate", "40mbit", "burst", "4000", "limit", "30000");
        uint next = 0;
        int[] payloads = [.. Enumerable.Range(0, 64).Select(i => i % 8 == 7 ? 3000 : 1000)];
        int waitingMost = 0;
        for (int round = 0; round < 20; round++)
        {
            uint first = next;
            world.Send(payloads, ref next);
            waitingMost = Math.Max(waitingMost, world.A.RingFill.TransmitWaiting);
            List<(uint Sequence, int Bytes)> arrived = world.Arrived(payloads.Length, TimeSpan.FromMilliseconds(200));
            Assert.True(arrived.Zip(arrived.Skip(1)).All(pair => pair.First.Sequence < pair.Second.Sequence), string.Join(' ', arrived));
            Assert.All(arrived, packet => Assert.Equal(payloads[(int)(packet.Sequence - first)], packet.Bytes));
            Assert.NotEmpty(arrived);
        }

        Assert.InRange(waitingMost, 1, world.A.RingFill.TransmitCapacity);
        Assert.Equal(next, world.A.Counters.TransmittedPackets);
        Assert.InRange(world.A.Counters.TransmitDropped, 1, next);
        TestNetwork.Tc(world.Network.NamespaceA, "qdisc", "del", "dev", TestNetwork.LinkA, "root");
        world.SendUntilArrived(payloads, ref next);
    }

    [Fact]
    public void Many_small_packets_are_sent_with_one_call()
    {
        using World with = new(), without = new(new PacketSocketOptions { TransmitRingSlots = 0 });
        foreach (World world in (World[])[with, without])
        {
            uint next = 0;
            long calls = world.A.Counters.SystemCalls;
            world.Send([.. Enumerable.Repeat(500, 64)], ref next);
            Assert.Equal(1, world.A.Counters.SystemCalls - calls);
            Assert.Equal(64, world.A.Counters.TransmittedPackets);
        }
    }

    // Two devices, and TCP packets between them that carry a number and bytes that follow from it.
    private sealed class World : IDisposable
    {
        private readonly FramePool _frames = PacketSocketContractTests.Pool();
        private readonly FrameNumber _headers, _payload;
        private readonly TransmitBatch _sending = new();
        private readonly ReceiveBatch _batch;

        public World(PacketSocketOptions? options = null)
        {
            A = Network.InA(() => PacketSocketDevice.Open(TestNetwork.LinkA, _frames, options));
            B = Network.InB(() => PacketSocketDevice.Open(TestNetwork.LinkB, _frames));
            _batch = new ReceiveBatch(_frames);
            Assert.True(_frames.TryAllocateRun(_frames.RootCredential, HeaderFrames, out _headers));
            Assert.True(_frames.TryAllocateRun(_frames.RootCredential, PayloadFrames, out _payload));
            new Random(1).NextBytes(_frames.Bytes(_payload, PayloadFrames));
        }

        public TestNetwork Network { get; } = new();

        public PacketSocketDevice A { get; }

        public PacketSocketDevice B { get; }

        public void Send(int[] payloads, ref uint next)
        {
            for (int i = 0; i < payloads.Length; i++)
            {
                SuperPacket packet = SuperPacket.Make(A.Features.Address, B.Features.Address, isV6: false, payloads[i], 1448);
                var frame = new FrameNumber(_headers.Value + (uint)i);
                packet.Header.CopyTo(_frames.Bytes(frame));
                BinaryPrimitives.WriteUInt32BigEndian(_frames.Bytes(frame)[38..], next++);
                PacketSlice[] payload = payloads[i] == 0 ? [] : [new PacketSlice(_payload, 0, payloads[i])];
                Assert.True(_sending.TryAdd(
                    new PacketSlice(frame, 0, packet.Header.Length), payload,
                    payloads[i] > 1448 ? packet.Offload : new PacketOffload(packet.Offload.ChecksumStartBytes, packet.Offload.ChecksumOffsetBytes)));
            }

            Assert.Equal(payloads.Length, A.Transmit(_sending));
        }

        public void SendUntilArrived(int[] payloads, ref uint next)
        {
            for (int attempt = 0; ; attempt++)
            {
                Send(payloads, ref next);
                if (Arrived(payloads.Length, TimeSpan.FromSeconds(1)).Count == payloads.Length)
                {
                    return;
                }

                Assert.True(attempt < 20, "they do not arrive");
            }
        }

        /// <summary>Numbers and lengths of what comes in; all bytes are right.</summary>
        public List<(uint Sequence, int Bytes)> Arrived(int count, TimeSpan patience)
        {
            List<(uint, int)> arrived = [];
            byte[] bytes = new byte[70_000];
            while (arrived.Count < count && (B.Receive(_batch) > 0 || (B.Wait(NetworkEvents.Receivable, patience) & NetworkEvents.Receivable) != 0))
            {
                for (int i = 0; i < _batch.Count; i++)
                {
                    int payload = _batch.CopyTo(i, bytes) - 34 - TcpBytes;
                    if (payload >= 0 && bytes[12] == 8 && bytes[23] == 6)
                    {
                        Assert.True(bytes.AsSpan(34 + TcpBytes, payload).SequenceEqual(_frames.Bytes(_payload, PayloadFrames)[..payload]));
                        arrived.Add((BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(38)), payload));
                    }
                }

                _batch.Clear();
            }

            return arrived;
        }

        public void Dispose()
        {
            _batch.Dispose();
            A.Dispose();
            B.Dispose();
            Network.Dispose();
            _frames.Dispose();
        }
    }
}
