// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Exo.Capabilities;
using Exo.Core.Net;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Link;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tcp.Handshake;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah;

/// <summary>
/// TCP/IP on one network device, as a library: whoever made it polls it, and everything happens in <see cref="Poll"/> on that thread. No threads, no
/// locks, no allocation for a packet; time and chance come through the options.
/// <code>
/// Poll: posted work ─&gt; receive a batch ─&gt; frames ─&gt; IP ─&gt; TCP ─&gt; handlers ─&gt; timers ─&gt; connections that have something to say ─&gt; transmit
/// </code>
/// </summary>
public sealed class NetworkStack : IDisposable
{
    private const int BatchesPerPollMax = 4;

    private readonly NetworkDevice device;
    private readonly TimeProvider time;
    private readonly long startTimestamp;
    private readonly HandshakeDownload handshakes;
    private readonly LinkInterface link;
    private readonly IpInput input;
    private readonly ReceiveBatch arrived;
    private readonly ConcurrentQueue<Action> posted = new();
    private readonly BoundPorts? ports;
    private ulong randomState;
    private ulong? secretState;   // null: secrets come from the system
    private bool isDisposed;
    private long refreshUs;
    private int pollingThread;

    /// <summary>Makes a stack on a device and, where it is the host at its addresses, announces them on the link with the first poll.</summary>
    /// <param name="device">The interface; not disposed by the stack, and used by it alone.</param>
    /// <param name="options">Settings; checked here.</param>
    /// <exception cref="InvalidOperationException">The device's pool has no frames for packet headers.</exception>
    public NetworkStack(NetworkDevice device, NetworkStackOptions options)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        this.device = device;
        time = options.Time;
        startTimestamp = time.GetTimestamp();
        SetTime();
        Span<byte> secret = stackalloc byte[24];
        if (options.Seed is { } seed)
        {
            randomState = seed;
            secretState = ~seed;
            for (int i = 0; i < 3; i++)
            {
                BinaryPrimitives.WriteUInt64LittleEndian(secret[(8 * i)..], NextRandom());
            }
        }
        else
        {
            RandomNumberGenerator.Fill(secret);
        }

