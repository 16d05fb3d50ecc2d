// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Linux;
using Exo.Core.PacketFilters;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.Net;

/// <summary>
/// The ports of an interface's addresses, for environments that do not trust each other, and beside the kernel. Who may bind which is said by access-control lists; who has bound one has it alone.
/// <code>
///   TryBind:  granted to a capability that is dominated? -> free here? -> free in the kernel? -> filters, charged to the owner -> the device's program      any no: refused, nothing is changed
/// </code>
/// <para><b>Invariants.</b> A port has at most one binding. A binding has, for each address, a filter for packets to the port and filters for the ICMP errors that quote packets from it. Where the
/// addresses are the kernel's too, it also has a socket of the kernel's bound to the port: the kernel gives it to no program, and none that has it is robbed of it. So at each moment
/// a port's packets go to one: the owner of its binding, or, without one, the kernel. From a port only that owner sends through an <see cref="EnvironmentDevice"/>, without a binding none does
/// (<see cref="SourceGuard"/>): an owner's bit is set before the bit that says the port has one, and cleared after it, so a port that is one's own is never taken for another's.</para>
/// <para>Thread-safe. Order of locks: this one's, then those of environments and of the filters' tree.</para>
/// </summary>
public sealed unsafe class InterfacePorts : IRevocable
{
    private const int FreeBindV4 = 15, FreeBindV6 = 78, OnlyV6 = 26, LevelV6 = 41;

    private readonly NetworkDevice _device;
    private readonly CapabilityAuthority _authority;
    private readonly AccessControlList _all;
    private readonly IPAddress[] _addresses;
    private readonly bool _areKernels;
    private readonly Lock _lock = new();
    private readonly List<(ushort First, ushort Last, AccessControlList Guard)> _granted = [];
    private readonly Dictionary<(byte Protocol, ushort Port), PortBinding> _bindings = [];
    private readonly PortSet _bound = new();
    private readonly ConditionalWeakTable<ExoEnvironment, PortSet> _boundBy = [];
    private ulong _lastNumber;

