// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Exo.Core.Linux;
using Exo.Core.Memory;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.Net;

/// <summary>
/// One queue of an interface through AF_XDP. The packet memory is the frame pool itself: packets come into frames and leave from frames, a header and the payload frames
/// behind it as one packet (multi-buffer). A program at the interface's XDP hook, made of the packet filters, decides what comes up; the rest is the kernel's as before.
/// <code>
///   spare frames --> fill ring --> kernel --> receive ring --> batch --> spare frames
///   packets' frames (retained) --> transmit ring --> kernel --> completion ring --> released
/// </code>
/// <para>The kernel pins the whole pool, which makes all of it resident. A device that can takes and gives packets without a copy; veth and the generic path copy.
/// Nothing says here that a checksum was left open: where the other end is virtual it must close its checksums itself (<see cref="NetworkLink.SetTransmitChecksumOffload"/>).</para>
/// Needs CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF, and Linux 6.6. When it is closed, or its process dies, the interface is as it was.
/// </summary>
public sealed unsafe class XdpDevice : NetworkDevice
{
    // Seven pieces, each of which may cross from one frame into the next, and two more crossings of a jumbo packet: within the kernel's 17.
    private const int TransmitPiecesMax = 7;
    private const int DescriptorsPerPacketMax = 17;

    // Where the generic path and veth copy, one call sends at most 32 descriptors.
    private const int KicksMax = 256;
    private const int BindRetryMs = 3000;
    private const int Posted = 1 << 15;

    private static readonly TimeSpan s_completionLook = TimeSpan.FromMilliseconds(1);

    private readonly NetworkLink _link;
    private readonly SafeFileHandle _socket;
    private readonly DeviceWait _wait = new();
    private readonly ReceiveFrames _receiveFrames;
    private readonly XdpProgram _program;
    private readonly XdpRing _fill;
    private readonly XdpRing _completion;
    private readonly XdpRing _receive;
    private readonly XdpRing _transmit;
    private readonly string _driver;
    private readonly int _inFlightMax;

    // By frame: how many descriptors of it are on their way out; bit 15: it waits for a packet.
    private readonly ushort[] _withKernel;
    private readonly PacketSlice[] _slices = new PacketSlice[ReceiveSlicesMax];
    private NetworkDeviceFeatures _features;
    private DeviceTally _tally;
    private int _inFlight;
    private bool _isDisposed;

    private XdpDevice(
        NetworkLink link, FramePool frames, SafeFileHandle socket, XdpProgram program, ReceiveFrames receiveFrames, Rings rings, bool isZeroCopy, int inFlightMax)
        : base(link.Name, frames)
    {
        _link = link;
        _socket = socket;
        _program = program;
        _receiveFrames = receiveFrames;
        (_fill, _completion, _receive, _transmit) = (rings.Fill!, rings.Completion!, rings.Receive!, rings.Transmit!);
        _driver = $"AF_XDP, {(program.IsGeneric ? "generic" : "driver")} mode, {(isZeroCopy ? "no copy" : "copy")}";
        _inFlightMax = inFlightMax;
        _withKernel = new ushort[frames.FrameCount];
        _features = Measure();
        frames.AddUser();
        Post();
    }

    /// <inheritdoc/>
    public override NetworkDeviceFeatures Features => Volatile.Read(ref _features);

    /// <inheritdoc/>
    public override NetworkDeviceCounters Counters
    {
        get
        {
            NetworkDeviceCounters counters = _tally.Read();
            return counters with { ReceiveDropped = counters.ReceiveDropped + KernelDrops() };
        }
    }

    /// <summary>Pieces of packets that the kernel has not given back yet.</summary>
    public override int TransmitsInFlight => _inFlight;

    /// <inheritdoc/>
    public override NetworkDeviceRings RingFill => new((int)_receive.Available, _receive.Capacity, (int)_transmit.Waiting, _transmit.Capacity);

