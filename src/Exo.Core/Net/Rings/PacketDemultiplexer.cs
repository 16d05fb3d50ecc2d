// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.PacketFilters;

namespace Exo.Core.Net;

/// <summary>
/// One device shared by environments that do not trust each other: packets go to the ring of whoever has the most specific filter that accepts them.
/// <code>
///   device --Poll--> PacketFilterTree.Classify(first slice) --> the filter's ring --> its environment
///                                        \--> nobody's: counted and dropped here. Where the kernel has the packet too (packet sockets, and AF_XDP with the
///                                             tree in its options, which does not even bring it up) the kernel goes on with it.
/// </code>
/// A port is a filter: who has the port has it by a secure binding (<see cref="InstalledFilter"/>), and nobody can put a filter in its way. The interface itself, for sending, is to be
/// put behind a <see cref="SecureResource{T}"/> of the device by whoever opened it.
/// <para><b>Threads.</b> <see cref="Poll"/> is for the thread that uses the device; everything else for any.</para>
/// </summary>
public sealed class PacketDemultiplexer : IRevocable, IDisposable
{
    private readonly NetworkDevice _device;
    private readonly ReceiveBatch _batch;
    private readonly CapabilityAuthority _authority;
    private readonly ConcurrentDictionary<InstalledFilter, PacketRing> _ringByFilter = new(ReferenceEqualityComparer.Instance);
    private readonly ConcurrentDictionary<ExoEnvironment, AccessControlList> _guards = new(ReferenceEqualityComparer.Instance);
    private readonly PacketRing[] _touched = new PacketRing[NetworkDevice.BatchPacketsMax];
    private readonly Lock _lock = new();
    private readonly List<PacketRing> _rings = [];
    private ulong _nextSlot = 1;
    private long _unclaimed;
    private bool _isDisposed;

    /// <summary>Puts filters and rings before a device, which stays the caller's.</summary>
    /// <param name="device">The device.</param>
    /// <param name="authority">Of the environments, and of the device's pool.</param>
    /// <param name="filters">The filters that the device was opened with, of the same authority; null: new ones.</param>
    public PacketDemultiplexer(NetworkDevice device, CapabilityAuthority authority, PacketFilterTree? filters = null)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(authority);
        if (filters is not null && !ReferenceEquals(filters.Authority, authority))
        {
            throw new ArgumentException("The filters are of another authority.", nameof(filters));
        }

