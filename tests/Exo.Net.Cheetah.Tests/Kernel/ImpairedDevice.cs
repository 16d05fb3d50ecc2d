// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Diagnostics;
using Exo.Core.Memory;
using Exo.Core.Net;

namespace Exo.Net.Cheetah.Tests.Kernel;

/// <summary>What happens to packets on their way; parts of 1.</summary>
internal readonly record struct Impairments
{
    public double Loss { get; init; }

    public double Duplication { get; init; }

    /// <summary>Packets that come up to a millisecond later than they should, behind others.</summary>
    public double Reordering { get; init; }

    /// <summary>IP packets with one wrong bit. A real link's own check sum keeps wrong bits out of its frames' heads, and out of ARP.</summary>
    public double Corruption { get; init; }

    /// <summary>How long every packet takes, each way.</summary>
    public TimeSpan Delay { get; init; }

    /// <summary>Each time that so many packets have gone, the wire stands still; 0: never.</summary>
    public int HoldAfterPackets { get; init; }

    /// <summary>For how long; what has come in the meantime goes on then, in order.</summary>
    public TimeSpan Hold { get; init; }
}

/// <summary>A device whose wire loses, repeats, reorders, damages and delays packets, out and in, by a seed. What each packet meets is drawn in the order of packets of its way.</summary>
internal sealed class ImpairedDevice(NetworkDevice inner, int seed, Impairments impairments) : NetworkDevice(inner.Name, inner.Frames)
{
    private const int WaitingMax = 4096;

    private readonly Way outwards = new(new Random(seed), impairments), inwards = new(new Random(seed + 1_000_000), impairments);
    private readonly ReceiveBatch arrived = new(inner.Frames);
    private FrameNumber? leaving;

    public int Lost => outwards.Lost + inwards.Lost;

    public int Repeated => outwards.Repeated + inwards.Repeated;

    public int Reordered => outwards.Reordered + inwards.Reordered;

    public int Damaged => outwards.Damaged + inwards.Damaged;

    // Without segmentation, so that each packet meets its own fate.
    public override NetworkDeviceFeatures Features =>
        inner.Features with { SegmentationV4 = false, SegmentationV6 = false, SuperPacketBytesMax = 0 };

    public override NetworkDeviceCounters Counters => inner.Counters;

    public override bool TakesHandlers => inner.TakesHandlers;

    public override void SetHandler(PacketHandler? handler) => inner.SetHandler(handler);

    public override NetworkEvents Wait(NetworkEvents wanted, TimeSpan timeout)
    {
        long nextUs = Math.Min(outwards.NextUs, inwards.NextUs);
        if (nextUs == long.MaxValue)
        {
            return inner.Wait(wanted, timeout);
        }

        TimeSpan due = TimeSpan.FromMicroseconds(nextUs - Way.NowUs);
        return due <= TimeSpan.Zero ? NetworkEvents.Receivable : inner.Wait(wanted, timeout == Timeout.InfiniteTimeSpan || due < timeout ? due : timeout);
    }

    public override void Wake() => inner.Wake();

    public override void Refresh() => inner.Refresh();

    protected override int TransmitChecked(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices)
    {
        foreach (ref readonly TransmitPacket packet in packets)
        {
            using var whole = new MemoryStream();
            whole.Write(packet.Header.Bytes(Frames));
            foreach (PacketSlice slice in slices.Slice(packet.FirstSlice, packet.SliceCount))
            {
                whole.Write(slice.Bytes(Frames));
            }

            byte[] bytes = whole.ToArray();
            Assert.True(!packet.Offload.NeedsChecksum || PacketChecksum.TryComplete(bytes, packet.Offload));
            outwards.Enter(bytes);
        }

        SendDue();
        return packets.Length;
    }