    /// <summary>All ports belong to one environment at first, which may grant them to others.</summary>
    /// <param name="device">The device, opened with the filters, or behind a <see cref="PacketDemultiplexer"/> that has them. Stays the caller's.</param>
    /// <param name="filters">The filters.</param>
    /// <param name="owner">Whose the ports are.</param>
    /// <param name="addresses">The interface's addresses, at least one.</param>
    /// <param name="areKernels">Whether the kernel has the addresses too. Ports are then bound in it as well, in the network namespace of whoever binds.</param>
    public InterfacePorts(NetworkDevice device, PacketFilterTree filters, ExoEnvironment owner, IEnumerable<IPAddress> addresses, bool areKernels)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(filters);
        ArgumentNullException.ThrowIfNull(owner);
        _device = device;
        Filters = filters;
        _authority = filters.Authority;
        _all = new AccessControlList(owner.Name, capacity: 1, _authority);
        _addresses = [.. addresses];
        _areKernels = areKernels;
        ArgumentOutOfRangeException.ThrowIfZero(_addresses.Length, nameof(addresses));
    }

    /// <summary>The filters.</summary>
    public PacketFilterTree Filters { get; }

    /// <inheritdoc/>
    ResourceKind IRevocable.Kind => ResourceKind.Ports;

    /// <summary>Lets whoever has a capability that dominates a name bind any of some ports. Bindings that are there stay.</summary>
    /// <param name="by">Who grants: needs <see cref="Rights.ModifyAcl"/> to the name of the ports' owner.</param>
    /// <param name="first">The first port, from 1 on.</param>
    /// <param name="last">The last port.</param>
    /// <param name="to">The name.</param>
    /// <exception cref="AccessDeniedException">The credential does not dominate the owner's capability.</exception>
    public void Grant(Credential by, ushort first, ushort last, CapabilityName to)
    {
        ArgumentOutOfRangeException.ThrowIfZero(first);
        ArgumentOutOfRangeException.ThrowIfLessThan(last, first);
        AccessRefusal refusal = _all.Check(by, Rights.ModifyAcl);
        if (refusal != AccessRefusal.None)
        {
            throw new AccessDeniedException("ports", Rights.ModifyAcl, refusal);
        }

        lock (_lock)
        {
            _granted.Add((first, last, new AccessControlList(to, capacity: 1, _authority)));
        }
    }

    /// <summary>The same ports as one environment asks for them.</summary>
    /// <param name="owner">Who gets the ports.</param>
    /// <param name="ring">Where the packets go that a demultiplexer brings; null: the owner uses the device itself.</param>
    public IPortBinder For(ExoEnvironment owner, PacketRing? ring = null)
    {
        ArgumentNullException.ThrowIfNull(owner);
        return new EnvironmentPorts(this, owner, ring);
    }

    /// <inheritdoc/>
    void IRevocable.Repossess(RepossessionOrder order)
    {
        ArgumentNullException.ThrowIfNull(order);
        PortBinding? binding;
        lock (_lock)
        {
            binding = _bindings.Values.FirstOrDefault(candidate => candidate.Number == order.Number && ReferenceEquals(candidate.Owner, order.Holder));
        }

        if (binding is not null)
        {
            TakeOut(binding);
        }
    }

    internal PortVerdict TryBind(ExoEnvironment owner, PacketRing? ring, byte protocol, ushort port, Credential? by, out PortBinding? binding)
    {
        ArgumentOutOfRangeException.ThrowIfZero(port);
        binding = null;
        lock (_lock)
        {
            // Decide.
            AccessRefusal access = Check(by ?? owner.Credential, port);
            if (access != AccessRefusal.None)
            {
                return new PortVerdict(PortRefusal.Access, protocol, port, Access: access);
            }

            if (_bindings.TryGetValue((protocol, port), out PortBinding? other))
            {
                return new PortVerdict(PortRefusal.Taken, protocol, port, Holder: other.Owner);
            }

            PortBinding candidate = new(this, _lastNumber + 1, owner, protocol, port);
            PortVerdict verdict = Acquire(candidate, ring, by);
            if (!verdict.IsBound)
            {
                Release(candidate);
                return verdict;
            }

            // Apply. An owner who ends now waits in Repossess for the lock.
            _bindings.Add((protocol, port), candidate);
            QuotaVerdict quota = owner.TryHold(this, candidate.Number);
            if (!quota.IsGranted)
            {
                _bindings.Remove((protocol, port));
                Release(candidate);
                return new PortVerdict(PortRefusal.Quota, protocol, port, Quota: quota);
            }

            try
            {
                _device.UpdateFilters();
            }
            catch
            {
                _bindings.Remove((protocol, port));
                owner.TryGiveBack(this, candidate.Number);
                Release(candidate);
                throw;
            }

            _lastNumber++;
            int bit = PortSet.IndexOf(protocol, port);
            BoundBy(owner).Set(bit, true);
            _bound.Set(bit, true);
            binding = candidate;
            return verdict;
        }
    }

    /// <summary>What an environment may send.</summary>
    internal SourceGuard GuardFor(ExoEnvironment owner) => new(_device, _addresses, _areKernels, BoundBy(owner), _bound);

    internal void GiveBack(PortBinding binding)
    {
        if (binding.Owner.TryGiveBack(this, binding.Number))
        {
            TakeOut(binding);
        }
    }

    private PortSet BoundBy(ExoEnvironment owner) => _boundBy.GetValue(owner, static _ => new PortSet());

    private AccessRefusal Check(Credential by, ushort port)
    {
        AccessRefusal refusal = _all.Check(by, Rights.Write);
        foreach ((ushort first, ushort last, AccessControlList guard) in _granted)
        {
            if (refusal == AccessRefusal.None)
            {
                break;
            }

            if (port >= first && port <= last)
            {
                refusal = guard.Check(by, Rights.Write);
            }
        }

        return refusal;
    }

    // Everything that a binding is made of; what was had of it when this refuses is in the candidate.
    private PortVerdict Acquire(PortBinding candidate, PacketRing? ring, Credential? by)
    {
        (byte protocol, ushort port) = (candidate.Protocol, candidate.Port);
        if (_areKernels)
        {
            foreach (IPAddress address in _addresses)
            {
                if (!TryReserve(protocol, new IPEndPoint(address, port), out SafeFileHandle? reservation))
                {
                    return new PortVerdict(PortRefusal.Taken, protocol, port);
                }

                candidate.Reservations.Add(reservation);
            }
        }

        foreach (PacketFilter filter in _addresses.SelectMany(address => FiltersFor(protocol, new IPEndPoint(address, port))))
        {
            FilterVerdict verdict = ring is { Demultiplexer: { } rings } && ReferenceEquals(rings.Filters, Filters)
                ? rings.TryInsert(ring, filter, out InstalledFilter? installed, by)
                : Filters.TryInsert(candidate.Owner, filter, out installed, by);
            switch (verdict.Refusal)
            {
                case FilterRefusal.Access:
                    return new PortVerdict(PortRefusal.Access, protocol, port, Access: verdict.Access);
                case FilterRefusal.Overlap:
                    return new PortVerdict(PortRefusal.Taken, protocol, port, Holder: verdict.InTheWay!.Owner);
                case FilterRefusal.Quota:
                    return new PortVerdict(PortRefusal.Quota, protocol, port, Quota: verdict.Quota);
            }

            candidate.Filters.Add(installed!);
        }

        return new PortVerdict(PortRefusal.None, protocol, port);
    }

    private static IEnumerable<PacketFilter> FiltersFor(byte protocol, IPEndPoint local)
    {
        yield return ProtocolFilters.Port(protocol, local);
        foreach (byte type in local.AddressFamily == AddressFamily.InterNetwork
            ? (byte[])[ProtocolFilters.UnreachableV4] : [ProtocolFilters.UnreachableV6, ProtocolFilters.TooBigV6])
        {
            yield return ProtocolFilters.PortErrors(protocol, local, type);
        }
    }

    private void TakeOut(PortBinding binding)
    {
        lock (_lock)
        {
            _bindings.Remove((binding.Protocol, binding.Port));
            int bit = PortSet.IndexOf(binding.Protocol, binding.Port);
            _bound.Set(bit, false);
            BoundBy(binding.Owner).Set(bit, false);
            foreach (InstalledFilter filter in binding.Filters)
            {
                filter.Dispose();
            }

            try
            {
                _device.UpdateFilters();
            }
            catch (Exception failure) when (failure is NetworkDeviceException or ObjectDisposedException)
            {
                // A device that is gone brings nobody anything; one whose kernel refuses a shorter program drops the port's packets until its next refresh.
            }

            // Last: the kernel gets the port when its packets go there.
            binding.Reservations.ForEach(static reservation => reservation.Dispose());
        }
    }

    private static void Release(PortBinding candidate)
    {
        candidate.Filters.ForEach(static filter => filter.Dispose());
        candidate.Reservations.ForEach(static reservation => reservation.Dispose());
    }

    // A socket that is bound and never used: the kernel neither lets a program bind the port nor takes it for a connection of its own.
    private static bool TryReserve(byte protocol, IPEndPoint local, [NotNullWhen(true)] out SafeFileHandle? reservation)
    {
        reservation = null;
        bool isV4 = local.AddressFamily == AddressFamily.InterNetwork;
        int kind = protocol == ProtocolFilters.Udp ? PacketAbi.SOCK_DGRAM : Libc.SocketStream;
        int fd = Libc.Socket(isV4 ? Libc.AddressFamilyInet : Libc.AddressFamilyInet6, kind | Libc.SocketNonBlocking | Libc.SocketCloseOnExec, 0);
        if (fd < 0)
        {
            throw new IOException($"Cannot make a socket: {Errno.Describe(Errno.Last)}.");
        }

        SafeFileHandle socket = new(fd, ownsHandle: true);
        int on = 1;
        _ = Libc.SetSocketOption(fd, isV4 ? 0 : LevelV6, isV4 ? FreeBindV4 : FreeBindV6, &on, sizeof(int));   // an address of IPv6 may be tentative still
        if (!isV4)
        {
            _ = Libc.SetSocketOption(fd, LevelV6, OnlyV6, &on, sizeof(int));
        }

        SocketAddress address = local.Serialize();
        int errno;
        fixed (byte* bytes = address.Buffer.Span)
        {
            errno = Libc.Bind(fd, bytes, (uint)address.Size) == 0 ? 0 : Errno.Last;
        }

        if (errno == 0)
        {
            reservation = socket;
            return true;
        }

        socket.Dispose();
        return errno == Libc.ErrnoAddressInUse ? false : throw new IOException($"Cannot bind {local} in the kernel: {Errno.Describe(errno)}.");
    }

    private sealed class EnvironmentPorts(InterfacePorts ports, ExoEnvironment owner, PacketRing? ring) : IPortBinder
    {
        public PortVerdict TryBind(byte protocol, ushort port, Credential? by, [NotNullWhen(true)] out PortBinding? binding)
        {
            PortVerdict verdict = ports.TryBind(owner, ring, protocol, port, by, out binding);
            Invariant.Check(verdict.IsBound == (binding is not null));
            return verdict;
        }
    }
}
