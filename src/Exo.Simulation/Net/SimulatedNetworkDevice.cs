// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Net;

namespace Exo.Simulation.Net;

/// <summary>A network device on a <see cref="SimulatedWire"/>, with all that the contract has: segmentation, checksums, frames held while packets are in flight.</summary>
public sealed class SimulatedNetworkDevice : NetworkDevice
{
    private readonly SimulatedWire _wire;
    private readonly ReceiveFrames _receiveFrames;
    private readonly PriorityQueue<WirePacket, (TimeSpan At, long Sequence)> _arriving = new();
    private readonly Queue<InFlight> _inFlight = new();
    private readonly PacketSlice[] _pieces = new PacketSlice[ReceiveSlicesMax];
    private byte[] _whole = new byte[2048];
    private ITimer? _timer;
    private NetworkDeviceFeatures _features;
    private NetworkDeviceCounters _counters;
    private bool _isWoken;
    private bool _isUnplugged;
    private bool _isDisposed;

    internal SimulatedNetworkDevice(SimulatedWire wire, FramePool frames, SimulatedDeviceOptions options, int number)
        : base($"wire:{number}", frames)
    {
        _wire = wire;
        Options = options;
        _features = new NetworkDeviceFeatures
        {
            Driver = "simulated wire",
            Address = options.Address ?? new MacAddress(0x02_00_00_00_00_00UL | (uint)number),
            MtuBytes = options.MtuBytes,
            TransmitChecksum = options.TransmitChecksum,
            ReceiveChecksum = options.ReceiveChecksum,
            SegmentationV4 = options.Segmentation && options.TransmitChecksum,
            SegmentationV6 = options.Segmentation && options.TransmitChecksum,
            ReceiveSuperPackets = options.ReceiveSuperPackets,
            SuperPacketBytesMax = options.Segmentation && options.TransmitChecksum ? ushort.MaxValue : 0,
            TransmitSlicesMax = 64,
            TransmitsFromFrames = options.TransmitsFromFrames,
        };
        _receiveFrames = new ReceiveFrames(frames, options.FrameOwner ?? frames.RootCredential, options.ReceiveFrameCount);
    }

    /// <inheritdoc/>
    public override NetworkDeviceFeatures Features => Volatile.Read(ref _features);

    /// <inheritdoc/>
    public override NetworkDeviceCounters Counters
    {
        get
        {
            lock (_wire.Gate)
            {
                return _counters;
            }
        }
    }

    /// <inheritdoc/>
    public override int TransmitsInFlight => _inFlight.Count;

    /// <summary>Packets whose bytes were changed while the device held their frames: each is a fault of the sender.</summary>
    public long ChangedInFlight { get; private set; }

    internal SimulatedDeviceOptions Options { get; }

    /// <summary>Until when its sender is busy with what it has accepted.</summary>
    internal TimeSpan BusyUntil { get; set; }

    /// <summary>When the last packet that was not reordered arrives.</summary>
    internal TimeSpan LastArrival { get; set; }

    /// <summary>When there is something to do here next: a packet arrives, or one has left. Under the wire's gate.</summary>
    internal TimeSpan? NextEvent
    {
        get
        {
            TimeSpan? next = _arriving.TryPeek(out _, out (TimeSpan At, long Sequence) first) ? first.At : null;
            return _inFlight.TryPeek(out InFlight sending) && !(next <= sending.Departure) ? sending.Departure : next;
        }
    }

    /// <summary>Changes the interface's MTU. The features say so at once.</summary>
    public void SetMtu(int mtuBytes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(mtuBytes, 68);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(mtuBytes, 65_521);
        Volatile.Write(ref _features, _features with { MtuBytes = mtuBytes });
    }

    /// <summary>
    /// Takes the interface away, as when a kernel's is deleted: packets under way are lost, waits end, and what needs the interface throws <see cref="NetworkDeviceException"/> from now on. For any thread.
    /// </summary>
    public void Unplug()
    {
        lock (_wire.Gate)
        {
            if (!_isUnplugged && !_isDisposed)
            {
                _isUnplugged = true;
                LeaveWire();
            }
        }
    }

    /// <inheritdoc/>
    public override void Refresh()
    {
        lock (_wire.Gate)
        {
            ThrowIfGone();
        }
    }

