// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Runtime.InteropServices;
using Exo.Core.Linux;
using Exo.Core.Memory;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.Net;

/// <summary>
/// An interface through a packet socket (AF_PACKET) with virtio headers (PACKET_VNET_HDR): super-packets and open checksums pass in both directions. On virtual
/// interfaces nobody ever cuts or sums them; before a real wire the kernel or the card does.
/// <para>The kernel goes on using the interface. Without filters it gets a copy of every packet that comes in: give the addresses used here to nobody in the kernel then, or it answers too
/// (with RST, for ports that it does not know). With <see cref="PacketSocketOptions.Filters"/> each packet is either ours or the kernel's, and both can have the same address. What is sent
/// through the interface by others is not seen here.</para>
/// Needs CAP_NET_RAW. Nothing is left behind when it is closed or its process dies.
/// </summary>
public sealed unsafe class PacketSocketDevice : NetworkDevice
{
    private const int TransmitPiecesMax = 64;
    private const int SuperPacketMax = ushort.MaxValue;

    // Packets that go page by page after the kernel had no piece of memory long enough for one.
    private const int ScatteredAfterShortage = 1000;

    private readonly NetworkLink _link;
    private readonly SafeFileHandle _socket;
    private readonly DeviceWait _wait = new();
    private readonly ReceiveFrames _receiveFrames;
    private readonly VirtioVectors _vectors;
    private readonly PacketReceiveRing? _ring;
    private readonly PacketTransmitRing? _transmitRing;
    private readonly IngressHook? _hook;
    private readonly SocketFilters? _filters;
    private readonly bool _mayBypass;
    private readonly bool _mayBeContiguous;
    private readonly TimeSpan _busyPoll;
    private NetworkDeviceFeatures _features;
    private DeviceTally _tally;
    private long _kernelDrops;
    private int _scattered;
    private bool _mayHaveFailed;
    private bool _isDisposed;

    private PacketSocketDevice(
        NetworkLink link, SafeFileHandle socket, PacketReceiveRing? ring, PacketTransmitRing? transmitRing, IngressHook? hook, SocketFilters? filters, FramePool frames,
        ReceiveFrames receiveFrames, VirtioVectors vectors, PacketSocketOptions options)
        : base(link.Name, frames)
    {
        _link = link;
        _socket = socket;
        _ring = ring;
        _transmitRing = transmitRing;
        _hook = hook;
        _filters = filters;
        _receiveFrames = receiveFrames;
        _vectors = vectors;
        _mayBypass = options.BypassQueueing;
        _mayBeContiguous = options.ContiguousBuffers;
        _busyPoll = options.BusyPoll;
        _features = Measure();
        frames.AddUser();
    }

    /// <inheritdoc/>
    public override NetworkDeviceFeatures Features => Volatile.Read(ref _features);

    /// <inheritdoc/>
    public override bool TakesHandlers => _hook is not null;

    /// <inheritdoc/>
    public override NetworkDeviceCounters Counters
    {
        get
        {
            NetworkDeviceCounters counters = _tally.Read();
            return counters with { ReceiveDropped = counters.ReceiveDropped + KernelDrops() };
        }
    }

    /// <inheritdoc/>
    public override NetworkDeviceRings RingFill => new(_ring?.Waiting ?? 0, _ring?.Capacity ?? 0, _transmitRing?.Waiting ?? 0, _transmitRing?.Capacity ?? 0);

    private int Descriptor => (int)_socket.DangerousGetHandle();

