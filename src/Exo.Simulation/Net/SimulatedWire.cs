// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Net;

namespace Exo.Simulation.Net;

/// <summary>
/// A wire in memory with a network device at each end, or a hub with many: what one device sends arrives at the others that it is addressed to, after what the
/// <see cref="Impairments"/> do to it. The same seed, the same packets and the same clock give the same run.
/// <code>
///   device A --cut, checksums--> trace, loss, queue and rate, corruption, delay --by time of arrival--> device B
/// </code>
/// <para><b>Time</b> comes from the clock given; nothing happens by itself: a packet is there when its time has come and the receiver looks. A simulation on
/// one thread lets all stacks look, then moves the clock to the earlier of <see cref="NextArrival"/> and their own timers.</para>
/// Thread-safe: each device may have a thread of its own.
/// </summary>
public sealed class SimulatedWire : IDisposable
{
    // Guards everything; devices wait on it.
    internal readonly object Gate = new();
    private readonly List<SimulatedNetworkDevice> _devices = [];
    private readonly Stack<WirePacket> _free = new();
    private readonly Random _random;
    private readonly long _startTimestamp;
    private long _sequence;
    private WireCounters _counters;
    private WireImpairments _impairments = WireImpairments.None;

    /// <summary>Makes a wire with nothing on it.</summary>
    /// <param name="time">Its clock; null: the system's.</param>
    /// <param name="seed">Decides which packets are hit.</param>
    public SimulatedWire(TimeProvider? time = null, int seed = 1)
    {
        Time = time ?? TimeProvider.System;
        _random = new Random(seed);
        _startTimestamp = Time.GetTimestamp();
    }

    /// <summary>The clock.</summary>
    public TimeProvider Time { get; }

    /// <summary>What is done to packets that are sent from now on.</summary>
    public WireImpairments Impairments
    {
        get => Volatile.Read(ref _impairments);
        set
        {
            ArgumentNullException.ThrowIfNull(value);
            Volatile.Write(ref _impairments, value);
        }
    }

    /// <summary>Where packets are written as they leave their sender, before they can be lost; null: nowhere.</summary>
    public PacketTrace? Trace { get; set; }

    /// <summary>What happened so far.</summary>
    public WireCounters Counters
    {
        get
        {
            lock (Gate)
            {
                return _counters;
            }
        }
    }

    /// <summary>Time since the wire was made.</summary>
    public TimeSpan Elapsed => Time.GetElapsedTime(_startTimestamp);

    /// <summary>When the next packet arrives at any device, as <see cref="Elapsed"/> will say then; it may be past. Null: none is under way.</summary>
    public TimeSpan? NextArrival
    {
        get
        {
            lock (Gate)
            {
                TimeSpan? next = null;
                foreach (SimulatedNetworkDevice device in _devices)
                {
                    if (device.NextEvent is { } at && !(next <= at))
                    {
                        next = at;
                    }
                }

                return next;
            }
        }
    }

    /// <summary>Two devices on a wire of their own.</summary>
    /// <param name="framesA">The first device's pool.</param>
    /// <param name="framesB">The second's; may be the same.</param>
    /// <param name="options">What both can do.</param>
    /// <param name="time">The clock; null: the system's.</param>
    /// <param name="seed">Decides which packets are hit.</param>
    public static (SimulatedWire Wire, SimulatedNetworkDevice A, SimulatedNetworkDevice B) CreatePair(
        FramePool framesA, FramePool framesB, SimulatedDeviceOptions? options = null, TimeProvider? time = null, int seed = 1)
    {
        SimulatedWire wire = new(time, seed);
        SimulatedNetworkDevice a = wire.Attach(framesA, options);
        return (wire, a, wire.Attach(framesB, options is null ? null : options with { Address = null }));
    }

    /// <summary>Puts one more device on the wire. It leaves when it is disposed.</summary>
    /// <exception cref="InvalidOperationException">The pool has not the frames to receive into.</exception>
    public SimulatedNetworkDevice Attach(FramePool frames, SimulatedDeviceOptions? options = null)
    {
        lock (Gate)
        {
            SimulatedNetworkDevice device = new(this, frames, options ?? new SimulatedDeviceOptions(), _devices.Count + 1);
            _devices.Add(device);
            return device;
        }
    }

    /// <summary>Takes all devices off.</summary>
    public void Dispose()
    {
        while (true)
        {
            SimulatedNetworkDevice device;
            lock (Gate)
            {
                if (_devices.Count == 0)
                {
                    return;
                }

                device = _devices[^1];
            }

            device.Dispose();
        }
    }

    internal void Detach(SimulatedNetworkDevice device) => _devices.Remove(device);

    internal void Recycle(WirePacket packet) => _free.Push(packet);

    /// <summary>
    /// One packet or super-packet of a sender, in one piece. Under <see cref="Gate"/>.
    /// </summary>
    /// <returns>When its last bit has left the sender.</returns>
    internal TimeSpan Send(SimulatedNetworkDevice sender, Span<byte> packet, PacketOffload offload)
    {
        TimeSpan departure = Elapsed;
        if (MayStayWhole(sender))
        {
            WirePacket whole = Take(packet.Length);
            packet.CopyTo(whole.Buffer);
            whole.Checksum = offload.NeedsChecksum ? ChecksumState.Partial : ChecksumState.Unknown;
            whole.Offload = offload;
            return Carry(sender, whole);
        }

        int count = PacketSegmenter.SegmentCount(packet.Length, offload);
        for (int i = 0; i < count; i++)
        {
            WirePacket segment;
            if (offload.IsSuperPacket)
            {
                segment = Take(Math.Min(packet.Length, offload.HeaderBytes + offload.SegmentBytes));
                segment.LengthBytes = PacketSegmenter.WriteSegment(packet, offload, i, segment.Buffer);
            }
            else
            {
                segment = Take(packet.Length);
                packet.CopyTo(segment.Buffer);
                PacketChecksum.TryComplete(segment.Buffer.AsSpan(0, packet.Length), offload);
            }

            segment.Checksum = offload.NeedsChecksum ? ChecksumState.Verified : ChecksumState.Unknown;
            segment.Offload = default;
            departure = Carry(sender, segment);
        }

        return departure;
    }

