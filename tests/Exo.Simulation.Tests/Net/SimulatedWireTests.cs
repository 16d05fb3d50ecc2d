// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Simulation.Net;
using Exo.Simulation.Timing;

namespace Exo.Simulation.Tests.Net;

/// <summary>What the wire does to packets, under a clock that stands still.</summary>
public sealed class SimulatedWireTests : IDisposable
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
    private readonly VirtualTime _time = new();

    public void Dispose() => _frames.Dispose();

    [Fact]
    public void A_perfect_wire_delivers_everything_in_order_at_once()
    {
        (SimulatedWire wire, SimulatedNetworkDevice a, SimulatedNetworkDevice b) = SimulatedWire.CreatePair(_frames, _frames, time: _time);
        using (wire)
        {
            Send(a, b, 200);
            Assert.Equal(Enumerable.Range(0, 200), Drain(b));
            Assert.Equal(new WireCounters(200, 0, 0, 0, 0, 0, 0), wire.Counters);
            Assert.Null(wire.NextArrival);
        }
    }

    [Fact]
    public void The_same_seed_hits_the_same_packets()
    {
        List<int> first = Run(7), second = Run(7), other = Run(8);
        Assert.Equal(first, second);
        Assert.NotEqual(first, other);

        List<int> Run(int seed)
        {
            (SimulatedWire wire, SimulatedNetworkDevice a, SimulatedNetworkDevice b) = SimulatedWire.CreatePair(_frames, _frames, time: _time, seed: seed);
            using (wire)
            {
                wire.Impairments = new WireImpairments { Loss = 0.1, Duplication = 0.1, Reordering = 0.1, Delay = TimeSpan.FromMilliseconds(5), Jitter = TimeSpan.FromMilliseconds(2) };
                for (int i = 0; i < 500; i += 50)
                {
                    Send(a, b, 50, i);
                    _time.Advance(TimeSpan.FromMilliseconds(1));
                }

                _time.Advance(TimeSpan.FromSeconds(1));
                List<int> arrived = Drain(b);
                WireCounters counters = wire.Counters;
                Assert.Equal(500 - counters.Lost + counters.Duplicated, arrived.Count);
                Assert.InRange(counters.Lost, 20, 90);
                Assert.InRange(counters.Duplicated, 20, 90);
                Assert.InRange(counters.Reordered, 20, 90);
                return arrived;
            }
        }
    }

    [Fact]
    public void Delay_and_rate_say_when_a_packet_is_there()
    {
        (SimulatedWire wire, SimulatedNetworkDevice a, SimulatedNetworkDevice b) = SimulatedWire.CreatePair(_frames, _frames, time: _time);
        using (wire)
        {
            // 1,000 bytes at 8 Mbit/s leave in 1 ms; two fit into the queue beside the one that is leaving.
            wire.Impairments = new WireImpairments { Delay = TimeSpan.FromMilliseconds(10), BitsPerSecond = 8_000_000, QueueBytes = 3000 };
            Send(a, b, 5, lengthBytes: 1000);
            Assert.Equal(2, wire.Counters.Overflowed);
            Assert.Equal(TimeSpan.FromMilliseconds(11), wire.NextArrival);
            _time.Advance(TimeSpan.FromMilliseconds(10.9));
            Assert.Empty(Drain(b));
            _time.Advance(TimeSpan.FromMilliseconds(0.1));
            Assert.Equal([0], Drain(b));
            _time.Advance(TimeSpan.FromMilliseconds(2));
            Assert.Equal([1, 2], Drain(b));
        }
    }

    [Fact]
    public void A_path_that_shrank_swallows_what_is_too_long_and_corruption_changes_one_bit()
    {
        (SimulatedWire wire, SimulatedNetworkDevice a, SimulatedNetworkDevice b) = SimulatedWire.CreatePair(_frames, _frames, time: _time);
        using (wire)
        {
            wire.Impairments = new WireImpairments { PathMtuBytes = 986, Corruption = 1 };
            Send(a, b, 1, lengthBytes: 1001);
            Send(a, b, 1, lengthBytes: 1000);
            using ReceiveBatch batch = new(_frames);
            Assert.Equal(1, b.Receive(batch));
            Assert.Equal(1, wire.Counters.TooLong);
            byte[] arrived = new byte[1000];
            batch.CopyTo(0, arrived);
            byte[] sent = Packet(a, b, 0, 1000);
            int wrong = arrived.Zip(sent, (x, y) => System.Numerics.BitOperations.PopCount((uint)(x ^ y))).Sum();
            Assert.Equal(1, wrong);
        }
    }

    [Fact]
    public void A_hub_delivers_to_those_addressed_and_broadcasts_to_all()
    {
        using SimulatedWire wire = new(_time);
        SimulatedNetworkDevice[] devices = [wire.Attach(_frames), wire.Attach(_frames), wire.Attach(_frames), wire.Attach(_frames, new() { IsPromiscuous = true })];
        Send(devices[0], devices[1], 3);
        Assert.Equal([3, 0, 3], devices[1..].Select(device => Drain(device).Count));
        byte[] packet = Packet(devices[0], devices[1], 0, 60);
        MacAddress.Broadcast.Write(packet);
        Send(devices[0], packet);
        Assert.Equal([1, 1, 1], devices[1..].Select(device => Drain(device).Count));
    }

    [Fact]
    public void Frames_held_in_flight_come_back_when_the_packet_has_left_and_changes_meanwhile_are_noticed()
    {
        (SimulatedWire wire, SimulatedNetworkDevice a, SimulatedNetworkDevice b) =
            SimulatedWire.CreatePair(_frames, _frames, new SimulatedDeviceOptions { TransmitsFromFrames = true, TransmitRingPackets = 4 }, _time);
        using (wire)
        {
            wire.Impairments = new WireImpairments { BitsPerSecond = 8_000_000 };
            Assert.True(_frames.TryAllocate(_frames.RootCredential, out FrameNumber frame));
            Packet(a, b, 0, 1000).CopyTo(_frames.Bytes(frame));
            TransmitBatch batch = new();
            for (int i = 0; i < 6; i++)
            {
                batch.TryAdd(new PacketSlice(frame, 0, 1000), []);
            }

            Assert.Equal(4, a.Transmit(batch));
            Assert.Equal((2, 5, 4, 1L), (batch.Count, _frames.ReferenceCount(frame), a.TransmitsInFlight, a.Counters.TransmitFull));
            Assert.Equal(NetworkEvents.None, a.Wait(NetworkEvents.Transmittable, TimeSpan.Zero));
            _time.Advance(TimeSpan.FromMilliseconds(1));
            Assert.Equal(NetworkEvents.Transmittable, a.Wait(NetworkEvents.Transmittable, TimeSpan.Zero));
            Assert.Equal((4, 0L), (_frames.ReferenceCount(frame), a.ChangedInFlight));
            _frames.Bytes(frame)[999] ^= 1;
            _time.Advance(TimeSpan.FromMilliseconds(1));
            a.Reap();
            Assert.Equal((3, 1L), (_frames.ReferenceCount(frame), a.ChangedInFlight));
            a.Dispose();
            Assert.Equal(1, _frames.ReferenceCount(frame));
            _frames.Release(frame);
        }
    }

    [Fact]
    public void A_trace_is_a_pcap_file()
    {
        using MemoryStream stream = new();
        (SimulatedWire wire, SimulatedNetworkDevice a, SimulatedNetworkDevice b) = SimulatedWire.CreatePair(_frames, _frames, time: _time);
        using (wire)
        {
            wire.Trace = new PacketTrace(stream, leaveOpen: true);
            _time.Advance(TimeSpan.FromMilliseconds(1500));
            Send(a, b, 2, lengthBytes: 100);
            wire.Trace.Dispose();
        }

        byte[] file = stream.ToArray();
        Assert.Equal(24 + 2 * (16 + 100), file.Length);
        Assert.Equal((0xa1b23c4du, 1u, 500_000_000u, 100u), (BitConverter.ToUInt32(file), BitConverter.ToUInt32(file, 24), BitConverter.ToUInt32(file, 28), BitConverter.ToUInt32(file, 32)));
        Assert.Equal(Packet(a, b, 0, 100), file[40..140]);
    }

    private void Send(SimulatedNetworkDevice from, SimulatedNetworkDevice to, int count, int first = 0, int lengthBytes = 60)
    {
        for (int i = 0; i < count; i++)
        {
            Send(from, Packet(from, to, first + i, lengthBytes));
        }
    }

    private void Send(SimulatedNetworkDevice from, byte[] packet)
    {
        Assert.True(_frames.TryAllocate(_frames.RootCredential, out FrameNumber frame));
        packet.CopyTo(_frames.Bytes(frame));
        Assert.Equal(1, from.Transmit([new TransmitPacket(new PacketSlice(frame, 0, packet.Length))], []));
        _frames.Release(frame);
    }

    private static byte[] Packet(SimulatedNetworkDevice from, SimulatedNetworkDevice to, int number, int lengthBytes)
    {
        byte[] packet = new byte[lengthBytes];
        to.Features.Address.Write(packet);
        from.Features.Address.Write(packet.AsSpan(6));
        BitConverter.TryWriteBytes(packet.AsSpan(14), number);
        return packet;
    }

    private List<int> Drain(SimulatedNetworkDevice device)
    {
        List<int> numbers = [];
        using ReceiveBatch batch = new(_frames);
        while (device.Receive(batch) > 0)
        {
            for (int i = 0; i < batch.Count; i++)
            {
                numbers.Add(BitConverter.ToInt32(batch.Head(i)[14..]));
            }
        }

        return numbers;
    }
}
