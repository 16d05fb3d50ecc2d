// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Diagnostics;
using Exo.Capabilities;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Tests;

namespace Exo.Core.Tests.Net;

/// <summary>Two devices of one kind, or of two, that hear each other.</summary>
public sealed class DevicePair(FramePool frames, NetworkDevice a, NetworkDevice b, IDisposable? world = null) : IDisposable
{
    public FramePool Frames { get; } = frames;

    public NetworkDevice A { get; } = a;

    public NetworkDevice B { get; } = b;

    public void Dispose()
    {
        A.Dispose();
        B.Dispose();
        world?.Dispose();
        Frames.Dispose();
    }
}

/// <summary>
/// What every network device keeps. A driver's class makes the pair and nothing else. A network may lose packets, and the kernel does when other tests flood it:
/// what has not arrived is sent again; what arrives must be right.
/// </summary>
public abstract class NetworkDeviceContract
{
    /// <summary>For local experiments (IEEE 802): the kernel has nothing to say to it.</summary>
    protected const ushort EtherType = 0x88b5;

    private const int Attempts = 20;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan Quiet = TimeSpan.FromSeconds(1);

    protected abstract DevicePair Open();

    [Fact]
    public void Packets_of_every_size_arrive_as_they_were_sent()
    {
        using DevicePair pair = Open();
        Random random = new(5);
        Frames frames = new(pair.Frames, 64 * 2);
        using ReceiveBatch batch = new(pair.Frames);
        int longest = pair.A.Features.PacketBytesMax(SegmentationKind.None);
        Assert.Equal(1514, longest);
        for (int first = 18; first <= longest; first += 32)
        {
            List<byte[]> sent = [];
            List<(PacketSlice, PacketSlice[])> packets = [];
            for (int length = first; length < first + 32 && length <= longest; length++)
            {
                byte[] packet = Packet(pair, length, random);
                sent.Add(packet);
                packets.Add((frames.Put(packet.AsSpan(0, 14 + length % 5)), frames.PutPieces(packet.AsSpan(14 + length % 5), random, pair.A.Features.TransmitSlicesMax - 1)));
            }

            List<byte[]> arrived = Deliver(pair.A, pair.B, batch, packets);
            Assert.Equal(sent.Count, arrived.Count);
            for (int i = 0; i < sent.Count; i++)
            {
                Assert.Equal(sent[i], arrived[i]);
            }

            frames.Reuse(pair.A);
        }

        frames.Dispose();
    }

    [Fact]
    public void Packets_travel_in_both_directions_at_once()
    {
        using DevicePair pair = Open();
        Random random = new(6);
        Frames frames = new(pair.Frames, 128);
        using ReceiveBatch batch = new(pair.Frames);
        TransmitBatch sending = new();
        for (int round = 0; round < 20; round++)
        {
            byte[][] there = [.. Enumerable.Range(0, 16).Select(i => Packet(pair, 60 + 40 * i, random))];
            byte[][] back = [.. Enumerable.Range(0, 16).Select(i => Packet(pair, 1514 - 40 * i, random, isBack: true))];
            for (int attempt = 0; ; attempt++)
            {
                Send(pair.A, sending, frames, there);
                Send(pair.B, sending, frames, back);
                List<byte[]> atB = ReceiveAll(pair.B, batch, there.Length), atA = ReceiveAll(pair.A, batch, back.Length);
                frames.Reuse(pair.A, pair.B);
                if (attempt == Attempts || (atB.Count == there.Length && atA.Count == back.Length))
                {
                    Assert.Equal(there, atB);
                    Assert.Equal(back, atA);
                    break;
                }

                Drain(pair.A, batch);
                Drain(pair.B, batch);
            }
        }

        frames.Dispose();
    }