    private int Descriptor => (int)_socket.DangerousGetHandle();

    // For any packet. What is in flight may not exceed what the completion ring holds: it has twice the entries of the transmit ring.
    private bool HasRoom => _transmit.Room >= DescriptorsPerPacketMax && _inFlight + DescriptorsPerPacketMax <= _inFlightMax;

    /// <summary>Opens a queue of an interface of the calling thread's network namespace.</summary>
    /// <exception cref="NetworkDeviceException">There is no such interface or queue, another program is attached, or the kernel refused (rights, an old kernel).</exception>
    /// <exception cref="InvalidOperationException">The pool has not the frames to receive into; or the filters make too long a program.</exception>
    public static XdpDevice Open(string interfaceName, FramePool frames, XdpOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(frames);
        options ??= new XdpOptions();
        ArgumentOutOfRangeException.ThrowIfNegative(options.Queue);
        NetworkLink link = NetworkLink.Open(interfaceName);
        Rings rings = new();
        SafeFileHandle? socket = null;
        XdpProgram? program = null;
        ReceiveFrames? receiveFrames = null;
        try
        {
            receiveFrames = new ReceiveFrames(frames, options.FrameOwner ?? frames.RootCredential, options.ReceiveFrameCount);
            int fd = Libc.Socket(XdpAbi.AF_XDP, PacketAbi.SOCK_RAW | Libc.SocketCloseOnExec, 0);
            if (fd < 0)
            {
                throw Refused(interfaceName, "open an XDP socket on");
            }

            socket = new SafeFileHandle(fd, ownsHandle: true);
            rings.Open(fd, frames, options, interfaceName);
            program = XdpProgram.Attach(link, options);
            Bind(fd, link, options.Queue);
            program.Direct(options.Queue, fd);
            uint found = 0, lengthBytes = sizeof(uint);
            bool isZeroCopy = Libc.GetSocketOption(fd, XdpAbi.SOL_XDP, XdpAbi.XDP_OPTIONS, &found, &lengthBytes) == 0 && (found & XdpAbi.XDP_OPTIONS_ZEROCOPY) != 0;
            return new XdpDevice(link, frames, socket, program, receiveFrames, rings, isZeroCopy, 2 * options.TransmitRingEntries);
        }
        catch
        {
            program?.Dispose();
            rings.Dispose();
            socket?.Dispose();
            receiveFrames?.Dispose();
            link.Dispose();
            throw;
        }
    }

