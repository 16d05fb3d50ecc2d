// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Linux;
using Exo.Core.Memory;
using Exo.Core.Observation;
using Exo.Host.Protocol;
using Exo.Storage.XN;

namespace Exo.Host;

/// <summary>
/// An exokernel in a process of its own: it has the disk, the frames and XN, and library OSes in other processes attach to it (<see cref="HostClient"/>). What protects them from one another is the processor:
/// a client has mapped its own memory and nothing else.
/// <code>
///   the client's process                                      the host
///   requests     written by the client                        copied once, then looked at
///   replies      read-only                                    written
///   registry     read-only                                    XN's own, shared by all
///   blocks       read-only: what was read in for it,          frames of the pool with a memory file of their own
///                and its metadata
///   frames       its own to write: contents of data           the same; XN writes to the disk from there
/// </code>
/// One thread serves each client; what it holds a thread up with holds up itself. Who lies is refused, who breaks the protocol is disconnected, who dies is cleaned up after: what it had in core goes to the host's own frames, where
/// others who may find it, and nobody gets memory that it may still have mapped somewhere.
/// </summary>
public sealed class HostServer : IDisposable
{
    // What XN and those who open roots need for a moment.
    private const int ReserveFrames = 32;

    private readonly HostServerOptions _options;
    private readonly HostDisk _disk;
    private readonly SharedMemory _registry;
    private readonly Dictionary<uint, DiskAllowance> _allowances = [];
    private readonly Lock _lock = new();
    private readonly List<HostSession> _sessions = [];
    private readonly List<HostSession> _leftovers = [];

    // Sessions that are over and whose threads may still be cleaning up, after themselves or after others.
    private readonly List<HostSession> _ending = [];
    private readonly ObserverService _observers;
    private readonly Reception _reception;
    private bool _isStopping;

    private HostServer(XnVolume volume, HostDisk disk, SharedMemory registry, HostServerOptions options)
    {
        _disk = disk;
        Volume = volume;
        _registry = registry;
        _options = options;
        _observers = new ObserverService(Observe, options.ObserversMax);
        _reception = new Reception(options.SocketPath, Welcome);
    }

    /// <summary>The disk's XN, for those in the host's own process. When the host is short of frames, clean blocks that are in none of a client's leave core.</summary>
    public XnVolume Volume { get; }

    /// <summary>Library OSes that are attached.</summary>
    public int Clients
    {
        get
        {
            lock (_lock)
            {
                return _sessions.Count;
            }
        }
    }

    /// <summary>The clients, in the order of their coming.</summary>
    internal IReadOnlyList<HostSession> Sessions
    {
        get
        {
            lock (_lock)
            {
                return [.. _sessions];
            }
        }
    }

    internal HostServerOptions Options => _options;

    internal FramePool Frames => Volume.Frames;

    internal HostDisk Disk => _disk;

    internal SharedMemory Registry => _registry;

    /// <summary>Attaches the volume on a disk and listens. A socket that is left over from a host that has gone is replaced.</summary>
    /// <param name="device">The disk, with frames for all clients; they must not be registered with the kernel (<see cref="BlockDeviceOptions.RegisterFrames"/>), and are better off without <see cref="FramePoolOptions.LargePages"/>, whose memory clients
    /// leave unused. It stays the caller's.</param>
    /// <param name="options">Where to listen, and how large things are.</param>
    /// <exception cref="XnFormatException">There is no XN volume on the disk.</exception>
    /// <exception cref="SocketException">The socket cannot be made.</exception>
    /// <exception cref="ArgumentException">An option is out of its range.</exception>
    public static HostServer Start(BlockDevice device, HostServerOptions options)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.ClientsMax, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.BlocksPerClient, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.FramesPerClient, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.ClientsPerUser ?? 1, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(options.DiskBlocksPerUser ?? 0);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.RequestsPerSecond ?? 1, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(options.ObserversMax);