    [Fact]
    public void A_super_packet_becomes_the_packets_that_it_says()
    {
        using DevicePair pair = Open();
        NetworkDeviceFeatures features = pair.A.Features;
        if (!features.SegmentationV4)
        {
            Assert.Equal(0, features.PacketBytesMax(SegmentationKind.Tcp4));
            return;
        }

        Frames frames = new(pair.Frames, 64);
        using ReceiveBatch batch = new(pair.Frames);
        TransmitBatch sending = new();
        foreach (bool isV6 in (bool[])[false, true])
        {
            // The first two as long as the MTU allows: 1,500 bytes less the headers of IP and TCP with timestamps.
            ushort longest = isV6 ? (ushort)1428 : (ushort)1448;
            foreach ((int payloadBytes, ushort segmentBytes) in ((int, ushort)[])[(2000, longest), (longest * 3, longest), (10_000, 1400), (62_000, 1301), (65_400, 1000)])
            {
                SuperPacket packet = SuperPacket.Make(pair.A.Features.Address, pair.B.Features.Address, isV6, payloadBytes, segmentBytes);
                PacketSlice header = frames.Put(packet.Header);
                PacketSlice[] payload = frames.PutPieces(packet.Payload, 8);
                packet.AssertArrived(
                    () =>
                    {
                        Assert.True(sending.TryAdd(header, payload, packet.Offload));
                        SendAll(pair.A, sending);
                    },
                    wait => Receive(pair.B, batch, wait));
                frames.Reuse(pair.A);
            }
        }

        frames.Dispose();
    }

    [Fact]
    public void An_open_checksum_is_closed_or_said_to_be_open()
    {
        using DevicePair pair = Open();
        if (!pair.A.Features.TransmitChecksum)
        {
            return;
        }

        Frames frames = new(pair.Frames, 8);
        using ReceiveBatch batch = new(pair.Frames);
        TransmitBatch sending = new();
        SuperPacket packet = SuperPacket.Make(pair.A.Features.Address, pair.B.Features.Address, isV6: false, 777, 1448);
        PacketSlice header = frames.Put(packet.Header), payload = frames.Put(packet.Payload);
        packet.AssertArrived(
            () =>
            {
                sending.TryAdd(header, [payload], new PacketOffload(packet.Offload.ChecksumStartBytes, packet.Offload.ChecksumOffsetBytes));
                SendAll(pair.A, sending);
            },
            wait => Receive(pair.B, batch, wait));
        frames.Reuse(pair.A);
        frames.Dispose();
    }

    [Fact]
    public void Frames_are_released_exactly_once_and_none_is_lost()
    {
        DevicePair pair = Open();
        try
        {
            Frames frames = new(pair.Frames, 32);
            using ReceiveBatch batch = new(pair.Frames);
            TransmitBatch sending = new();
            for (int round = 0; round < 50; round++)
            {
                Assert.Equal(16, Deliver(pair.A, pair.B, batch, [.. Enumerable.Range(0, 16).Select(i => (frames.Put(Packet(pair, 100 + i)), Array.Empty<PacketSlice>()))]).Count);
                frames.Reuse(pair.A);
            }

            // A packet that nobody fetches, and one in a batch, when the devices go.
            using ReceiveBatch last = new(pair.Frames, 1);
            Until(
                () =>
                {
                    Send(pair.A, sending, frames, [Packet(pair, 100), Packet(pair, 100)]);
                    return pair.B.Receive(last) > 0;
                },
                pair.B);
            frames.Reuse(pair.A);
            pair.A.Dispose();
            pair.B.Dispose();
            batch.Clear();
            last.Clear();
            frames.Dispose();
            Assert.Equal(pair.Frames.FrameCount, pair.Frames.FreeCount);
        }
        finally
        {
            pair.Dispose();
        }
    }