    /// <inheritdoc/>
    public override NetworkEvents Wait(NetworkEvents wanted, TimeSpan timeout)
    {
        bool isForever = timeout == Timeout.InfiniteTimeSpan;
        TimeSpan deadline = isForever ? TimeSpan.MaxValue : _wire.Elapsed + timeout;
        lock (_wire.Gate)
        {
            while (true)
            {
                ObjectDisposedException.ThrowIf(_isDisposed, this);
                if (_isUnplugged)
                {
                    return NetworkEvents.Receivable;   // who goes to receive is told
                }

                TimeSpan now = _wire.Elapsed;
                ReapLocked(now);
                NetworkEvents events = Look(now, wanted);
                if (events != NetworkEvents.None || now >= deadline)
                {
                    return events;
                }

                TimeSpan next = NextEvent is { } at && at > now && at < deadline ? at : deadline;
                Sleep(next == TimeSpan.MaxValue ? Timeout.InfiniteTimeSpan : next - now);
            }
        }
    }

    /// <inheritdoc/>
    public override void Wake()
    {
        lock (_wire.Gate)
        {
            _isWoken = true;
            Monitor.PulseAll(_wire.Gate);
        }
    }

    /// <inheritdoc/>
    public override void Reap()
    {
        lock (_wire.Gate)
        {
            ReapLocked(_wire.Elapsed);
        }
    }

    /// <inheritdoc/>
    protected override int TransmitChecked(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices)
    {
        lock (_wire.Gate)
        {
            ThrowIfGone();
            ReapLocked(_wire.Elapsed);
            int accepted = 0;
            foreach (ref readonly TransmitPacket packet in packets)
            {
                if (Options.TransmitsFromFrames && _inFlight.Count >= Options.TransmitRingPackets)
                {
                    _counters = _counters with { TransmitFull = _counters.TransmitFull + 1 };
                    break;
                }

                ReadOnlySpan<PacketSlice> payload = slices.Slice(packet.FirstSlice, packet.SliceCount);
                Span<byte> whole = Gather(packet.Header, payload);
                _counters = _counters with { TransmittedPackets = _counters.TransmittedPackets + 1, TransmittedBytes = _counters.TransmittedBytes + whole.Length };
                ulong print = Options.TransmitsFromFrames ? Fingerprint(whole) : 0;
                TimeSpan departure = _wire.Send(this, whole, packet.Offload);
                if (Options.TransmitsFromFrames)
                {
                    Hold(packet.Header, payload, departure, print);
                }

                accepted++;
            }

            return accepted;
        }
    }

    /// <inheritdoc/>
    protected override int ReceiveInto(ReceiveBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        lock (_wire.Gate)
        {
            ThrowIfGone();
            TimeSpan now = _wire.Elapsed;
            ReapLocked(now);
            while (batch.Count < batch.Capacity && _arriving.TryPeek(out WirePacket? packet, out (TimeSpan At, long Sequence) first) && first.At <= now)
            {
                _arriving.Dequeue();
                if (TryCopyToFrames(packet.Bytes, out int count))
                {
                    batch.Add(_receiveFrames, _pieces.AsSpan(0, count), packet.Checksum, packet.Offload);
                    _counters = _counters with
                    {
                        ReceivedPackets = _counters.ReceivedPackets + 1, ReceivedBytes = _counters.ReceivedBytes + packet.LengthBytes,
                    };
                }
                else
                {
                    _counters = _counters with { ReceiveDropped = _counters.ReceiveDropped + 1 };
                }

                _wire.Recycle(packet);
            }

            return batch.Count;
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        lock (_wire.Gate)
        {
            if (_isDisposed)
            {
                return;
            }

            _isDisposed = true;
            if (!_isUnplugged)
            {
                LeaveWire();
            }

            _receiveFrames.Dispose();
            _timer?.Dispose();
        }
    }

    private void LeaveWire()
    {
        _wire.Detach(this);
        ReapLocked(TimeSpan.MaxValue);
        while (_arriving.TryDequeue(out WirePacket? packet, out _))
        {
            _wire.Recycle(packet);
        }

        Monitor.PulseAll(_wire.Gate);
    }

    private void ThrowIfGone()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if (_isUnplugged)
        {
            throw new NetworkDeviceException(0, Name, $"The interface {Name} is gone.");
        }
    }

    internal bool Wants(ReadOnlySpan<byte> packet)
    {
        MacAddress destination = MacAddress.Read(packet);
        return Options.IsPromiscuous || destination.IsGroup || destination == _features.Address;
    }

    internal bool TryEnqueue(WirePacket packet, TimeSpan arrival, long sequence)
    {
        if (_arriving.Count >= Options.ReceiveQueuePackets)
        {
            return false;
        }

        _arriving.Enqueue(packet, (arrival, sequence));
        return true;
    }

