// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;
using System.Net;
using Exo.Core.Environments;
using Exo.Core.PacketFilters;

namespace Exo.Core.Net;

/// <summary>
/// One interface for several environments, each with a network stack of its own: packets come to who has the port by a secure binding (<see cref="InterfacePorts"/>, <see cref="PacketDemultiplexer"/>), and
/// leave by weight (<see cref="TransmitShares"/>), if they come from a port that their sender has (<see cref="PacketRefusal"/>): nobody speaks for another's port, or the kernel's.
/// <code>
///   device --filters--> ring of A --> A's device, A's stack --> A's queue --\
///      \-----filters--> ring of B --> B's device, B's stack --> B's queue ----> by weight --> device
/// </code>
/// <para><b>Threads.</b> <see cref="Poll"/>, <see cref="Run"/> and <see cref="Dispose"/> are for the thread that uses the device; each environment's device is for one thread of its own; everything else for any.</para>
/// </summary>
public sealed class SharedInterface : IDisposable
{
    private readonly PacketDemultiplexer _rings;
    private readonly TransmitShares _shares;
    private readonly Lock _lock = new();
    private readonly int _inFlight;
    private EnvironmentDevice[] _devices = [];
    private int _pollerWaits;

    /// <summary>Shares a device, which stays the caller's. All ports are granted to the owner only at first: <see cref="InterfacePorts.Grant"/>.</summary>
    /// <param name="device">The device, opened with the filters if it takes any.</param>
    /// <param name="filters">The filters.</param>
    /// <param name="owner">Whose the ports are; of the authority of the filters and the device's pool.</param>
    /// <param name="addresses">The interface's addresses.</param>
    /// <param name="areKernels">Whether the kernel has the addresses too.</param>
    public SharedInterface(NetworkDevice device, PacketFilterTree filters, ExoEnvironment owner, IEnumerable<IPAddress> addresses, bool areKernels)
    {
        ArgumentNullException.ThrowIfNull(device);
        Device = device;
        Ports = new InterfacePorts(device, filters, owner, addresses, areKernels);
        _rings = new PacketDemultiplexer(device, filters.Authority, filters);
        _shares = new TransmitShares(device);
        _inFlight = device.Features.TransmitsFromFrames ? device.RingFill.TransmitCapacity : 0;
    }

    /// <summary>The device that is shared.</summary>
    public NetworkDevice Device { get; }

    /// <summary>Who may have, and has, which port.</summary>
    public InterfacePorts Ports { get; }

    /// <summary>Packets that came up and that nobody's filter wanted.</summary>
    public long Unclaimed => _rings.Unclaimed;

    /// <summary>Opens an environment's part: two frames for counters and the ring's slots are charged to it; frames for copies of headers are the interface's own. Refused, nothing is changed.</summary>
    /// <param name="owner">Whose it is.</param>
    /// <param name="device">Its device. Disposed with the environment.</param>
    /// <param name="options">How much room, and which part of what is sent; null: the defaults.</param>
    /// <exception cref="Exo.Capabilities.AccessDeniedException">The environment's capability is of another authority than the pool's, or revoked.</exception>
    public QuotaVerdict TryOpen(ExoEnvironment owner, [NotNullWhen(true)] out EnvironmentDevice? device, SharedInterfaceOptions? options = null)
    {
        options ??= new SharedInterfaceOptions();
        device = null;
        QuotaVerdict verdict = _rings.TryOpenRing(owner, options.ReceiveSlots, out PacketRing? ring);
        if (!verdict.IsGranted)
        {
            return verdict;
        }

        TransmitShare? share = null;
        try
        {
            verdict = _shares.TryAdd(owner, options.Weight, options.TransmitPacketsMax, Ports.GuardFor(owner), _inFlight, out share);
        }
        finally
        {
            if (share is null)
            {
                ring!.Dispose();
            }
        }

        if (share is not null)
        {
            device = new EnvironmentDevice(this, ring!, share, options.TransmitPacketsMax);
            lock (_lock)
            {
                _devices = [.. _devices, device];
            }
        }

        return verdict;
    }

    /// <summary>Fetches one batch and sends one. Never blocks; allocates nothing.</summary>
    /// <returns>Packets fetched and sent; 0: nothing was there, or the device takes nothing now.</returns>
    /// <exception cref="NetworkDeviceException">The device is gone.</exception>
    public int Poll()
    {
        int count = _rings.Poll() + _shares.Poll();
        Interlocked.MemoryBarrier();
        foreach (EnvironmentDevice device in Volatile.Read(ref _devices))
        {
            if (device.Owner.HasEnded)
            {
                device.Dispose();
            }
            else
            {
                device.Tell();
            }
        }

        return count;
    }

    /// <summary>Blocks until there may be something to do, or the time is up.</summary>
    public void Wait(TimeSpan most)
    {
        // Who queues a packet looks at this word afterwards.
        Volatile.Write(ref _pollerWaits, 1);
        Interlocked.MemoryBarrier();
        if (Poll() == 0)
        {
            _ = Device.Wait(_shares.IsHeldUp ? NetworkEvents.Receivable | NetworkEvents.Transmittable : NetworkEvents.Receivable, most);
        }

        Volatile.Write(ref _pollerWaits, 0);
    }

    /// <summary>Polls and waits until cancelled; once a second the device looks at itself again.</summary>
    /// <exception cref="NetworkDeviceException">The device is gone.</exception>
    public void Run(CancellationToken cancellationToken)
    {
        using CancellationTokenRegistration registration = cancellationToken.Register(Device.Wake);
        long refreshed = Environment.TickCount64;
        while (!cancellationToken.IsCancellationRequested)
        {
            if (Environment.TickCount64 - refreshed >= 1000)
            {
                refreshed = Environment.TickCount64;
                Device.Refresh();
            }

            if (Poll() == 0)
            {
                Wait(TimeSpan.FromSeconds(1));
            }
        }
    }

    /// <summary>Closes all environments' parts. The device stays open.</summary>
    public void Dispose()
    {
        foreach (EnvironmentDevice device in Volatile.Read(ref _devices))
        {
            device.Dispose();
        }

        _shares.Dispose();
        _rings.Dispose();
    }

    internal void WakePoller()
    {
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _pollerWaits) != 0)
        {
            Device.Wake();
        }
    }

    internal void Remove(EnvironmentDevice device)
    {
        lock (_lock)
        {
            _devices = [.. _devices.Where(other => other != device)];
        }
    }
}