    [Fact]
    public void A_frame_that_the_receiver_retains_stays_as_it_is()
    {
        using DevicePair pair = Open();
        Frames frames = new(pair.Frames, 64);
        using ReceiveBatch batch = new(pair.Frames);
        TransmitBatch sending = new();
        byte[] kept = Packet(pair, 1000, new Random(1));
        PacketSlice slice = default;
        Until(
            () =>
            {
                Send(pair.A, sending, frames, [kept]);
                pair.B.Receive(batch);
                for (int i = 0; i < batch.Count; i++)
                {
                    if (IsOurs(batch.Head(i)))
                    {
                        slice = batch.Slices(i)[0];
                        pair.Frames.Retain(slice.Frame);
                        return true;
                    }
                }

                return false;
            },
            pair.B);
        batch.Clear();
        frames.Reuse(pair.A);
        for (int round = 0; round < 100; round++)
        {
            Send(pair.A, sending, frames, [.. Enumerable.Range(0, 32).Select(i => Packet(pair, 1000, new Random(i)))]);
            ReceiveSome(pair.B, batch);
            frames.Reuse(pair.A);
        }

        Assert.Equal(kept, slice.Bytes(pair.Frames).ToArray());
        Assert.Equal(1, pair.Frames.ReferenceCount(slice.Frame));
        pair.Frames.Release(slice.Frame);
        frames.Dispose();
    }

    [Fact]
    public void A_receiver_without_frames_loses_packets_and_goes_on_when_there_are_some()
    {
        using DevicePair pair = Open();
        Frames frames = new(pair.Frames, 64);
        using ReceiveBatch batch = new(pair.Frames);
        TransmitBatch sending = new();

        // Keep everything that comes in until nothing comes any more, and leave the pool empty besides.
        List<FrameNumber> kept = [];
        List<FrameNumber> rest = [];
        while (pair.Frames.TryAllocate(pair.Frames.RootCredential, out FrameNumber frame))
        {
            rest.Add(frame);
        }

        int quiet = 0;
        while (quiet < 3)
        {
            Send(pair.A, sending, frames, [.. Enumerable.Range(0, 32).Select(_ => Packet(pair, 60))]);
            frames.Reuse(pair.A);
            quiet++;
            while (pair.B.Wait(NetworkEvents.Receivable, TimeSpan.FromMilliseconds(5)) != NetworkEvents.None && pair.B.Receive(batch) > 0)
            {
                quiet = 0;
                for (int i = 0; i < batch.Count; i++)
                {
                    foreach (PacketSlice slice in batch.Slices(i))
                    {
                        pair.Frames.Retain(slice.Frame);
                        kept.Add(slice.Frame);
                    }
                }

                batch.Clear();
            }
        }

        Assert.NotEmpty(kept);
        kept.ForEach(pair.Frames.Release);
        rest.ForEach(pair.Frames.Release);
        byte[] after = Packet(pair, 500, new Random(9));
        Until(
            () =>
            {
                Send(pair.A, sending, frames, [after]);
                frames.Reuse(pair.A);
                return ReceiveSome(pair.B, batch).Exists(packet => packet.AsSpan().SequenceEqual(after));
            },
            pair.B);
        frames.Dispose();
    }

