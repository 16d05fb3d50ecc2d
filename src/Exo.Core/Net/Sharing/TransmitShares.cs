// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Sharing;

namespace Exo.Core.Net;

/// <summary>
/// One interface shared by weight for sending: each environment has a queue of its own (<see cref="TransmitShare"/>), and <see cref="Poll"/> gives the device what is next by deficit round robin, counted in bytes. With
/// <see cref="PacketDemultiplexer"/>, which shares what comes in by filters, a device serves environments that do not trust each other.
/// <code>
///   environment --TrySend--> | queue, weight 2 | --\
///                                                   Poll --> the device, as much as it takes
///   environment --TrySend--> | queue, weight 1 | --/
/// </code>
/// What one does not send the others may. A packet that breaks the device's rules is refused to who sends it, so that nobody else is held up by it. Whose addresses and ports it names is looked at
/// where ports are bound: <see cref="SharedInterface"/>.
/// <para><b>Threads.</b> <see cref="Poll"/> and <see cref="Dispose"/> are for the thread that uses the device; everything else for any.</para>
/// </summary>
public sealed class TransmitShares : IDisposable
{
    /// <summary>Pieces of payload that a packet may have, whatever the device takes.</summary>
    internal const int SlicesMax = 1024;

    private const long QuantumBytes = 16 << 10;

    // A leaf: who sends and who polls are in it for a moment.
    private readonly Lock _lock = new();
    private readonly ShareWheel _wheel = new(QuantumBytes);
    private readonly List<TransmitShare> _shares = [];
    private readonly TransmitBatch _batch = new(NetworkDevice.BatchPacketsMax, SlicesMax);
    private readonly TransmitShare[] _batched = new TransmitShare[NetworkDevice.BatchPacketsMax];
    private int _firstBatched;
    private bool _isDisposed;

    /// <summary>Shares a device, which stays the caller's.</summary>
    public TransmitShares(NetworkDevice device)
    {
        ArgumentNullException.ThrowIfNull(device);
        Device = device;
    }

    /// <summary>The device that is shared.</summary>
    public NetworkDevice Device { get; }

    /// <summary>The device did not take all of what was next. For the thread that polls.</summary>
    internal bool IsHeldUp => _batch.Count > 0;

    internal Lock Lock => _lock;

    /// <summary>Makes a share for an environment: a frame for its counters is charged to it. Refused, nothing is changed.</summary>
    /// <param name="owner">Whose it is.</param>
    /// <param name="weight">Its part of what is sent, in proportion to the weights of the others who have something to send: 1 to 1,000,000.</param>
    /// <param name="packetsMax">Packets that wait in it at most, 1 to 65,536.</param>
    /// <param name="share">The share.</param>
    /// <exception cref="Exo.Capabilities.AccessDeniedException">The environment's capability is of another authority than the pool's, or revoked.</exception>
    public QuotaVerdict TryAdd(ExoEnvironment owner, int weight, int packetsMax, [NotNullWhen(true)] out TransmitShare? share) => TryAdd(owner, weight, packetsMax, null, 0, out share);