    /// <summary>Opens an interface of the calling thread's network namespace.</summary>
    /// <exception cref="NetworkDeviceException">There is no such interface, it is no Ethernet, or the kernel refused (rights, an old kernel).</exception>
    /// <exception cref="InvalidOperationException">The pool has not the frames to receive into.</exception>
    public static PacketSocketDevice Open(string interfaceName, FramePool frames, PacketSocketOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(frames);
        options ??= new PacketSocketOptions();
        ArgumentOutOfRangeException.ThrowIfNegative(options.ReceiveRingSlots);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.ReceiveRingSlots, 1 << 19);
        ArgumentOutOfRangeException.ThrowIfNegative(options.TransmitRingSlots);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.TransmitRingSlots, 1 << 19);
        NetworkLink link = NetworkLink.Open(interfaceName);
        SafeFileHandle? socket = null;
        PacketReceiveRing? ring = null;
        PacketTransmitRing? transmitRing = null;
        IngressHook? hook = null;
        SocketFilters? filters = null;
        ReceiveFrames? receiveFrames = null;
        try
        {
            _ = link.Address;
            hook = options.TakesHandlers ? IngressHook.Attach(link) : null;   // in front of the filters
            filters = options.Filters is { } tree ? SocketFilters.Attach(link, tree) : null;
            socket = OpenSocket(link, options, filters, out ring);
            transmitRing = options.TransmitRingSlots == 0 ? null : PacketTransmitRing.TryOpen(OpenSender(link, options), options.TransmitRingSlots);
            receiveFrames = new ReceiveFrames(frames, options.FrameOwner ?? frames.RootCredential, options.ReceiveFrameCount);
            VirtioVectors vectors = new(frames, receiveFrames, VirtioVectors.SuperPacketFrames);
            return new PacketSocketDevice(link, socket, ring, transmitRing, hook, filters, frames, receiveFrames, vectors, options);
        }
        catch
        {
            receiveFrames?.Dispose();
            filters?.Dispose();
            hook?.Dispose();
            transmitRing?.Dispose();
            ring?.Dispose();
            socket?.Dispose();
            link.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override NetworkEvents Wait(NetworkEvents wanted, TimeSpan timeout)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if (_ring is not null && (wanted & NetworkEvents.Receivable) != 0 && IsInRingWithin(timeout))
        {
            return NetworkEvents.Receivable;
        }

        _tally.SystemCalls++;
        NetworkEvents happened = _wait.Wait(Descriptor, wanted, timeout);
        _mayHaveFailed |= happened != NetworkEvents.None;
        return happened;
    }

    /// <inheritdoc/>
    public override void Wake() => _wait.Wake();

    /// <inheritdoc/>
    public override void Refresh()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        ChoosePath(_link, Descriptor, _mayBypass);
        if (_transmitRing is not null)
        {
            ChoosePath(_link, _transmitRing.Descriptor, _mayBypass);
        }

        _filters?.Update();
        Volatile.Write(ref _features, Measure());
    }

    /// <inheritdoc/>
    public override void UpdateFilters()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        _filters?.Update();
    }

    /// <inheritdoc/>
    public override void SetHandler(PacketHandler? handler)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if (_hook is not { } hook)
        {
            base.SetHandler(handler);
            return;
        }

        // The kernel shows packets to sockets before it runs the hook. While only one of both is in place packets are lost rather than dealt with twice: they come again.
        if (handler is null)
        {
            hook.Set(null);
            SetReceive(null);
            return;
        }

        SetReceive(handler.Receive);
        try
        {
            hook.Set(handler.Ingress);
        }
        catch (NetworkDeviceException)
        {
            SetHandler(null);
            throw;
        }
    }

    // What the socket is to get of what comes in, or of what the filters accept; null: all of it.
    private void SetReceive(DownloadedCode.Program? receive)
    {
        if (_filters is { } filters)
        {
            filters.SetReceive(receive);
        }
        else if (receive is null)
        {
            int nothing = 0;
            _ = Libc.SetSocketOption(Descriptor, Libc.SolSocket, PacketAbi.SO_DETACH_FILTER, &nothing, sizeof(int));   // fails when there is none
        }
        else
        {
            using SafeFileHandle filter = IngressHook.Load(Name, BpfAbi.PROG_TYPE_SOCKET_FILTER, receive);
            Set(_link, Descriptor, Libc.SolSocket, PacketAbi.SO_ATTACH_BPF, (int)filter.DangerousGetHandle(), "leave out what is handled on");
        }
    }

    /// <inheritdoc/>
    protected override int TransmitChecked(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        int accepted = 0;
        bool isFull = false;
        while (accepted < packets.Length && !isFull)
        {
            ReadOnlySpan<TransmitPacket> rest = packets[accepted..];
            int done = _transmitRing is { } ring ? SendByRing(ring, rest, slices, out isFull) : 0;
            if (done == 0 && !isFull)
            {
                done = SendFromFrames(rest[..LeadWithoutRing(rest, slices)], slices, out isFull);
            }

            accepted += done;
        }

        _tally.TransmitFull += isFull ? 1 : 0;
        return accepted;
    }

    // Packets from the first on that are sent without the ring: at least one, which did not fit or found the ring full.
    private int LeadWithoutRing(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices)
    {
        int count = _transmitRing is null ? packets.Length : 1;
        while (count < packets.Length && !PacketTransmitRing.Takes(packets[count], TransmitLength.Of(packets[count], slices)))
        {
            count++;
        }

        return count;
    }

    // Those that fit into slots, from the first packet on. Returns how many were accepted: sent or dropped.
    private int SendByRing(PacketTransmitRing ring, ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices, out bool isFull)
    {
        nint memory = Frames.BaseAddress;
        int count = 0;
        long bytes = 0;
        isFull = false;
        for (; count < packets.Length; count++)
        {
            ref readonly TransmitPacket packet = ref packets[count];
            int lengthBytes = TransmitLength.Of(packet, slices);
            if (!PacketTransmitRing.Takes(packet, lengthBytes) || !ring.TryAdd(packet, slices.Slice(packet.FirstSlice, packet.SliceCount), memory, lengthBytes))
            {
                break;
            }

            bytes += lengthBytes;
        }

        if (count == 0)
        {
            return 0;
        }

        _tally.TransmitCopiedBytes += bytes;
        _tally.SystemCalls++;
        int taken = ring.Send(out int errno);
        int left = ring.TakeBack();
        Invariant.Check(taken + left == count);
        ThrowIfGone(errno);
        if (left > 0 && errno is 0 or Errno.EAGAIN)
        {
            isFull = true;
            Count(packets[..taken], slices);
            return taken;
        }

        // The interface is down, or its queue is full: what is left is lost on it.
        _tally.TransmitDropped += left;
        _tally.TransmittedPackets += count;
        _tally.TransmittedBytes += bytes;
        return count;
    }

    // By sendmmsg, from where they lie: the kernel copies them. Returns how many were accepted: sent or dropped.
    // Pages that it copies into come back from the receiver's processor by way of long lists, cold; one piece of more than 32 KiB goes past those lists and is the last
    // that came back. So all of a packet is told to be header, which is kept in one piece.
    private int SendFromFrames(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices, out bool isFull)
    {
        int accepted = 0;
        bool isShort = false;
        isFull = false;
        while (accepted < packets.Length && !isFull)
        {
            bool isContiguous = _mayBeContiguous && !isShort && _scattered == 0;
            int count = _vectors.Build(packets[accepted..], slices, isContiguous);
            int sent = 0, dropped = 0;
            bool wasShort = isShort;
            isShort = false;
            while (sent < count && !isFull && !isShort)
            {
                _tally.SystemCalls++;
                int done = Libc.SendMessages(Descriptor, _vectors.Sending + sent, (uint)(count - sent), Libc.MessageDontWait);
                int errno = done < 0 ? Errno.Last : 0;
                ThrowIfGone(errno);
                isFull = errno == Errno.EAGAIN;
                isShort = errno == Libc.ErrnoNoBuffers && isContiguous;
                if (errno is not (0 or Errno.EINTR or Errno.EAGAIN) && !isShort)
                {
                    // This packet, not the device: the interface is down, its MTU shrank, its queue is full.
                    dropped++;
                    done = 1;
                }

                sent += Math.Max(done, 0);
            }

            // ENOBUFS is told of memory and of the interface's queue. Where pages will do it was memory.
            _scattered = wasShort && sent > dropped ? ScatteredAfterShortage : Math.Max(0, _scattered - sent);
            _tally.TransmitDropped += dropped;
            Count(packets.Slice(accepted, sent), slices);
            accepted += sent;
        }

        return accepted;
    }

    private void ThrowIfGone(int errno)
    {
        if (errno is Libc.ErrnoNoDeviceOrAddress or Errno.ENODEV)
        {
            throw new NetworkDeviceException(errno, Name, $"The interface {Name} is gone.");
        }
    }

    /// <inheritdoc/>
    protected override int ReceiveInto(ReceiveBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if (_ring is { } ring)
        {
            while (batch.Count < batch.Capacity && ring.Oldest is var slot && slot != null && TryTake(slot, batch))
            {
                ring.Advance(slot);
            }

            if (batch.Count == 0 && _mayHaveFailed)
            {
                // A wait ended and nothing has come: the socket knows what happened to the interface. The queue would tell, too, but a packet that comes just now would be taken from it before those ahead of it in the ring.
                _mayHaveFailed = false;
                ThrowIfGone(TakeError());
            }

            return batch.Count;
        }

        ReceiveQueued(batch, batch.Capacity);
        return batch.Count;
    }

    // ENETDOWN is told once when the interface is switched off; it may come back.
    private int TakeError()
    {
        int error = 0;
        uint lengthBytes = sizeof(int);
        _tally.SystemCalls++;
        return Libc.GetSocketOption(Descriptor, Libc.SolSocket, PacketAbi.SO_ERROR, &error, &lengthBytes) == 0 ? error : 0;
    }

    // Whether a packet lies in the ring, or comes while it is worth looking.
    private bool IsInRingWithin(TimeSpan timeout)
    {
        if (_ring!.Oldest != null)
        {
            return true;
        }

        TimeSpan most = timeout >= TimeSpan.Zero && timeout < _busyPoll ? timeout : _busyPoll;
        if (most > TimeSpan.Zero)
        {
            long start = Stopwatch.GetTimestamp();
            while (Stopwatch.GetElapsedTime(start) < most)
            {
                Thread.SpinWait(4);
                if (_ring.Oldest != null)
                {
                    return true;
                }
            }
        }

        return false;
    }

    // A packet of the ring to the batch. False when there is no frame for it now; one that is not whole is dropped.
    private bool TryTake(PacketSlot* slot, ReceiveBatch batch)
    {
        if ((slot->Status & PacketAbi.TP_STATUS_COPY) != 0)
        {
            return ReceiveQueued(batch, 1);
        }

        int lengthBytes = (int)slot->CapturedBytes;
        if (slot->LengthBytes != slot->CapturedBytes || lengthBytes < EthernetHeaderBytes)
        {
            _tally.ReceiveDropped++;
            return true;
        }

        if (!_receiveFrames.TryTake(out FrameNumber frame))
        {
            return false;
        }

        byte* packet = (byte*)slot + slot->PacketOffset;
        new ReadOnlySpan<byte>(packet, lengthBytes).CopyTo(new Span<byte>((void*)Frames.Address(frame), FramePool.FrameBytes));
        VirtioVectors.Add(batch, _receiveFrames, [new PacketSlice(frame, 0, lengthBytes)], *(VirtioHeader*)(packet - sizeof(VirtioHeader)));
        _tally.ReceivedPackets++;
        _tally.ReceivedBytes += lengthBytes;
        return true;
    }

    // Packets of the socket's queue to the batch. False when there are no frames for them now.
    private bool ReceiveQueued(ReceiveBatch batch, int countMax)
    {
        int slots = _vectors.Fill(countMax);
        if (slots == 0)
        {
            return false;
        }

        _tally.SystemCalls++;
        MultiMessage* messages = _vectors.Receiving;
        int count = Libc.ReceiveMessages(Descriptor, messages, (uint)slots, Libc.MessageDontWait, null);
        if (count < 0)
        {
            // ENETDOWN is told once when the interface is switched off; it may come back.
            ThrowIfGone(Errno.Last);
            return true;
        }

        for (int i = 0; i < count; i++)
        {
            int lengthBytes = (messages[i].Header.Flags & PacketAbi.MSG_TRUNC) == 0 ? _vectors.Take(i, (int)messages[i].LengthBytes, batch) : 0;
            if (lengthBytes == 0)
            {
                _tally.ReceiveDropped++;
                continue;
            }

            _tally.ReceivedPackets++;
            _tally.ReceivedBytes += lengthBytes;
        }

        return true;
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (_isDisposed)
        {
            return;
        }

        _isDisposed = true;
        _hook?.Dispose();
        _filters?.Dispose();
        _ring?.Dispose();
        _transmitRing?.Dispose();
        _socket.Dispose();
        _link.Dispose();
        _vectors.Dispose();
        _receiveFrames.Dispose();
        _wait.Dispose();
        Frames.RemoveUser();
    }

    private static SafeFileHandle OpenSocket(NetworkLink link, PacketSocketOptions options, SocketFilters? filters, out PacketReceiveRing? ring)
    {
        ring = null;
        SafeFileHandle socket = OpenUnbound(link, options);
        try
        {
            int fd = (int)socket.DangerousGetHandle();
            Set(link, fd, PacketAbi.SOL_PACKET, PacketAbi.PACKET_IGNORE_OUTGOING, 1, "leave out outgoing packets on");
            if (options.ReceiveRingSlots > 0)
            {
                ring = PacketReceiveRing.TryOpen(fd, options.ReceiveRingSlots);
            }

            filters?.Guard(fd);
            Bind(link, fd, PacketAbi.ETH_P_ALL);
            if (options.IsPromiscuous)
            {
                PacketMembership membership = new() { InterfaceIndex = link.Index, Kind = PacketAbi.PACKET_MR_PROMISC };
                if (Libc.SetSocketOption(fd, PacketAbi.SOL_PACKET, PacketAbi.PACKET_ADD_MEMBERSHIP, (int*)&membership, (uint)sizeof(PacketMembership)) != 0)
                {
                    throw Refused(link.Name, "hear everything on");
                }
            }

            if (options.FanoutGroup != 0)
            {
                Set(link, fd, PacketAbi.SOL_PACKET, PacketAbi.PACKET_FANOUT, options.FanoutGroup | PacketAbi.PACKET_FANOUT_HASH << 16, "share the packets of");
            }

            return socket;
        }
        catch
        {
            ring?.Dispose();
            socket.Dispose();
            throw;
        }
    }

    // A socket that only sends.
    private static SafeFileHandle OpenSender(NetworkLink link, PacketSocketOptions options)
    {
        SafeFileHandle socket = OpenUnbound(link, options);
        try
        {
            Bind(link, (int)socket.DangerousGetHandle(), 0);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    // Protocol 0 hears nothing: the queue stays empty until everything is set.
    private static SafeFileHandle OpenUnbound(NetworkLink link, PacketSocketOptions options)
    {
        int fd = Libc.Socket(PacketAbi.AF_PACKET, PacketAbi.SOCK_RAW | Libc.SocketNonBlocking | Libc.SocketCloseOnExec, 0);
        if (fd < 0)
        {
            throw Refused(link.Name, "open a packet socket on", "it needs CAP_NET_RAW");
        }

        SafeFileHandle socket = new(fd, ownsHandle: true);
        try
        {
            Set(link, fd, PacketAbi.SOL_PACKET, PacketAbi.PACKET_VNET_HDR, 1, "use virtio headers on");
            ChoosePath(link, fd, options.BypassQueueing);

            // Beyond the system's limit where we may, else up to it.
            int bytes = options.SocketBufferBytes;
            if (Libc.SetSocketOption(fd, Libc.SolSocket, PacketAbi.SO_RCVBUFFORCE, &bytes, sizeof(int)) != 0
                || Libc.SetSocketOption(fd, Libc.SolSocket, PacketAbi.SO_SNDBUFFORCE, &bytes, sizeof(int)) != 0)
            {
                _ = Libc.SetSocketOption(fd, Libc.SolSocket, PacketAbi.SO_RCVBUF, &bytes, sizeof(int));
                _ = Libc.SetSocketOption(fd, Libc.SolSocket, PacketAbi.SO_SNDBUF, &bytes, sizeof(int));
            }

            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private static void Bind(NetworkLink link, int socket, ushort protocol)
    {
        LinkSocketAddress address = new()
        {
            Family = PacketAbi.AF_PACKET,
            Protocol = System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(protocol),
            InterfaceIndex = link.Index,
        };
        if (Libc.Bind(socket, (byte*)&address, (uint)sizeof(LinkSocketAddress)) != 0)
        {
            throw Refused(link.Name, "bind a packet socket to");
        }
    }

    // Past the queueing the kernel drops super-packets that it would have to cut (__dev_direct_xmit), so only interfaces that take them are served there.
    private static void ChoosePath(NetworkLink link, int socket, bool mayBypass) =>
        Set(link, socket, PacketAbi.SOL_PACKET, PacketAbi.PACKET_QDISC_BYPASS, mayBypass && link.TakesSuperPackets ? 1 : 0, "bypass the queueing of");

    private static void Set(NetworkLink link, int socket, int level, int option, int value, string what)
    {
        if (Libc.SetSocketOption(socket, level, option, &value, sizeof(int)) != 0)
        {
            throw Refused(link.Name, what);
        }
    }

    private static NetworkDeviceException Refused(string name, string what, string? hint = null)
    {
        int errno = Errno.Last;
        return new NetworkDeviceException(errno, name, $"Cannot {what} {name}: {Errno.Describe(errno)}{(hint is null ? "" : "; " + hint)}.");
    }

    private NetworkDeviceFeatures Measure() => new()
    {
        Driver = "packet socket",
        Address = _link.Address,
        MtuBytes = _link.MtuBytes,
        TransmitChecksum = true,
        ReceiveChecksum = true,
        SegmentationV4 = true,
        SegmentationV6 = true,
        ReceiveSuperPackets = true,
        SuperPacketBytesMax = SuperPacketMax,
        TransmitSlicesMax = TransmitPiecesMax,
    };

    // The kernel counts from the last time it was asked.
    private long KernelDrops()
    {
        if (_socket.IsClosed)
        {
            return Volatile.Read(ref _kernelDrops);
        }

        ulong statistics = 0;
        uint lengthBytes = sizeof(ulong);
        bool isHeld = false;
        try
        {
            _socket.DangerousAddRef(ref isHeld);
            if (Libc.GetSocketOption(Descriptor, PacketAbi.SOL_PACKET, PacketAbi.PACKET_STATISTICS, &statistics, &lengthBytes) == 0)
            {
                // struct tpacket_stats: packets, drops.
                return Interlocked.Add(ref _kernelDrops, MemoryMarshal.Cast<ulong, uint>(new ReadOnlySpan<ulong>(ref statistics))[1]);
            }
        }
        catch (ObjectDisposedException)
        {
            // Closed meanwhile: what was counted last stands.
        }
        finally
        {
            if (isHeld)
            {
                _socket.DangerousRelease();
            }
        }

        return Volatile.Read(ref _kernelDrops);
    }

    private void Count(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices)
    {
        _tally.TransmittedPackets += packets.Length;
        _tally.TransmittedBytes += TransmitLength.Of(packets, slices);
    }
}