    [Fact]
    public void Whatever_is_wrong_with_a_packet_is_refused_and_nothing_is_sent()
    {
        using DevicePair pair = Open();
        Frames frames = new(pair.Frames, 16);
        using ReceiveBatch batch = new(pair.Frames);
        byte[] bytes = Packet(pair, 60);
        PacketSlice good = frames.Put(bytes);
        Assert.True(pair.Frames.TryAllocate(pair.Frames.RootCredential, out FrameNumber freed));
        pair.Frames.Release(freed);
        var lastFrame = new FrameNumber((uint)pair.Frames.FrameCount - 1);
        int manyPieces = pair.A.Features.TransmitSlicesMax + 1;
        PacketSlice[] slices = [.. Enumerable.Repeat(good, manyPieces)];
        PacketSlice[] tooLong = [.. Enumerable.Repeat(good with { LengthBytes = 4096 - good.OffsetBytes }, 20)];
        NetworkDeviceFeatures features = pair.A.Features;
        var sum = new PacketOffload(34, 16);
        foreach ((TransmitPacket packet, PacketSlice[] payload) in ((TransmitPacket, PacketSlice[])[])
        [
            (new TransmitPacket(good with { LengthBytes = 0 }), []),
            (new TransmitPacket(good with { LengthBytes = -1 }), []),
            (new TransmitPacket(good with { LengthBytes = int.MaxValue }), []),
            (new TransmitPacket(good with { LengthBytes = 13 }), []),
            (new TransmitPacket(good with { OffsetBytes = -1 }), []),
            (new TransmitPacket(good with { OffsetBytes = 4096 }), []),
            (new TransmitPacket(good with { OffsetBytes = int.MaxValue }), []),
            (new TransmitPacket(new PacketSlice(freed, 0, 60)), []),
            (new TransmitPacket(new PacketSlice(lastFrame, 4090, 60)), []),
            (new TransmitPacket(new PacketSlice(new FrameNumber(uint.MaxValue), 0, 60)), []),
            (new TransmitPacket(good, -1, 1), [good]),
            (new TransmitPacket(good, 0, -1), [good]),
            (new TransmitPacket(good, 0, 2), [good]),
            (new TransmitPacket(good, 2, 0), [good]),
            (new TransmitPacket(good, int.MaxValue, int.MaxValue), [good]),
            (new TransmitPacket(good, 0, 1), [new PacketSlice(freed, 0, 1)]),
            (new TransmitPacket(good, 0, 1), [good with { LengthBytes = 0 }]),
            (new TransmitPacket(good, 0, manyPieces), slices),
            (new TransmitPacket(good, 0, 1), [good with { LengthBytes = features.MtuBytes }]),
            (new TransmitPacket(good, 0, 0, new PacketOffload(59, 16)), []),
            (new TransmitPacket(good, 0, 0, new PacketOffload(ushort.MaxValue, ushort.MaxValue)), []),
            (new TransmitPacket(good, 0, 0, new PacketOffload(34, 16, SegmentationKind.None, 1000)), []),
            (new TransmitPacket(good, 0, 0, new PacketOffload(34, 16, SegmentationKind.Tcp4, 1000, 200)), []),
            (new TransmitPacket(good, 0, 0, new PacketOffload(34, 16, SegmentationKind.Tcp4, 0, 60)), []),
            (new TransmitPacket(good, 0, 0, new PacketOffload(14, 16, SegmentationKind.Tcp6, 1000, 60)), []),
            (new TransmitPacket(good, 0, 0, new PacketOffload(0, 0, SegmentationKind.Tcp4, 1000, 60)), []),
            (new TransmitPacket(good, 0, 0, new PacketOffload(34, 16, (SegmentationKind)3, 1000, 60)), []),
            (new TransmitPacket(good, 0, Math.Min(20, features.TransmitSlicesMax - 1), new PacketOffload(34, 16, SegmentationKind.Tcp4, 1000, 60)), tooLong),
        ])
        {
            // A good packet in front of it is not sent either.
            Assert.Throws<ArgumentException>(() => pair.A.Transmit([new TransmitPacket(good), packet], payload));
        }

        if (!features.TransmitChecksum)
        {
            Assert.Throws<ArgumentException>(() => pair.A.Transmit([new TransmitPacket(good, 0, 0, sum)], []));
        }

        Assert.Equal((0, 0L), (pair.A.TransmitsInFlight, pair.A.Counters.TransmittedPackets));
        using FramePool other = FramePool.Create(new FramePoolOptions { CapacityBytes = 4096 });
        using ReceiveBatch foreign = new(other);
        Assert.Throws<ArgumentException>(() => pair.B.Receive(foreign));
        Assert.Equal([bytes], Deliver(pair.A, pair.B, batch, [(good, [])]));
        frames.Reuse(pair.A);
        frames.Dispose();
    }