    protected override int ReceiveInto(ReceiveBatch batch)
    {
        inner.Receive(arrived);
        for (int i = 0; i < arrived.Count; i++)
        {
            byte[] bytes = new byte[arrived.Packets[i].LengthBytes];
            arrived.CopyTo(i, bytes);
            PacketOffload offload = arrived.Packets[i].Offload;
            if (!offload.IsSuperPacket)
            {
                Assert.True(!offload.NeedsChecksum || PacketChecksum.TryComplete(bytes, offload));
                inwards.Enter(bytes);
                continue;
            }

            // The kernel says how much lies together, which may be more than headers.
            offload = offload with { HeaderBytes = (ushort)(offload.ChecksumStartBytes + ((bytes[offload.ChecksumStartBytes + 12] >> 4) * 4)) };
            for (int k = 0; k < PacketSegmenter.SegmentCount(bytes.Length, offload); k++)
            {
                byte[] segment = new byte[offload.HeaderBytes + offload.SegmentBytes];
                inwards.Enter(segment[..PacketSegmenter.WriteSegment(bytes, offload, k, segment)]);
            }
        }

        arrived.Clear();
        SendDue();
        while (batch.Count < batch.Capacity && inwards.TryLeave(out byte[] packet))
        {
            int count = (packet.Length + FramePool.FrameBytes - 1) / FramePool.FrameBytes;
            if (Frames.TryAllocateRun(Frames.RootCredential, count, out FrameNumber first))
            {
                packet.CopyTo(Frames.Bytes(first, count));
                batch.Add(null, [new PacketSlice(first, 0, packet.Length)]);
            }
        }

        return batch.Count;
    }

    protected override void Dispose(bool disposing)
    {
        arrived.Dispose();
        if (leaving is { } frame)
        {
            Frames.Release(frame);
        }
    }

    private void SendDue()
    {
        if (leaving is null)
        {
            Assert.True(Frames.TryAllocateRun(Frames.RootCredential, 1, out FrameNumber frame));
            Assert.False(inner.Features.TransmitsFromFrames);
            leaving = frame;
        }

        while (outwards.TryLeave(out byte[] packet))
        {
            packet.CopyTo(Frames.Bytes(leaving.Value));
            _ = inner.Transmit([new TransmitPacket(new PacketSlice(leaving.Value, 0, packet.Length), 0, 0, default)], default);
        }
    }

    // One direction: what is on its way, by when it comes out.
    private sealed class Way(Random random, Impairments impairments)
    {
        private readonly PriorityQueue<byte[], (long Us, long Number)> packets = new();
        private long number, heldUntilUs;

        public static long NowUs => Stopwatch.GetTimestamp() / (Stopwatch.Frequency / 1_000_000);

        public int Lost { get; private set; }

        public int Repeated { get; private set; }

        public int Reordered { get; private set; }

        public int Damaged { get; private set; }

        public long NextUs => packets.TryPeek(out _, out (long Us, long Number) due) ? due.Us : long.MaxValue;

        public void Enter(byte[] packet)
        {
            if (random.NextDouble() < impairments.Loss || packets.Count >= WaitingMax)
            {
                Lost++;
                return;
            }

            int copies = random.NextDouble() < impairments.Duplication ? 2 : 1;
            Repeated += copies - 1;
            for (int i = 0; i < copies; i++)
            {
                byte[] one = packet;
                if (random.NextDouble() < impairments.Corruption && BinaryPrimitives.ReadUInt16BigEndian(packet.AsSpan(12)) is 0x0800 or 0x86DD)
                {
                    Damaged++;
                    one = [.. packet];
                    one[random.Next(EthernetHeaderBytes, one.Length)] ^= (byte)(1 << random.Next(8));
                }

                if (impairments.HoldAfterPackets > 0 && number % impairments.HoldAfterPackets == impairments.HoldAfterPackets - 1)
                {
                    heldUntilUs = NowUs + (long)impairments.Hold.TotalMicroseconds;
                }

                long due = Math.Max(NowUs, heldUntilUs) + (long)impairments.Delay.TotalMicroseconds;
                if (random.NextDouble() < impairments.Reordering)
                {
                    Reordered++;
                    due += 1 + random.Next(1000);
                }

                packets.Enqueue(one, (due, number++));
            }
        }

        public bool TryLeave(out byte[] packet) => NextUs <= NowUs ? packets.TryDequeue(out packet!, out _) : (packet = []).Length > 0;
    }
}