    private NetworkEvents Look(TimeSpan now, NetworkEvents wanted)
    {
        NetworkEvents events = NetworkEvents.None;
        if (_isWoken)
        {
            _isWoken = false;
            events |= NetworkEvents.Woken;
        }

        if ((wanted & NetworkEvents.Receivable) != 0 && _arriving.TryPeek(out _, out (TimeSpan At, long Sequence) first) && first.At <= now)
        {
            events |= NetworkEvents.Receivable;
        }

        if ((wanted & NetworkEvents.Transmittable) != 0 && (!Options.TransmitsFromFrames || _inFlight.Count < Options.TransmitRingPackets))
        {
            events |= NetworkEvents.Transmittable;
        }

        return events;
    }

    // Under another clock than the system's a timer of that clock ends the wait; whoever moves the clock is on another thread.
    private void Sleep(TimeSpan atMost)
    {
        if (ReferenceEquals(_wire.Time, TimeProvider.System))
        {
            Monitor.Wait(_wire.Gate, atMost == Timeout.InfiniteTimeSpan ? Timeout.Infinite : (int)Math.Min(int.MaxValue, Math.Ceiling(atMost.TotalMilliseconds)));
            return;
        }

        _timer ??= _wire.Time.CreateTimer(
            static state =>
            {
                object gate = ((SimulatedNetworkDevice)state!)._wire.Gate;
                lock (gate)
                {
                    Monitor.PulseAll(gate);
                }
            },
            this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _timer.Change(atMost, Timeout.InfiniteTimeSpan);
        Monitor.Wait(_wire.Gate);
    }

    private Span<byte> Gather(PacketSlice header, ReadOnlySpan<PacketSlice> payload)
    {
        int lengthBytes = header.LengthBytes;
        foreach (PacketSlice slice in payload)
        {
            lengthBytes += slice.LengthBytes;
        }

        if (_whole.Length < lengthBytes)
        {
            _whole = new byte[Math.Max(lengthBytes, ushort.MaxValue)];
        }

        header.Bytes(Frames).CopyTo(_whole);
        int at = header.LengthBytes;
        foreach (PacketSlice slice in payload)
        {
            slice.Bytes(Frames).CopyTo(_whole.AsSpan(at));
            at += slice.LengthBytes;
        }

        return _whole.AsSpan(0, lengthBytes);
    }

    private bool TryCopyToFrames(ReadOnlySpan<byte> packet, out int count)
    {
        count = 0;
        while (!packet.IsEmpty)
        {
            if (!_receiveFrames.TryTake(out FrameNumber frame))
            {
                for (int i = 0; i < count; i++)
                {
                    _receiveFrames.Return(_pieces[i].Frame);
                }

                return false;
            }

            int lengthBytes = Math.Min(packet.Length, FramePool.FrameBytes);
            packet[..lengthBytes].CopyTo(Frames.Bytes(frame));
            _pieces[count++] = new PacketSlice(frame, 0, lengthBytes);
            packet = packet[lengthBytes..];
        }

        return true;
    }

    private void Hold(PacketSlice header, ReadOnlySpan<PacketSlice> payload, TimeSpan departure, ulong print)
    {
        PacketSlice[] all = [header, .. payload];
        foreach (PacketSlice slice in all)
        {
            for (uint i = 0; i < (uint)slice.FrameCount; i++)
            {
                Frames.Retain(new FrameNumber(slice.Frame.Value + i));
            }
        }

        _inFlight.Enqueue(new InFlight(departure, all, print));
    }

    private void ReapLocked(TimeSpan now)
    {
        while (_inFlight.TryPeek(out InFlight sent) && sent.Departure <= now)
        {
            _inFlight.Dequeue();
            if (Fingerprint(Gather(sent.Slices[0], sent.Slices.AsSpan(1))) != sent.Fingerprint)
            {
                ChangedInFlight++;
            }

            foreach (PacketSlice slice in sent.Slices)
            {
                for (uint i = 0; i < (uint)slice.FrameCount; i++)
                {
                    Frames.Release(new FrameNumber(slice.Frame.Value + i));
                }
            }
        }
    }

    // FNV-1a: it must notice accidents, not attackers.
    private static ulong Fingerprint(ReadOnlySpan<byte> bytes)
    {
        ulong hash = 0xcbf2_9ce4_8422_2325;
        foreach (byte value in bytes)
        {
            hash = (hash ^ value) * 0x100_0000_01b3;
        }

        return hash;
    }

    private readonly record struct InFlight(TimeSpan Departure, PacketSlice[] Slices, ulong Fingerprint);
}