    [Fact]
    public void A_sender_who_does_not_stop_gets_no_error_and_all_his_frames_back()
    {
        using DevicePair pair = Open();
        Frames frames = new(pair.Frames, 64);
        TransmitBatch sending = new();
        byte[] packet = Packet(pair, 1500);
        PacketSlice slice = frames.Put(packet);
        long accepted = 0;
        for (int i = 0; i < 200; i++)
        {
            while (sending.TryAdd(slice, []))
            {
            }

            accepted += pair.A.Transmit(sending);
        }

        NetworkDeviceCounters counters = pair.A.Counters;
        Assert.Equal((accepted, accepted * 1500), (counters.TransmittedPackets, counters.TransmittedBytes));
        Assert.True(accepted > 0);
        frames.Reuse(pair.A);

        // And the receiver finds some of it and then nothing.
        using ReceiveBatch batch = new(pair.Frames);
        Assert.NotEmpty(ReceiveSome(pair.B, batch));
        while (pair.B.Receive(batch) > 0)
        {
        }

        frames.Dispose();
    }

    [Fact]
    public void A_wait_ends_by_its_time_by_a_packet_or_by_whoever_wakes()
    {
        using DevicePair pair = Open();
        using ReceiveBatch batch = new(pair.Frames);
        Frames frames = new(pair.Frames, 8);
        TransmitBatch sending = new();
        while (pair.B.Receive(batch) > 0)
        {
        }

        Assert.Equal(NetworkEvents.None, pair.B.Wait(NetworkEvents.Receivable, TimeSpan.FromMilliseconds(1)));
        Assert.Equal(NetworkEvents.Transmittable, pair.A.Wait(NetworkEvents.Transmittable, TimeSpan.FromSeconds(10)));
        pair.B.Wake();
        pair.B.Wake();
        Assert.Equal(NetworkEvents.Woken, pair.B.Wait(NetworkEvents.Receivable, Timeout.InfiniteTimeSpan));
        Assert.Equal(NetworkEvents.None, pair.B.Wait(NetworkEvents.Receivable, TimeSpan.Zero));
        Thread waker = new(() => pair.B.Wake());
        waker.Start();
        Assert.Equal(NetworkEvents.Woken, pair.B.Wait(NetworkEvents.Receivable, Timeout.InfiniteTimeSpan));
        waker.Join();
        NetworkEvents happened = NetworkEvents.None;
        for (int attempt = 0; attempt < Attempts && happened == NetworkEvents.None; attempt++)
        {
            Send(pair.A, sending, frames, [Packet(pair, 60)]);
            happened = pair.B.Wait(NetworkEvents.Receivable, Quiet);
        }

        Assert.Equal(NetworkEvents.Receivable, happened);
        Assert.NotEmpty(ReceiveAll(pair.B, batch, 1));
        frames.Reuse(pair.A);
        frames.Dispose();
    }

    [Fact]
    public void Sending_receiving_and_waiting_allocate_nothing()
    {
        using DevicePair pair = Open();
        Frames frames = new(pair.Frames, 16);
        using ReceiveBatch batch = new(pair.Frames);
        PacketSlice header = frames.Put(Packet(pair, 60));
        PacketSlice[] payload = [frames.Put(new byte[1000])];
        TransmitBatch sending = new();
        long got = 0;
        Exchange(200);
        Assert.Equal(0, Allocations.Least(() => Exchange(1000)));
        Assert.True(got > 1000, $"{got} arrived");
        frames.Reuse(pair.A);
        frames.Dispose();

        void Exchange(int rounds)
        {
            for (int round = 0; round < rounds; round++)
            {
                for (int i = 0; i < 16; i++)
                {
                    sending.TryAdd(header, payload);
                }

                while (sending.Count > 0)
                {
                    pair.A.Transmit(sending);
                }

                pair.A.Reap();
                pair.B.Wait(NetworkEvents.Receivable, TimeSpan.FromMilliseconds(1));
                int count;
                while ((count = pair.B.Receive(batch)) > 0)
                {
                    got += count;
                }
            }
        }
    }