        randomState = BinaryPrimitives.ReadUInt64LittleEndian(secret[16..]);
        var routes = new RouteTable(
            options.Addresses, options.GatewayV4 is null ? null : InternetAddress.From(options.GatewayV4), options.GatewayV6 is null ? null : InternetAddress.From(options.GatewayV6));
        link = new LinkInterface(this, device, routes, options.Neighbors, options.Without);
        ports = (options.Ports ?? device.Ports) is { } binder ? new BoundPorts(binder) : null;
        Tcp = new TcpLayer(
            this, options, link, BinaryPrimitives.ReadUInt64LittleEndian(secret), BinaryPrimitives.ReadUInt64LittleEndian(secret[8..]));
        input = new IpInput(link, Tcp);
        handshakes = new HandshakeDownload(device, Tcp, options.Addresses, startTimestamp - 1_000_000_000);
        arrived = new ReceiveBatch(device.Frames, (options.Without & Ablations.Batching) == 0 ? NetworkDevice.BatchPacketsMax : 1);
        if (link.IsHost)
        {
            posted.Enqueue(() => NeighborDiscovery.Announce(link));
        }
    }

    /// <summary>Connections that are open or opening.</summary>
    public int ConnectionCount => Tcp.Table.Count;

    /// <summary>Connections in TIME-WAIT.</summary>
    public int TimeWaitCount => Tcp.TimeWaits.Count;

    internal NetworkDevice Device => device;

    internal bool IsDisposed => isDisposed;

    internal TcpLayer Tcp { get; }

    internal LinkInterface Link => link;

    internal IpInput Input => input;

    /// <summary>Microseconds since a second before the stack was made, as of the last poll; never 0.</summary>
    internal long NowUs { get; private set; }

    /// <summary>How long until something is to be done even if no packet comes; zero: there is something now; infinite: nothing is.</summary>
    public TimeSpan UntilNext
    {
        get
        {
            if (!posted.IsEmpty || Tcp.HasFinished || (Tcp.HasDirty && !link.IsFull))
            {
                return TimeSpan.Zero;
            }

            long nextUs = Math.Min(Math.Min(Tcp.Wheel.NextUs, Tcp.TimeWaits.NextEndUs), Math.Min(link.Neighbors.NextUs, input.Reassembly.NextUs));
            if (Tcp.Cookies.AreMadeElsewhere)
            {
                nextUs = Math.Min(nextUs, Tcp.Cookies.Secrets.DueUs);   // a stack that sleeps because handlers do all there is to do
            }

            if (nextUs == long.MaxValue)
            {
                return Timeout.InfiniteTimeSpan;
            }

            long nowUs = TimeUs();
            return nextUs <= nowUs ? TimeSpan.Zero : TimeSpan.FromMicroseconds(nextUs - nowUs);
        }
    }

    /// <summary>Does everything there is to do now and returns.</summary>
    /// <returns>Packets that came in; 0 = a good time to <see cref="Wait"/>.</returns>
    /// <exception cref="NetworkDeviceException">The device is gone.</exception>
    public int Poll()
    {
        ObjectDisposedException.ThrowIf(isDisposed, this);
        Volatile.Write(ref pollingThread, Environment.CurrentManagedThreadId);
        SetTime();
        Tcp.Cookies.Secrets.Rotate(NowUs);
        link.Begin();
        if (link.IsFull)
        {
            link.Flush();
        }

        if (NowUs - refreshUs > 1_000_000)
        {
            refreshUs = NowUs;
            device.Refresh();
            link.Begin();
            handshakes.Refresh();
            link.ReadNeighborChanges();
            ports?.Collect(Tcp);
        }

        for (int left = posted.Count; left > 0 && posted.TryDequeue(out Action? work); left--)
        {
            work();
        }

        int total = 0;
        for (int batch = 0; batch < BatchesPerPollMax; batch++)
        {
            int count = device.Receive(arrived);
            ReadOnlySpan<ReceivedPacket> packets = arrived.Packets;
            for (int i = 0; i < packets.Length; i++)
            {
                input.Take(new PacketBytes(arrived, i), packets[i].Checksum);
            }

            total += count;
            Tcp.TellFinished();
            Tcp.RunDirty();
            link.Flush();
            if (count < arrived.Capacity)
            {
                break;
            }
        }

        arrived.Clear();
        Tcp.RunTimers();
        link.Neighbors.RunTimers(NowUs);
        input.Reassembly.Expire(NowUs);
        Tcp.TellFinished();
        Tcp.RunDirty();
        link.Flush();
        Volatile.Write(ref pollingThread, 0);
        return total;
    }

    /// <summary>Blocks until a packet comes, the next timer is due, <see cref="Post"/> is called, or the time is up.</summary>
    public void Wait(TimeSpan most)
    {
        TimeSpan next = UntilNext;
        TimeSpan wait = next == Timeout.InfiniteTimeSpan ? most : most == Timeout.InfiniteTimeSpan || next < most ? next : most;
        if (wait != TimeSpan.Zero)
        {
            _ = device.Wait(link.IsFull ? NetworkEvents.Receivable | NetworkEvents.Transmittable : NetworkEvents.Receivable, wait);
        }
    }

    /// <summary>Polls and waits until cancelled.</summary>
    public void Run(CancellationToken cancellationToken)
    {
        using CancellationTokenRegistration registration = cancellationToken.Register(device.Wake);
        while (!cancellationToken.IsCancellationRequested)
        {
            if (Poll() == 0)
            {
                Wait(Timeout.InfiniteTimeSpan);
            }
        }
    }

    /// <summary>Has work done by the thread that polls, with its next poll. For any thread.</summary>
    public void Post(Action work)
    {
        ArgumentNullException.ThrowIfNull(work);
        posted.Enqueue(work);
        if (Environment.CurrentManagedThreadId != Volatile.Read(ref pollingThread))
        {
            device.Wake();
        }
    }

    /// <summary>Gives connections to a port, at whichever address, to a handler.</summary>
    /// <exception cref="InvalidOperationException">The port is listened on already.</exception>
    /// <exception cref="PortRefusedException">Where ports are asked for: the stack does not get it.</exception>
    public void Listen(int port, ITcpHandler handler) => Listen(AllAt(port), handler);

    /// <inheritdoc cref="Listen(IPEndPoint, ITcpHandler, bool)"/>
    /// <param name="port">The port, at whichever address.</param>
    /// <param name="handler">Whom to call.</param>
    /// <param name="downloadsHandshake">False: as <see cref="Listen(int, ITcpHandler)"/>.</param>
    public void Listen(int port, ITcpHandler handler, bool downloadsHandshake) => Listen(AllAt(port), handler, downloadsHandshake);

    /// <summary>The same where ports are asked for (<see cref="NetworkStackOptions.Ports"/>), with what is presented for this one.</summary>
    /// <param name="port">The port.</param>
    /// <param name="handler">Whom to call.</param>
    /// <param name="by">What is presented; it counts only if the port is not bound yet.</param>
    /// <exception cref="InvalidOperationException">The port is listened on already.</exception>
    /// <exception cref="PortRefusedException">The stack does not get the port.</exception>
    public void Listen(int port, ITcpHandler handler, Credential by)
    {
        ArgumentNullException.ThrowIfNull(by);
        Listen(AllAt(port), handler, downloadsHandshake: false, by);
    }

    /// <summary>
    /// Gives connections to a port of one address to a handler, or of every IPv4 address (<see cref="IPAddress.Any"/>), or of every address (<see cref="IPAddress.IPv6Any"/>). Where several apply, the one with the
    /// address itself has the connection, then the one for its family.
    /// </summary>
    /// <param name="endPoint">One of the stack's addresses, or those, and a port.</param>
    /// <param name="handler">Whom to call.</param>
    /// <exception cref="InvalidOperationException">That very end is listened on already, or the stack has no such address.</exception>
    public void Listen(IPEndPoint endPoint, ITcpHandler handler) => Listen(endPoint, handler, downloadsHandshake: false);

    /// <summary>
    /// As <see cref="Listen(IPEndPoint, ITcpHandler)"/>, and has the kernel answer SYNs where they come in (<see cref="NetworkDevice.SetHandler"/>), without this stack, which hears of a
    /// connection when its peer has answered. For protocols in which the peer speaks first: when the peer's answer is lost, it is its first bytes that open the connection. SYNs
    /// without timestamps come to the stack as ever. While connections are at their most, a peer is reset instead of being left to try again.
    /// </summary>
    /// <param name="endPoint">One of the stack's addresses, or those, and a port.</param>
    /// <param name="handler">Whom to call.</param>
    /// <param name="downloadsHandshake">False: as <see cref="Listen(IPEndPoint, ITcpHandler)"/>.</param>
    /// <exception cref="InvalidOperationException">That very end is listened on already, or the stack has no such address.</exception>
    /// <exception cref="NotSupportedException">The device takes no handlers, the stack's clock is not the system's, or the kernel answers for ports at other addresses already.</exception>
    /// <exception cref="NetworkDeviceException">The kernel refused the handler.</exception>
    /// <exception cref="PortRefusedException">Where ports are asked for: the stack does not get it.</exception>
    public void Listen(IPEndPoint endPoint, ITcpHandler handler, bool downloadsHandshake) => Listen(endPoint, handler, downloadsHandshake, by: null);

    private void Listen(IPEndPoint endPoint, ITcpHandler handler, bool downloadsHandshake, Credential? by)
    {
        ArgumentNullException.ThrowIfNull(endPoint);
        ArgumentNullException.ThrowIfNull(handler);
        ArgumentOutOfRangeException.ThrowIfLessThan(endPoint.Port, 1, nameof(endPoint));
        ListenPoint point = ListenPoint.From(endPoint);
        if (!link.Routes.Addresses.Any(point.Covers))
        {
            throw new InvalidOperationException($"The stack has no address that {endPoint} stands for.");
        }

        if (downloadsHandshake && (time != TimeProvider.System || time.TimestampFrequency != 1_000_000_000))
        {
            throw new NotSupportedException("A handshake in the kernel needs the system's clock.");
        }

        Tcp.Listen(point, handler);
        try
        {
            if (ports?.TryBind(point.Port, by) is { IsBound: false } refused)
            {
                throw new PortRefusedException(refused);
            }

            if (downloadsHandshake)
            {
                SetTime();
                handshakes.Add(point);
            }
        }
        catch
        {
            Tcp.StopListening(point);
            throw;
        }
    }

    /// <summary>Takes no more connections at a port that <see cref="Listen(int, ITcpHandler)"/> was called with; those that are open stay, those that peers have begun to open are reset.</summary>
    public void StopListening(int port) => StopListening(AllAt(port));

    /// <summary>
    /// Takes no more connections at an end that <see cref="Listen(IPEndPoint, ITcpHandler)"/> was called with; those that are open stay, those that peers have begun to open are reset. A port that was asked
    /// for is given back about a second after the last of them has gone.
    /// </summary>
    public void StopListening(IPEndPoint endPoint)
    {
        ArgumentNullException.ThrowIfNull(endPoint);
        ListenPoint point = ListenPoint.From(endPoint);
        handshakes.Remove(point);
        Tcp.StopListening(point);
    }

    /// <summary>Begins a connection; the handler hears how it ends or opens.</summary>
    /// <param name="remote">The peer's address and port.</param>
    /// <param name="handler">Whom to call.</param>
    /// <param name="tag">The handler's own, there before the first call.</param>
    /// <exception cref="InvalidOperationException">No address of that family, or no port is left.</exception>
    /// <exception cref="PortRefusedException">Where ports are asked for: the stack gets none of those that connections begin at, 49152 to 65535.</exception>
    public TcpConnection Connect(IPEndPoint remote, ITcpHandler handler, object? tag = null)
    {
        ArgumentNullException.ThrowIfNull(remote);
        return Connect(new IPEndPoint(remote.AddressFamily == AddressFamily.InterNetwork ? IPAddress.Any : IPAddress.IPv6Any, 0), remote, handler, tag);
    }

    /// <summary>Begins a connection from an end that the caller chooses; the handler hears how it ends or opens.</summary>
    /// <param name="local">One of the stack's addresses, or <see cref="IPAddress.Any"/> or <see cref="IPAddress.IPv6Any"/> for the one that suits the peer; and a port, 0 for one that is free.</param>
    /// <param name="remote">The peer's address and port.</param>
    /// <param name="handler">Whom to call.</param>
    /// <param name="tag">The handler's own, there before the first call.</param>
    /// <exception cref="InvalidOperationException">The stack has no such address or none of the peer's family; or the port is in use towards that peer, waits in TIME-WAIT or is listened on, or no port is left.</exception>
    public TcpConnection Connect(IPEndPoint local, IPEndPoint remote, ITcpHandler handler, object? tag = null)
    {
        ArgumentNullException.ThrowIfNull(local);
        ArgumentNullException.ThrowIfNull(remote);
        ArgumentNullException.ThrowIfNull(handler);
        InternetAddress address = InternetAddress.From(remote.Address), own = InternetAddress.From(local.Address);
        if (own.IsUnspecified ? !link.Routes.TrySourceFor(address, out own) : !link.Routes.IsOwn(own) || own.IsV4 != address.IsV4)
        {
            throw new InvalidOperationException(own.IsUnspecified ? $"The interface has no address to reach {remote} from." : $"{local.Address} is no address of the interface to reach {remote} from.");
        }

        if (ports is null)
        {
            return Tcp.Connect(own, (ushort)local.Port, address, (ushort)remote.Port, handler, tag, mayUse: null);
        }

        PortVerdict refused = default;
        try
        {
            return Tcp.Connect(own, (ushort)local.Port, address, (ushort)remote.Port, handler, tag, port =>
            {
                PortVerdict verdict = ports.TryBind(port, by: null);
                refused = verdict.IsBound ? refused : verdict;
                return verdict.Refusal != PortRefusal.Quota ? verdict.IsBound : throw new PortRefusedException(verdict);   // of no port there is more
            });
        }
        catch (InvalidOperationException) when (refused.Refusal != PortRefusal.None)
        {
            throw new PortRefusedException(refused);
        }
    }

    /// <summary>Resets all connections and gives the frames back. The device stays.</summary>
    public void Dispose()
    {
        if (isDisposed)
        {
            return;
        }

        isDisposed = true;
        handshakes.RemoveAll();
        SetTime();
        Tcp.Cookies.Secrets.Rotate(NowUs);
        link.Begin();
        Tcp.Dispose();
        link.Flush();
        Tcp.Releases.Flush();
        Tcp.TellFinished();
        for (int left = posted.Count; left > 0 && posted.TryDequeue(out Action? work); left = posted.Count)
        {
            work();   // those who wait for the end of a connection hear of it
        }

        arrived.Dispose();
        link.Dispose();
        ports?.Dispose();
    }

    /// <summary>A key that nobody can guess; with a seed, a sequence of its own.</summary>
    internal SipHash NextSecret()
    {
        if (secretState is { } state)
        {
            SipHash drawn = new(Next(ref state), Next(ref state));
            secretState = state;
            return drawn;
        }

        Span<byte> key = stackalloc byte[16];
        RandomNumberGenerator.Fill(key);
        return new SipHash(BinaryPrimitives.ReadUInt64LittleEndian(key), BinaryPrimitives.ReadUInt64LittleEndian(key[8..]));
    }

    internal ulong NextRandom() => Next(ref randomState);

    // splitmix64.
    private static ulong Next(ref ulong state)
    {
        state += 0x9E37_79B9_7F4A_7C15;
        ulong z = state;
        z = (z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9;
        z = (z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB;
        return z ^ (z >> 31);
    }

    private static IPEndPoint AllAt(int port)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(port, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(port, ushort.MaxValue);
        return new IPEndPoint(IPAddress.IPv6Any, port);
    }

    private void SetTime() => NowUs = TimeUs();

    private long TimeUs() => 1_000_000 + (long)time.GetElapsedTime(startTimestamp).TotalMicroseconds;
}