    private bool MayStayWhole(SimulatedNetworkDevice sender)
    {
        if (Trace is not null || Impairments != WireImpairments.None)
        {
            return false;
        }

        foreach (SimulatedNetworkDevice device in _devices)
        {
            if (device != sender && !device.Options.ReceiveSuperPackets)
            {
                return false;
            }
        }

        return true;
    }

    // Takes the packet over.
    private TimeSpan Carry(SimulatedNetworkDevice sender, WirePacket packet)
    {
        WireImpairments impairments = Impairments;
        TimeSpan now = Elapsed;
        _counters = _counters with { Sent = _counters.Sent + 1 };
        TimeSpan departure = now;
        bool isMarked = Draw(impairments.Marking);
        if (impairments.BitsPerSecond > 0)
        {
            TimeSpan begin = sender.BusyUntil > now ? sender.BusyUntil : now;
            double backlogBytes = (begin - now).TotalSeconds * impairments.BitsPerSecond / 8;
            if (impairments.QueueBytes > 0 && backlogBytes + packet.LengthBytes > impairments.QueueBytes)
            {
                _counters = _counters with { Overflowed = _counters.Overflowed + 1 };
                Recycle(packet);
                return now;
            }

            isMarked |= impairments.MarkingQueueBytes > 0 && backlogBytes >= impairments.MarkingQueueBytes;
            departure = begin + TimeSpan.FromTicks((long)Math.Ceiling(packet.LengthBytes * 8.0 * TimeSpan.TicksPerSecond / impairments.BitsPerSecond));
            sender.BusyUntil = departure;
        }

        Trace?.Write(departure, packet.Bytes);
        if (impairments.PathMtuBytes > 0 && packet.LengthBytes > impairments.PathMtuBytes + NetworkDevice.EthernetHeaderBytes)
        {
            _counters = _counters with { TooLong = _counters.TooLong + 1 };
        }
        else if (Draw(impairments.Loss))
        {
            _counters = _counters with { Lost = _counters.Lost + 1 };
        }
        else
        {
            if (isMarked && CongestionMark.TrySet(packet.Bytes))
            {
                _counters = _counters with { Marked = _counters.Marked + 1 };
            }

            Deliver(sender, packet, departure, impairments);
            if (Draw(impairments.Duplication))
            {
                _counters = _counters with { Duplicated = _counters.Duplicated + 1 };
                Deliver(sender, packet, departure, impairments);
            }
        }

        Recycle(packet);
        return departure;
    }

    private void Deliver(SimulatedNetworkDevice sender, WirePacket packet, TimeSpan departure, WireImpairments impairments)
    {
        TimeSpan arrival = departure + impairments.Delay;
        if (impairments.Jitter > TimeSpan.Zero)
        {
            arrival += TimeSpan.FromTicks(_random.NextInt64(impairments.Jitter.Ticks));
        }

        bool isLate = Draw(impairments.Reordering);
        if (isLate)
        {
            arrival += impairments.ReorderingDelay;
            _counters = _counters with { Reordered = _counters.Reordered + 1 };
        }
        else
        {
            // In order: jitter makes gaps, it does not overtake.
            arrival = sender.LastArrival > arrival ? sender.LastArrival : arrival;
            sender.LastArrival = arrival;
        }

        int wrongBit = -1;
        if (packet.LengthBytes > NetworkDevice.EthernetHeaderBytes && Draw(impairments.Corruption))
        {
            wrongBit = _random.Next(NetworkDevice.EthernetHeaderBytes * 8, packet.LengthBytes * 8);
            _counters = _counters with { Corrupted = _counters.Corrupted + 1 };
        }

        foreach (SimulatedNetworkDevice device in _devices)
        {
            if (device == sender || !device.Wants(packet.Bytes))
            {
                continue;
            }

            WirePacket copy = Take(packet.LengthBytes);
            packet.Bytes.CopyTo(copy.Buffer);
            copy.Offload = packet.Offload;
            copy.Checksum = packet.Checksum == ChecksumState.Verified && !device.Options.ReceiveChecksum ? ChecksumState.Unknown : packet.Checksum;
            if (wrongBit >= 0)
            {
                copy.Buffer[wrongBit / 8] ^= (byte)(1 << (wrongBit % 8));
                copy.Checksum = ChecksumState.Unknown;
            }

            if (!device.TryEnqueue(copy, arrival, ++_sequence))
            {
                _counters = _counters with { Overflowed = _counters.Overflowed + 1 };
                Recycle(copy);
            }
        }

        Monitor.PulseAll(Gate);
    }

    private WirePacket Take(int lengthBytes)
    {
        if (!_free.TryPop(out WirePacket? packet))
        {
            packet = new WirePacket();
        }

        packet.Reserve(lengthBytes);
        return packet;
    }

    private bool Draw(double probability) => probability > 0 && _random.NextDouble() < probability;
}
