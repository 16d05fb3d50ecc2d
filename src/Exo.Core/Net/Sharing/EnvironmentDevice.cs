// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Environments;

namespace Exo.Core.Net;

/// <summary>
/// An environment's part of an interface (<see cref="SharedInterface"/>) as a device: what comes in is what its filters accept, what goes out comes from its ports
/// and waits for its turn. A stack runs on it as on a device of its own; its ports come from <see cref="Ports"/>. A packet that is said to come from elsewhere is accepted, as any device accepts what will be
/// lost, and goes nowhere: a stack whose port has just been taken from it is not to fail for that. It is counted (<see cref="NetworkDeviceCounters.TransmitRefused"/>), by reasons too.
/// </summary>
public sealed class EnvironmentDevice : NetworkDevice
{
    private readonly SharedInterface _shared;
    private readonly TransmitShare _share;
    private readonly int _packetsMax;
    private readonly DeviceWait _wait = new();
    private Snapshot _features;
    private DeviceTally _tally;
    private int _lastRefusal;
    private int _sleepsFor;
    private int _isClosed;

    internal EnvironmentDevice(SharedInterface shared, PacketRing ring, TransmitShare share, int packetsMax)
        : base(shared.Device.Name, shared.Device.Frames)
    {
        _shared = shared;
        _share = share;
        _packetsMax = packetsMax;
        Ring = ring;
        Ports = shared.Ports.For(ring.Owner, ring);
        _features = new Snapshot(shared.Device.Features);
    }

    /// <summary>Whose it is.</summary>
    public ExoEnvironment Owner => Ring.Owner;

    /// <summary>Its packets that have come in.</summary>
    public PacketRing Ring { get; }

    /// <inheritdoc/>
    public override IPortBinder Ports { get; }

    /// <inheritdoc/>
    public override NetworkDeviceFeatures Features
    {
        get
        {
            NetworkDeviceFeatures device = _shared.Device.Features;
            Snapshot known = Volatile.Read(ref _features);
            if (!ReferenceEquals(device, known.Device))
            {
                known = new Snapshot(device);
                Volatile.Write(ref _features, known);
            }

            return known.Own;
        }
    }

    /// <inheritdoc/>
    public override NetworkDeviceCounters Counters
    {
        get
        {
            NetworkDeviceCounters counters = _tally.Read();
            long refused = 0;
            for (PacketRefusal reason = PacketRefusal.Malformed; reason <= PacketRefusal.Message; reason++)
            {
                refused += _share.RefusedFor(reason);
            }

            return counters with { ReceiveDropped = counters.ReceiveDropped + Ring.Lost, TransmitRefused = refused };
        }
    }

    /// <summary>Why the last packet of those handed over that was refused was; <see cref="PacketRefusal.None"/>: none was.</summary>
    public PacketRefusal LastRefusal => (PacketRefusal)Volatile.Read(ref _lastRefusal);

    /// <summary>Packets that wait for their turn.</summary>
    public override int TransmitsInFlight => _share.Count;

    /// <inheritdoc/>
    public override NetworkDeviceRings RingFill => new(Ring.Count, Ring.Capacity, _share.Count, _packetsMax);

    /// <summary>Packets that were refused for a reason, those included whose port had got another owner while they waited (<see cref="PacketRefusal.Port"/>).</summary>
    public long RefusedFor(PacketRefusal reason)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((byte)reason, (byte)PacketRefusal.Message, nameof(reason));
        return _share.RefusedFor(reason);
    }

    /// <inheritdoc/>
    public override NetworkEvents Wait(NetworkEvents wanted, TimeSpan timeout)
    {
        // Who fills the ring looks at this word after he has filled it; the fence on either side makes one of both see the other.
        Volatile.Write(ref _sleepsFor, (int)wanted);
        Interlocked.MemoryBarrier();
        NetworkEvents happened = Happened(wanted);
        if (happened == NetworkEvents.None)
        {
            _tally.SystemCalls++;
            happened = _wait.Wait(-1, NetworkEvents.None, timeout);
        }

        Volatile.Write(ref _sleepsFor, 0);
        return happened | Happened(wanted);
    }

    /// <inheritdoc/>
    public override void Wake() => _wait.Wake();

    /// <inheritdoc/>
    public override void UpdateFilters() => _shared.Device.UpdateFilters();

    /// <summary>The poller has brought packets, or sent some, behind a fence.</summary>
    internal void Tell()
    {
        if (Volatile.Read(ref _sleepsFor) is var wanted and not 0 && Happened((NetworkEvents)wanted) != NetworkEvents.None)
        {
            _wait.Wake();
        }
    }

    /// <inheritdoc/>
    protected override int TransmitChecked(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices)
    {
        int accepted = 0;
        try
        {
            foreach (ref readonly TransmitPacket packet in packets)
            {
                if (!TryQueue(packet, slices))
                {
                    _tally.TransmitFull++;
                    break;
                }

                accepted++;
            }
        }
        catch (ObjectDisposedException)
        {
            throw Gone();
        }

        _tally.TransmittedPackets += accepted;
        _tally.TransmittedBytes += TransmitLength.Of(packets[..accepted], slices);
        _shared.WakePoller();
        return accepted;
    }

    /// <inheritdoc/>
    protected override int ReceiveInto(ReceiveBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        try
        {
            _ = Ring.Receive(Owner.Credential, batch);
        }
        catch (Exception failure) when (failure is ObjectDisposedException or AccessDeniedException)
        {
            throw Gone();
        }

        foreach (ref readonly ReceivedPacket packet in batch.Packets)
        {
            _tally.ReceivedBytes += packet.LengthBytes;
        }

        _tally.ReceivedPackets += batch.Count;
        return batch.Count;
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (Interlocked.Exchange(ref _isClosed, 1) == 0)
        {
            _shared.Remove(this);
            Ring.Dispose();
            _share.Dispose();
            _wait.Wake();   // the event file stays for whoever waits on it now, and goes with the last reference
        }
    }

    // A packet that the device took when it was checked and takes no longer, its MTU having changed, is lost.
    private bool TryQueue(in TransmitPacket packet, ReadOnlySpan<PacketSlice> slices)
    {
        try
        {
            bool isTaken = _share.TrySend(packet.Header, slices.Slice(packet.FirstSlice, packet.SliceCount), packet.Offload, out PacketRefusal refusal);
            if (refusal != PacketRefusal.None)
            {
                Volatile.Write(ref _lastRefusal, (int)refusal);
            }
            else if (isTaken)
            {
                _tally.TransmitCopiedBytes += packet.Header.LengthBytes;
            }

            return isTaken;
        }
        catch (ArgumentException)
        {
            _tally.TransmitDropped++;
            return true;
        }
    }

    private NetworkEvents Happened(NetworkEvents wanted)
    {
        if (Volatile.Read(ref _isClosed) != 0)
        {
            return wanted;   // the next call says so
        }

        NetworkEvents happened = Ring.Count > 0 ? NetworkEvents.Receivable : NetworkEvents.None;
        return (_share.HasRoom ? happened | NetworkEvents.Transmittable : happened) & wanted;
    }

    private NetworkDeviceException Gone() => new(0, Name, $"The part of {Owner} in {Name} is closed.");

    // A queue holds the frames of what waits in it.
    private sealed class Snapshot(NetworkDeviceFeatures device)
    {
        public NetworkDeviceFeatures Device { get; } = device;

        public NetworkDeviceFeatures Own { get; } = device with { TransmitsFromFrames = true, TransmitSlicesMax = Math.Min(device.TransmitSlicesMax, TransmitShares.SlicesMax) };
    }
}