    [Fact]
    public void A_closed_device_says_so_and_closing_twice_is_once()
    {
        using DevicePair pair = Open();
        Frames frames = new(pair.Frames, 2);
        PacketSlice slice = frames.Put(Packet(pair, 60));
        using ReceiveBatch batch = new(pair.Frames);
        pair.A.Dispose();
        pair.A.Dispose();
        pair.A.Wake();
        _ = pair.A.Counters;
        Assert.Throws<ObjectDisposedException>(() => pair.A.Transmit([new TransmitPacket(slice)], []));
        Assert.Throws<ObjectDisposedException>(() => pair.A.Receive(batch));
        Assert.Throws<ObjectDisposedException>(() => pair.A.Wait(NetworkEvents.Receivable, TimeSpan.Zero));
        frames.Dispose();
    }

    protected static byte[] Packet(DevicePair pair, int lengthBytes, Random? random = null, bool isBack = false)
    {
        byte[] packet = new byte[lengthBytes];
        random?.NextBytes(packet);
        (isBack ? pair.A : pair.B).Features.Address.Write(packet);
        (isBack ? pair.B : pair.A).Features.Address.Write(packet.AsSpan(6));
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(12), EtherType);
        return packet;
    }

    private static bool IsOurs(ReadOnlySpan<byte> packet) => packet.Length >= 14 && BinaryPrimitives.ReadUInt16BigEndian(packet[12..]) == EtherType;

    private static void Send(NetworkDevice device, TransmitBatch batch, Frames frames, byte[][] packets)
    {
        foreach (byte[] packet in packets)
        {
            Assert.True(batch.TryAdd(frames.Put(packet), []));
        }

        SendAll(device, batch);
    }

    private static void SendAll(NetworkDevice device, TransmitBatch batch)
    {
        long start = Stopwatch.GetTimestamp();
        while (batch.Count > 0)
        {
            Assert.True(Stopwatch.GetElapsedTime(start) < Patience, "the device takes nothing any more");
            if (device.Transmit(batch) == 0)
            {
                device.Wait(NetworkEvents.Transmittable, TimeSpan.FromMilliseconds(10));
            }
        }
    }

    private static List<byte[]> ReceiveSome(NetworkDevice device, ReceiveBatch batch)
    {
        device.Wait(NetworkEvents.Receivable, TimeSpan.FromMilliseconds(50));
        return Receive(device, batch, default).Where(packet => IsOurs(packet.Bytes)).Select(packet => packet.Bytes).ToList();
    }

    private static List<byte[]> ReceiveAll(NetworkDevice device, ReceiveBatch batch, int count)
    {
        List<byte[]> arrived = [];
        long start = Stopwatch.GetTimestamp();
        while (arrived.Count < count && Stopwatch.GetElapsedTime(start) < Quiet)
        {
            List<byte[]> some = ReceiveSome(device, batch);
            arrived.AddRange(some);
            start = some.Count > 0 ? Stopwatch.GetTimestamp() : start;
        }

        return arrived;
    }

    private static List<byte[]> Deliver(NetworkDevice from, NetworkDevice to, ReceiveBatch batch, List<(PacketSlice Header, PacketSlice[] Payload)> packets)
    {
        TransmitBatch sending = new();
        for (int attempt = 0; ; attempt++)
        {
            foreach ((PacketSlice header, PacketSlice[] payload) in packets)
            {
                Assert.True(sending.TryAdd(header, payload));
            }

            SendAll(from, sending);
            List<byte[]> arrived = ReceiveAll(to, batch, packets.Count);
            if (arrived.Count == packets.Count || attempt == Attempts)
            {
                return arrived;
            }

            Drain(to, batch);
        }
    }

    private static void Drain(NetworkDevice device, ReceiveBatch batch)
    {
        while (ReceiveSome(device, batch).Count > 0)
        {
        }
    }

    private static List<(byte[] Bytes, ReceivedPacket Packet)> Receive(NetworkDevice device, ReceiveBatch batch, TimeSpan wait)
    {
        if (wait > TimeSpan.Zero)
        {
            device.Wait(NetworkEvents.Receivable, wait);
        }

        device.Receive(batch);
        List<(byte[], ReceivedPacket)> packets = [];
        for (int i = 0; i < batch.Count; i++)
        {
            byte[] bytes = new byte[batch.Packets[i].LengthBytes];
            Assert.Equal(bytes.Length, batch.CopyTo(i, bytes));
            Assert.True(batch.Head(i).Length >= Math.Min(1024, bytes.Length));
            packets.Add((bytes, batch.Packets[i]));
        }

        batch.Clear();
        return packets;
    }

    private static void Until(Func<bool> happened, NetworkDevice device)
    {
        long start = Stopwatch.GetTimestamp();
        while (!happened())
        {
            Assert.True(Stopwatch.GetElapsedTime(start) < Patience, "it did not happen");
            device.Wait(NetworkEvents.Receivable, TimeSpan.FromMilliseconds(20));
        }
    }

    /// <summary>Frames that packets to be sent lie in, and a check that nobody else holds them when everything has left.</summary>
    protected sealed class Frames : IDisposable
    {
        private readonly FramePool _pool;
        private readonly FrameNumber _first;
        private readonly int _count;
        private int _usedBytes;

        public Frames(FramePool pool, int count)
        {
            _pool = pool;
            _count = count;
            Assert.True(pool.TryAllocateRun(pool.RootCredential, count, out _first));
        }

        /// <summary>Copies bytes behind what is there: packets lie at all offsets and cross from frame to frame.</summary>
        public PacketSlice Put(ReadOnlySpan<byte> bytes)
        {
            Assert.True(_usedBytes + bytes.Length <= _count * FramePool.FrameBytes);
            bytes.CopyTo(_pool.Bytes(_first, _count)[_usedBytes..]);
            var slice = new PacketSlice(new FrameNumber(_first.Value + (uint)(_usedBytes / FramePool.FrameBytes)), _usedBytes % FramePool.FrameBytes, bytes.Length);
            _usedBytes += bytes.Length;
            return slice;
        }

        public PacketSlice[] PutPieces(ReadOnlySpan<byte> bytes, Random random, int piecesMax)
        {
            List<PacketSlice> pieces = [];
            while (!bytes.IsEmpty)
            {
                int length = pieces.Count == piecesMax - 1 ? bytes.Length : random.Next(1, bytes.Length + 1);
                pieces.Add(Put(bytes[..length]));
                bytes = bytes[length..];
            }

            return [.. pieces];
        }

        public PacketSlice[] PutPieces(ReadOnlySpan<byte> bytes, int pieces) => PutPieces(bytes, new Random(bytes.Length), pieces);

        /// <summary>Waits until the devices are done with the frames; from then on they may be written again.</summary>
        public void Reuse(params ReadOnlySpan<NetworkDevice> senders)
        {
            long start = Stopwatch.GetTimestamp();
            foreach (NetworkDevice sender in senders)
            {
                while (sender.TransmitsInFlight > 0)
                {
                    Assert.True(Stopwatch.GetElapsedTime(start) < Patience, "a packet does not leave");
                    sender.Reap();
                    Thread.Yield();
                }
            }

            for (uint i = 0; i < _count; i++)
            {
                Assert.Equal(1, _pool.ReferenceCount(new FrameNumber(_first.Value + i)));
            }

            _usedBytes = 0;
        }

        public void Dispose()
        {
            for (uint i = 0; i < _count; i++)
            {
                _pool.Release(new FrameNumber(_first.Value + i));
            }
        }
    }
}