    /// <summary>The filters have changed: puts the program for them as they are now in the place of the old one. For any thread.</summary>
    /// <exception cref="NetworkDeviceException">The kernel refused; the old program stays.</exception>
    /// <exception cref="InvalidOperationException">The filters make a program longer than 32,767 slots; the old one stays.</exception>
    public override void UpdateFilters()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        _program.Update();
    }

    /// <inheritdoc/>
    public override NetworkEvents Wait(NetworkEvents wanted, TimeSpan timeout)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if ((wanted & NetworkEvents.Receivable) != 0)
        {
            Post();
        }

        if ((wanted & NetworkEvents.Transmittable) == 0)
        {
            _tally.SystemCalls++;
            return _wait.Wait(Descriptor, wanted, timeout);
        }

        Kick();
        Reap();
        NetworkEvents received = wanted & NetworkEvents.Receivable;
        _tally.SystemCalls++;
        if (HasRoom)
        {
            return _wait.Wait(Descriptor, received, TimeSpan.Zero) | NetworkEvents.Transmittable;
        }

        // The socket counts as writable while the kernel has room in its own ring, which says nothing of completions, and nothing else tells of them: look again soon.
        NetworkEvents happened = _wait.Wait(Descriptor, received, timeout >= TimeSpan.Zero && timeout < s_completionLook ? timeout : s_completionLook);
        Kick();
        Reap();
        return HasRoom ? happened | NetworkEvents.Transmittable : happened;
    }

    /// <inheritdoc/>
    public override void Wake() => _wait.Wake();

    /// <inheritdoc/>
    public override void Reap()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if (_inFlight > 0 && _transmit.Waiting > 0)
        {
            Kick();
        }

        uint count = _completion.Available;
        for (uint i = 0; i < count; i++)
        {
            Complete((uint)(_completion.Address(i) / FramePool.FrameBytes));
        }

        if (count > 0)
        {
            _completion.Consume(count);
        }
    }

    /// <inheritdoc/>
    public override void Refresh()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        _program.Update();
        Volatile.Write(ref _features, Measure());
    }

    /// <inheritdoc/>
    protected override int TransmitChecked(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices)
    {
        Reap();
        int accepted = 0;
        foreach (ref readonly TransmitPacket packet in packets)
        {
            ReadOnlySpan<PacketSlice> payload = slices.Slice(packet.FirstSlice, packet.SliceCount);
            if (!HasRoom)
            {
                Kick();
                Reap();
                if (!HasRoom)
                {
                    _tally.TransmitFull++;
                    break;
                }
            }

            uint used = 0;
            Describe(packet.Header, ref used);
            foreach (PacketSlice slice in payload)
            {
                Describe(slice, ref used);
            }

            Invariant.Check(used <= DescriptorsPerPacketMax);
            _transmit.Descriptor(used - 1).Options = 0;
            _transmit.Produce(used);
            _inFlight += (int)used;
            accepted++;
        }

        _tally.TransmittedPackets += accepted;
        _tally.TransmittedBytes += TransmitLength.Of(packets[..accepted], slices);
        Kick();
        return accepted;
    }

    /// <inheritdoc/>
    protected override int ReceiveInto(ReceiveBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        Reap();
        uint available = _receive.Available;
        uint taken = 0;
        while (batch.Count < batch.Capacity && taken < available)
        {
            int pieces = 0;
            bool isWhole = false, isTooLong = false;
            uint at = taken;
            while (at < available && !isWhole)
            {
                XdpDescriptor descriptor = _receive.Descriptor(at++);
                var frame = new FrameNumber((uint)(descriptor.Address / FramePool.FrameBytes));
                isWhole = (descriptor.Options & XdpAbi.XDP_PKT_CONTD) == 0;
                if (pieces == ReceiveSlicesMax)
                {
                    isTooLong = true;
                }
                else
                {
                    _slices[pieces++] = new PacketSlice(frame, (int)(descriptor.Address % FramePool.FrameBytes), (int)descriptor.LengthBytes);
                }
            }

            if (!isWhole)
            {
                break;
            }

            for (uint i = taken; i < at; i++)
            {
                uint frame = (uint)(_receive.Descriptor(i).Address / FramePool.FrameBytes);
                Invariant.Check((_withKernel[frame] & Posted) != 0);
                _withKernel[frame] = (ushort)(_withKernel[frame] & ~Posted);
                if (isTooLong)
                {
                    _receiveFrames.Return(new FrameNumber(frame));
                }
            }

            taken = at;
            if (isTooLong)
            {
                _tally.ReceiveDropped++;
                continue;
            }

            batch.Add(_receiveFrames, _slices.AsSpan(0, pieces));
            _tally.ReceivedPackets++;
            _tally.ReceivedBytes += batch.Packets[^1].LengthBytes;
        }

        if (taken > 0)
        {
            _receive.Consume(taken);
        }

        Post();
        return batch.Count;
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (_isDisposed)
        {
            return;
        }

        _isDisposed = true;
        _program.Dispose();
        _fill.Dispose();
        _completion.Dispose();
        _receive.Dispose();
        _transmit.Dispose();

        // Closing the socket ends all use of the memory by the kernel, so what it still had is ours again.
        _socket.Dispose();
        _link.Dispose();
        for (uint frame = 0; frame < (uint)_withKernel.Length; frame++)
        {
            if ((_withKernel[frame] & Posted) != 0)
            {
                _receiveFrames.Return(new FrameNumber(frame));
            }

            for (int i = _withKernel[frame] & ~Posted; i > 0; i--)
            {
                Frames.Release(new FrameNumber(frame));
            }
        }

        _inFlight = 0;
        _receiveFrames.Dispose();
        _wait.Dispose();
        Frames.RemoveUser();
    }

    private static void Bind(int socket, NetworkLink link, int queue)
    {
        XdpSocketAddress address = new()
        {
            Family = XdpAbi.AF_XDP,
            Flags = XdpAbi.XDP_USE_NEED_WAKEUP | XdpAbi.XDP_USE_SG,
            InterfaceIndex = (uint)link.Index,
            Queue = (uint)queue,
        };

        // Right after another socket has left the queue the kernel is still cleaning up behind it.
        long deadline = Stopwatch.GetTimestamp() + BindRetryMs * (Stopwatch.Frequency / 1000);
        while (Libc.Bind(socket, (byte*)&address, (uint)sizeof(XdpSocketAddress)) != 0)
        {
            if (Errno.Last != Errno.EBUSY || Stopwatch.GetTimestamp() > deadline)
            {
                throw Refused(link.Name, $"bind an XDP socket to queue {queue} of", Errno.Last == Errno.EINVAL ? "packets in pieces need Linux 6.6" : null);
            }

            Thread.Sleep(10);
        }
    }

    private static NetworkDeviceException Refused(string name, string what, string? hint = null)
    {
        int errno = Errno.Last;
        return new NetworkDeviceException(errno, name, $"Cannot {what} {name}: {Errno.Describe(errno)}{(hint is null ? "" : "; " + hint)}.");
    }

    // One descriptor for each frame that the slice touches: in the kernel's eyes frames are chunks by themselves.
    private void Describe(PacketSlice slice, ref uint used)
    {
        uint frame = slice.Frame.Value;
        int offset = slice.OffsetBytes;
        for (int left = slice.LengthBytes; left > 0;)
        {
            int length = Math.Min(left, FramePool.FrameBytes - offset);
            Frames.Retain(new FrameNumber(frame));
            _withKernel[frame]++;
            _transmit.Descriptor(used++) = new XdpDescriptor
            {
                Address = (ulong)frame * FramePool.FrameBytes + (uint)offset, LengthBytes = (uint)length, Options = XdpAbi.XDP_PKT_CONTD,
            };
            left -= length;
            offset = 0;
            frame++;
        }
    }

    private void Complete(uint frame)
    {
        Invariant.Check((_withKernel[frame] & ~Posted) > 0 && _inFlight > 0);
        _withKernel[frame]--;
        _inFlight--;
        Frames.Release(new FrameNumber(frame));
    }

    // Asks the kernel to look at the transmit ring until it has taken everything, or takes no more.
    private void Kick()
    {
        for (int i = 0; i < KicksMax && _transmit.Waiting > 0 && _transmit.NeedsWakeup; i++)
        {
            uint waiting = _transmit.Waiting;
            _tally.SystemCalls++;
            if (Libc.SendTo(Descriptor, null, 0, Libc.MessageDontWait, null, 0) < 0)
            {
                int errno = Errno.Last;
                if (errno is Libc.ErrnoNoDeviceOrAddress or Errno.ENODEV)
                {
                    throw new NetworkDeviceException(errno, Name, $"The interface {Name} is gone.");
                }

                // EAGAIN: 32 were taken and there are more, or the completion ring is full; EBUSY, ENOBUFS, ENETDOWN: later.
                if (errno != Errno.EAGAIN || _transmit.Waiting == waiting)
                {
                    return;
                }
            }
        }
    }

    // Gives the kernel frames to receive into.
    private void Post()
    {
        uint room = _fill.Room;
        uint posted = 0;
        while (posted < room && _receiveFrames.TryTake(out FrameNumber frame))
        {
            _withKernel[frame.Value] |= Posted;
            _fill.Address(posted++) = (ulong)frame.Value * FramePool.FrameBytes;
        }

        if (posted > 0)
        {
            _fill.Produce(posted);
        }
    }

    private NetworkDeviceFeatures Measure() => new()
    {
        Driver = _driver,
        Address = _link.Address,
        MtuBytes = _link.MtuBytes,
        TransmitSlicesMax = TransmitPiecesMax,
        TransmitsFromFrames = true,
        Note = _program.Note,
    };

    private long KernelDrops()
    {
        bool isHeld = false;
        try
        {
            _socket.DangerousAddRef(ref isHeld);
            XdpStatistics statistics;
            uint lengthBytes = (uint)sizeof(XdpStatistics);
            return Libc.GetSocketOption(Descriptor, XdpAbi.SOL_XDP, XdpAbi.XDP_STATISTICS, &statistics, &lengthBytes) == 0
                ? (long)(statistics.ReceiveDropped + statistics.ReceiveRingFull)
                : 0;
        }
        catch (ObjectDisposedException)
        {
            return 0;
        }
        finally
        {
            if (isHeld)
            {
                _socket.DangerousRelease();
            }
        }
    }

    /// <summary>The four rings while they are being made.</summary>
    private sealed class Rings : IDisposable
    {
        public XdpRing? Fill;
        public XdpRing? Completion;
        public XdpRing? Receive;
        public XdpRing? Transmit;

        public void Open(int socket, FramePool frames, XdpOptions options, string interfaceName)
        {
            XdpMemory memory = new()
            {
                Address = (ulong)frames.BaseAddress, LengthBytes = (ulong)frames.FrameCount * FramePool.FrameBytes, ChunkBytes = FramePool.FrameBytes,
            };
            if (Libc.SetSocketOption(socket, XdpAbi.SOL_XDP, XdpAbi.XDP_UMEM_REG, (int*)&memory, (uint)sizeof(XdpMemory)) != 0)
            {
                throw Refused(interfaceName, "register the frame pool for");
            }

            XdpOffsets offsets;
            uint lengthBytes = (uint)sizeof(XdpOffsets);
            if (Libc.GetSocketOption(socket, XdpAbi.SOL_XDP, XdpAbi.XDP_MMAP_OFFSETS, &offsets, &lengthBytes) != 0 || lengthBytes != sizeof(XdpOffsets))
            {
                throw Refused(interfaceName, "learn the layout of the rings of");
            }

            try
            {
                Fill = XdpRing.Open(socket, XdpAbi.XDP_UMEM_FILL_RING, XdpAbi.XDP_UMEM_PGOFF_FILL_RING, offsets.Fill, options.ReceiveRingEntries, sizeof(ulong));
                Completion = XdpRing.Open(
                    socket, XdpAbi.XDP_UMEM_COMPLETION_RING, XdpAbi.XDP_UMEM_PGOFF_COMPLETION_RING, offsets.Completion, 2 * options.TransmitRingEntries, sizeof(ulong));
                Receive = XdpRing.Open(socket, XdpAbi.XDP_RX_RING, XdpAbi.XDP_PGOFF_RX_RING, offsets.Receive, options.ReceiveRingEntries, sizeof(XdpDescriptor));
                Transmit = XdpRing.Open(socket, XdpAbi.XDP_TX_RING, XdpAbi.XDP_PGOFF_TX_RING, offsets.Transmit, options.TransmitRingEntries, sizeof(XdpDescriptor));
            }
            catch (IOException refused)
            {
                throw new NetworkDeviceException(0, interfaceName, $"{interfaceName}: {refused.Message}");
            }
        }

        public void Dispose()
        {
            Fill?.Dispose();
            Completion?.Dispose();
            Receive?.Dispose();
            Transmit?.Dispose();
        }
    }
}