        // Address space for every block of the disk at once: no client can fill the registry. Memory is used by what is in it.
        SharedMemory registry = SharedMemory.Create("exo-registry", SharedTableMemory.BytesFor(device.Geometry.BlockCount), readOnlyForOthers: true);
        HostDisk? disk = null;
        XnVolume? volume = null;
        try
        {
            disk = new HostDisk(device, options.DiskBytesUnderWay);
            volume = XnVolume.Attach(disk, new XnAttachOptions { RegistryMemory = new SharedTableMemory(registry.Address, registry.LengthBytes, new MappedWhileReachable(registry), isWriter: true) });
            return new HostServer(volume, disk, registry, options);
        }
        catch
        {
            volume?.Dispose();
            disk?.Dispose();
            throw;
        }
    }

    /// <summary>
    /// The host at this moment: its clients as they are served, the rings that they ask by, the frames, the registry. What observers are told who connect to the host's socket (<see cref="ExokernelObserver"/>). Holds up no client but for the moment that XN's lock is
    /// taken.
    /// </summary>
    /// <exception cref="ObjectDisposedException">The volume is closed.</exception>
    public ExokernelSnapshot Observe()
    {
        List<ClientSnapshot> clients = [];
        List<RingSnapshot> rings = [];
        foreach (HostSession session in Sessions)
        {
            session.Observe(clients, rings);
        }

        return ExokernelSnapshot.Take(_options.Name, Frames, Volume) with { Clients = clients, Rings = rings };
    }

    /// <summary>Ends all connections, writes everything back that can be, and unmounts. What a library OS had not made durable survives as well, where its order allows.</summary>
    /// <returns>Whether the volume was left clean.</returns>
    public bool Close()
    {
        Stop();
        WriteEverythingBack();
        return Volume.Unmount() == XnStatus.Ok;
    }

    /// <summary>Ends all connections, as if all clients had died, and closes the volume as a crash would. See <see cref="Close"/>.</summary>
    public void Dispose()
    {
        Stop();
        Volume.Dispose();
        CleanUp();
        _disk.Dispose();
    }

    /// <summary>Whether a frame is in nobody's memory but the host's.</summary>
    internal bool IsHostsOwn(FrameNumber frame)
    {
        lock (_lock)
        {
            return !_sessions.Concat(_leftovers).Any(session => session.Has(frame));
        }
    }

    /// <summary>A frame for what a client has left behind; some are left to others.</summary>
    /// <returns>False: there is none, and nothing can be written back.</returns>
    internal bool TryTakeFrame(out FrameNumber frame)
    {
        if (Frames.FreeCount <= ReserveFrames)
        {
            MakeRoom(ReserveFrames + 1);
        }

        return Frames.TryAllocate(Frames.RootCredential, out frame);
    }

    internal void Ended(HostSession session)
    {
        lock (_lock)
        {
            _sessions.Remove(session);
            _leftovers.Add(session);
            _ending.RemoveAll(static other => !other.IsRunning);
            _ending.Add(session);
        }

        CleanUp();
    }

    private void Welcome(Socket socket, HostPeer peer, Hello hello)
    {
        if (hello == Hello.Observer && (_options.AdmitObserver ?? ObservationServer.IsOwnUserOrRoot)(peer))
        {
            _observers.Serve(socket);
            return;
        }

        if (hello != Hello.LibraryOS)
        {
            socket.Dispose();
            return;
        }

        CleanUp();
        if ((_options.Admit ?? AdmitByUser)(peer) is not { } capability)
        {
            Refuse(socket, HostStatus.NotAdmitted);
            return;
        }

        int weight = _options.DiskWeight?.Invoke(peer) ?? 1;
        if (!TryJoin(socket, peer, capability, weight, out HostSession? session) && !IsFullFor(peer))
        {
            // There is room for it but for those who are being cleaned up after, and for what others have left behind.
            HostSession[] ending;
            lock (_lock)
            {
                ending = [.. _ending];
            }

            Array.ForEach(ending, static other => other.Stop());
            CleanUp();
            MakeRoom(_options.BlocksPerClient + _options.FramesPerClient + ReserveFrames);
            TryJoin(socket, peer, capability, weight, out session);
        }

        if (session is null)
        {
            capability.Revoke(Frames.RootCredential);
            Refuse(socket, HostStatus.TooManyClients);
            return;
        }

        session.Start();
    }

    /// <summary>
    /// Clean blocks leave the host's own memory, where there is only what clients have left behind; and if that is not enough, what is dirty is written back first: so whoever comes, fills its memory and goes, again and again, takes none
    /// away for good.
    /// </summary>
    private void MakeRoom(int frames)
    {
        UnbindClean();
        if (Frames.FreeCount < frames)
        {
            try
            {
                WriteEverythingBack();
            }
            catch (BlockDeviceException)
            {
                // It stays dirty.
            }

            UnbindClean();
        }
    }

    private void UnbindClean()
    {
        foreach (BlockNumber block in Volume.BlocksIn(new FrameNumber(0), Frames.FrameCount))
        {
            if (Volume.TryGetFrame(Frames.RootCredential, block, out FrameNumber frame))
            {
                Frames.Release(frame);
                if (IsHostsOwn(frame))
                {
                    // Refused for what is dirty, or in use.
                    Volume.Unbind(Frames.RootCredential, block);
                }
            }
        }
    }

    private void WriteEverythingBack()
    {
        BlockNumber[] plan = new BlockNumber[1024];
        while (Volume.PlanWriteBack(plan) is > 0 and var count)
        {
            if (Volume.WriteBack(Frames.RootCredential, plan.AsSpan(0, count)) != XnStatus.Ok)
            {
                break;
            }

            Volume.Flush();
        }

        Volume.Flush();
    }

    private bool TryJoin(Socket socket, HostPeer peer, Capability capability, int weight, [NotNullWhen(true)] out HostSession? session)
    {
        lock (_lock)
        {
            session = IsFullFor(peer) ? null : HostSession.TryCreate(this, socket, peer, capability, AllowanceOf(peer.User), weight);
            if (session is not null)
            {
                _sessions.Add(session);
            }

            return session is not null;
        }
    }

    private bool IsFullFor(HostPeer peer)
    {
        lock (_lock)
        {
            return _isStopping || _sessions.Count >= _options.ClientsMax || _sessions.Count(other => other.User == peer.User) >= (_options.ClientsPerUser ?? int.MaxValue);
        }
    }

    private static void Refuse(Socket socket, HostStatus why)
    {
        using (socket)
        {
            Greeting refusal = new() { Magic = Greeting.RefusalValue, BlockCount = (ulong)why };
            socket.Send(MemoryMarshal.AsBytes(new ReadOnlySpan<Greeting>(in refusal)));
        }
    }

    // Under the lock. It stays when the user's last library OS has gone: who comes back has what it had.
    private DiskAllowance AllowanceOf(uint user)
    {
        if (!_allowances.TryGetValue(user, out DiskAllowance? allowance))
        {
            _allowances.Add(user, allowance = new DiskAllowance(_options.DiskBlocksPerUser ?? long.MaxValue));
        }

        return allowance;
    }

    // A capability of its own for each client: it ends with the client.
    private Capability AdmitByUser(HostPeer peer)
    {
        CapabilityName name = peer.User == 0 || peer.User == Libc.EffectiveUser() ? Volume.OwnerName : UnixNames.User(peer.User);
        return Frames.Authority.Root.Forge(name, Rights.All);
    }

    private void Stop()
    {
        HostSession[] sessions;
        lock (_lock)
        {
            if (_isStopping)
            {
                return;
            }

            _isStopping = true;
            sessions = [.. _sessions, .. _ending];
        }

        _reception.Dispose();
        _observers.Dispose();
        foreach (HostSession session in sessions)
        {
            session.Stop();
        }

        CleanUp();
    }

    private void CleanUp()
    {
        HostSession[] leftovers;
        lock (_lock)
        {
            leftovers = [.. _leftovers];
        }

        foreach (HostSession session in leftovers)
        {
            if (session.TryCleanUp())
            {
                lock (_lock)
                {
                    _leftovers.Remove(session);
                }
            }
        }
    }
}