        _device = device;
        _authority = authority;
        _batch = new ReceiveBatch(device.Frames);
        Filters = filters ?? new PacketFilterTree(authority);
    }

    /// <summary>The filters. One that is put in without <see cref="TryInsert"/> has no ring: its packets are lost.</summary>
    public PacketFilterTree Filters { get; }

    /// <summary>Packets that no filter wanted, or whose filter has no ring.</summary>
    public long Unclaimed => Volatile.Read(ref _unclaimed);

    /// <inheritdoc/>
    ResourceKind IRevocable.Kind => ResourceKind.RingSlots;

    /// <summary>Opens a ring for an environment: one frame for its counters and its slots are charged to it. Refused, nothing is changed.</summary>
    /// <exception cref="AccessDeniedException">The environment's capability is of another authority than the pool's, or revoked.</exception>
    public QuotaVerdict TryOpenRing(ExoEnvironment owner, int slots, [NotNullWhen(true)] out PacketRing? ring)
    {
        ArgumentNullException.ThrowIfNull(owner);
        ArgumentOutOfRangeException.ThrowIfLessThan(slots, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(slots, 1 << 16);
        ring = null;
        QuotaVerdict verdict = owner.TryAllocateFrame(_device.Frames, out FrameNumber counters);
        if (!verdict.IsGranted)
        {
            return verdict;
        }

        _device.Frames.Retain(counters);
        _device.Frames.Bytes(counters).Clear();
        PacketRing made;
        bool isDisposed;
        lock (_lock)
        {
            made = new PacketRing(this, owner, _device.Frames, counters, _nextSlot, slots);
            _nextSlot += (ulong)slots;
            isDisposed = _isDisposed;
            _rings.Add(made);
        }

        if (isDisposed)
        {
            Close(made);
            throw new ObjectDisposedException(nameof(PacketDemultiplexer));
        }

        for (int i = 0; i < slots; i++)
        {
            verdict = owner.TryHold(this, made.FirstSlot + (ulong)i);
            if (!verdict.IsGranted)
            {
                Close(made);
                return verdict;
            }
        }

        owner.AddRing(made);
        if (made.IsClosed)
        {
            owner.RemoveRing(made);
        }

        ring = made;
        return verdict;
    }

    /// <summary>Installs a filter of a ring's owner, whose packets go to that ring: <see cref="PacketFilterTree.TryInsert"/>.</summary>
    public FilterVerdict TryInsert(PacketRing ring, PacketFilter filter, out InstalledFilter? installed, Credential? by = null)
    {
        ArgumentNullException.ThrowIfNull(ring);
        FilterVerdict verdict = Filters.TryInsert(ring.Owner, filter, out installed, by);
        if (verdict.IsInstalled)
        {
            _ringByFilter[installed!] = ring;
        }

        return verdict;
    }

    /// <summary>Fetches one batch from the device and puts each packet into its ring. Never blocks; allocates nothing.</summary>
    /// <returns>Packets fetched; 0: nothing had come in.</returns>
    /// <exception cref="NetworkDeviceException">The device is gone.</exception>
    public int Poll()
    {
        int count = _device.Receive(_batch);
        int touchedCount = 0;
        for (int i = 0; i < count; i++)
        {
            if (Filters.Classify(_batch.Head(i)) is not { } filter || !_ringByFilter.TryGetValue(filter, out PacketRing? ring))
            {
                _unclaimed++;
                continue;
            }

            if (ring.TryPut(_batch.Slices(i), _batch.Packets[i]) && !_touched.AsSpan(0, touchedCount).Contains(ring))
            {
                _touched[touchedCount++] = ring;
            }
        }

        // References that rings took stay; the others go back to the device.
        _batch.Clear();
        foreach (PacketRing ring in _touched.AsSpan(0, touchedCount))
        {
            ring.Ring();
        }

        _touched.AsSpan(0, touchedCount).Clear();
        return count;
    }

    /// <summary>Closes all rings. The device stays open.</summary>
    public void Dispose()
    {
        PacketRing[] rings;
        lock (_lock)
        {
            _isDisposed = true;
            rings = [.. _rings];
        }

        foreach (PacketRing ring in rings)
        {
            Close(ring);
        }

        _batch.Dispose();
    }

    /// <inheritdoc/>
    void IRevocable.Repossess(RepossessionOrder order)
    {
        ArgumentNullException.ThrowIfNull(order);
        PacketRing? ring;
        lock (_lock)
        {
            ring = _rings.Find(candidate => order.Number - candidate.FirstSlot < (ulong)candidate.SlotsMax && ReferenceEquals(candidate.Owner, order.Holder));
        }

        ring?.Shrink();
    }

    internal void Close(PacketRing ring)
    {
        if (!ring.TryEnd())
        {
            return;
        }

        ring.Owner.RemoveRing(ring);

        lock (_lock)
        {
            _rings.Remove(ring);
        }

        // Made anew if the owner has another ring.
        _guards.TryRemove(ring.Owner, out _);
        foreach ((InstalledFilter filter, PacketRing its) in _ringByFilter)
        {
            if (ReferenceEquals(its, ring))
            {
                filter.Dispose();
                _ringByFilter.TryRemove(filter, out _);
            }
        }

        for (int i = 0; i < ring.SlotsMax; i++)
        {
            ring.Owner.TryGiveBack(this, ring.FirstSlot + (ulong)i);
        }

        ring.Owner.TryReleaseFrame(_device.Frames, ring.CounterFrame);
    }

    internal void ThrowUnlessGranted(Credential by, ExoEnvironment owner, Rights wanted)
    {
        ArgumentNullException.ThrowIfNull(by);
        AccessControlList guard = _guards.TryGetValue(owner, out AccessControlList? known)
            ? known : _guards.GetOrAdd(owner, new AccessControlList(owner.Name, capacity: 1, _authority));
        AccessRefusal refusal = guard.Check(by, wanted);
        if (refusal != AccessRefusal.None)
        {
            throw new AccessDeniedException("packet ring", wanted, refusal);
        }
    }
}