    /// <summary>The same for one who may send only what a guard lets through.</summary>
    /// <param name="owner">Whose it is.</param>
    /// <param name="weight">Its part of what is sent.</param>
    /// <param name="packetsMax">Packets that wait in it at most.</param>
    /// <param name="guard">The guard; null: it may send everything.</param>
    /// <param name="inFlight">Packets that the device holds beside those at most.</param>
    /// <param name="share">The share.</param>
    internal QuotaVerdict TryAdd(ExoEnvironment owner, int weight, int packetsMax, SourceGuard? guard, int inFlight, [NotNullWhen(true)] out TransmitShare? share)
    {
        ArgumentNullException.ThrowIfNull(owner);
        ArgumentOutOfRangeException.ThrowIfLessThan(packetsMax, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(packetsMax, 1 << 16);
        share = null;
        TransmitFlow flow = new(weight, packetsMax);
        QuotaVerdict verdict = owner.TryAllocateFrame(Device.Frames, out FrameNumber counters);
        if (!verdict.IsGranted)
        {
            return verdict;
        }

        HeaderCopies? headers = guard is null ? null : HeaderCopies.TryMake(Device.Frames, packetsMax + NetworkDevice.BatchPacketsMax + inFlight);
        if (guard is not null && headers is null)
        {
            owner.TryReleaseFrame(Device.Frames, counters);
            return new QuotaVerdict(QuotaRefusal.NoneFree, owner);
        }

        Device.Frames.Retain(counters);
        Device.Frames.Bytes(counters).Clear();
        TransmitShare made = new(this, owner, flow, counters, guard, headers);
        bool isDisposed;
        lock (_lock)
        {
            isDisposed = _isDisposed;
            _shares.Add(made);
        }

        if (isDisposed)
        {
            made.Dispose();
            throw new ObjectDisposedException(nameof(TransmitShares));
        }

        share = made;
        return verdict;
    }

    /// <summary>Sends what is next, as much as the device takes and a batch holds. Never blocks; allocates nothing.</summary>
    /// <returns>Packets that the device has accepted; 0: nothing waits, or it takes nothing now (<see cref="NetworkDevice.Wait"/>).</returns>
    /// <exception cref="NetworkDeviceException">The device is gone.</exception>
    public int Poll()
    {
        if (_batch.Count == 0)
        {
            lock (_lock)
            {
                _firstBatched = 0;
                while (_wheel.Next() is TransmitFlow { Owner: { } share })
                {
                    int count = _batch.Count;
                    if (!share.TryTake(_batch))
                    {
                        break;
                    }

                    if (_batch.Count > count)
                    {
                        _batched[count] = share;
                    }
                }
            }
        }

        if (_batch.Count == 0)
        {
            return 0;
        }

        int sent = 0;
        try
        {
            sent = Device.Transmit(_batch.Packets, _batch.Slices);
        }
        catch (ArgumentException)
        {
            // The device takes less than when the packets were queued (its MTU has changed). Which of them it does not take shows one by one.
            sent = SendFirst();
        }

        Done(sent);
        return sent;
    }

    /// <summary>Closes all shares; what waits is dropped. The device stays open.</summary>
    public void Dispose()
    {
        TransmitShare[] shares;
        lock (_lock)
        {
            _isDisposed = true;
            shares = [.. _shares];
        }

        // Packets on the way from a share to the device keep their references until they are done with.
        Done(_batch.Count);
        Array.ForEach(shares, static share => share.Dispose());
    }

    internal void Activate(TransmitFlow flow) => _wheel.Activate(flow);

    internal void Remove(TransmitShare share)
    {
        lock (_lock)
        {
            _shares.Remove(share);
        }
    }

    /// <summary>The first packet alone; one that the device refuses is lost.</summary>
    private int SendFirst()
    {
        try
        {
            return Device.Transmit(_batch.Packets[..1], _batch.Slices);
        }
        catch (ArgumentException)
        {
            return 1;
        }
    }

    // The device is through with the first packets of the batch, or holds their frames itself.
    private void Done(int count)
    {
        ReadOnlySpan<TransmitPacket> packets = _batch.Packets[..count];
        for (int i = 0; i < count; i++)
        {
            TransmitFrames.Release(Device.Frames, packets[i].Header, _batch.Slices.Slice(packets[i].FirstSlice, packets[i].SliceCount));
        }

        for (int i = 0; i < count; i++)
        {
            // Once for each run of packets of one share.
            TransmitShare share = _batched[_firstBatched + i];
            if (i + 1 == count || _batched[_firstBatched + i + 1] != share)
            {
                share.RingCounters();
            }
        }

        _firstBatched += count;
        _batch.RemoveFirst(count);
    }
}
