// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Exo.Core.Memory;

namespace Exo.Core.Net;

/// <summary>
/// An interface through AF_XDP, all its queues or one of them. The packet memory is the frame pool itself: packets come into frames and leave from frames, a header and the payload frames
/// behind it as one packet (multi-buffer). A program at the interface's XDP hook, made of the packet filters, decides what comes up; the rest is the kernel's as before.
/// <code>
///   spare frames --> fill ring --> kernel --> receive ring --> batch --> spare frames
///   packets' frames (retained) --> transmit ring --> kernel --> completion ring --> released
/// </code>
/// <para>A fill and a receive ring for each queue, because an interface with several spreads what comes in over all of them, each connection to one; what is sent leaves by the first. The kernel pins the whole pool, which makes all of it resident. A device that can takes and gives packets without a copy; veth and the generic path copy.
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
    private const int Posted = 1 << 15;

    private static readonly TimeSpan s_completionLook = TimeSpan.FromMilliseconds(1);

    private readonly NetworkLink _link;
    private readonly XdpQueue[] _queues;
    private readonly int[] _descriptors;
    private readonly DeviceWait _wait = new();
    private readonly ReceiveFrames _receiveFrames;
    private readonly XdpProgram _program;
    private readonly XdpRing _completion;
    private readonly XdpRing _transmit;
    private readonly string _driver;
    private readonly int _inFlightMax;

    // By frame: how many descriptors of it are on their way out; bit 15: it waits for a packet.
    private readonly ushort[] _withKernel;
    private readonly PacketSlice[] _slices = new PacketSlice[ReceiveSlicesMax];
    private NetworkDeviceFeatures _features;
    private DeviceTally _tally;
    private int _inFlight;

    // The queue that is looked at first.
    private int _turn;
    private bool _isDisposed;

    private XdpDevice(NetworkLink link, FramePool frames, XdpQueue[] queues, XdpProgram program, ReceiveFrames receiveFrames, int inFlightMax)
        : base(link.Name, frames)
    {
        _link = link;
        _queues = queues;
        _descriptors = Array.ConvertAll(queues, queue => queue.Descriptor);
        _program = program;
        _receiveFrames = receiveFrames;
        (_completion, _transmit) = (queues[0].Completion, queues[0].Transmit!);
        _driver = $"AF_XDP, {(program.IsGeneric ? "generic" : "driver")} mode, {(queues[0].IsZeroCopy ? "no copy" : "copy")}{(queues.Length > 1 ? $", {queues.Length} queues" : "")}";
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
            return counters with { ReceiveDropped = counters.ReceiveDropped + _queues.Sum(queue => queue.Drops) };
        }
    }

    /// <summary>Pieces of packets that the kernel has not given back yet.</summary>
    public override int TransmitsInFlight => _inFlight;

    /// <inheritdoc/>
    public override NetworkDeviceRings RingFill
    {
        get
        {
            int available = 0, capacity = 0;
            foreach (XdpQueue queue in _queues)
            {
                available += (int)queue.Receive.Available;
                capacity += queue.Receive.Capacity;
            }

            return new(available, capacity, (int)_transmit.Waiting, _transmit.Capacity);
        }
    }

    // For any packet. What is in flight may not exceed what the completion ring holds: it has twice the entries of the transmit ring.
    private bool HasRoom => _transmit.Room >= DescriptorsPerPacketMax && _inFlight + DescriptorsPerPacketMax <= _inFlightMax;

    /// <summary>Opens an interface of the calling thread's network namespace.</summary>
    /// <exception cref="NetworkDeviceException">There is no such interface or queue, another program is attached, or the kernel refused (rights, an old kernel).</exception>
    /// <exception cref="InvalidOperationException">The pool has not the frames to receive into; or the filters make too long a program.</exception>
    public static XdpDevice Open(string interfaceName, FramePool frames, XdpOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(frames);
        options ??= new XdpOptions();
        ArgumentOutOfRangeException.ThrowIfNegative(options.Queue ?? 0);
        NetworkLink link = NetworkLink.Open(interfaceName);
        List<XdpQueue> queues = [];
        XdpProgram? program = null;
        ReceiveFrames? receiveFrames = null;
        try
        {
            receiveFrames = new ReceiveFrames(frames, options.FrameOwner ?? frames.RootCredential, options.ReceiveFrameCount);
            (int first, int count) = options.Queue is { } only ? (only, 1) : (0, link.ReceiveQueues);

            // Half of the frames wait for packets, where there are several queues: what one gets of them no other has.
            int postedMax = count == 1 ? int.MaxValue : Math.Max(1, options.ReceiveFrameCount / 2 / count);
            for (int number = first; number < first + count; number++)
            {
                queues.Add(XdpQueue.Open(interfaceName, frames, options, number, number == first, postedMax));
            }

            program = XdpProgram.Attach(link, options, first + count);
            foreach (XdpQueue queue in queues)
            {
                queue.Bind(link, queues[0]);
                queue.Direct(program);
            }

            return new XdpDevice(link, frames, [.. queues], program, receiveFrames, 2 * options.TransmitRingEntries);
        }
        catch
        {
            program?.Dispose();
            queues.ForEach(queue => queue.Dispose());
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
            return _wait.Wait(_descriptors, wanted, timeout);
        }

        Kick();
        Reap();
        NetworkEvents received = wanted & NetworkEvents.Receivable;
        _tally.SystemCalls++;
        if (HasRoom)
        {
            return _wait.Wait(_descriptors, received, TimeSpan.Zero) | NetworkEvents.Transmittable;
        }

        // The socket counts as writable while the kernel has room in its own ring, which says nothing of completions, and nothing else tells of them: look again soon.
        NetworkEvents happened = _wait.Wait(_descriptors, received, timeout >= TimeSpan.Zero && timeout < s_completionLook ? timeout : s_completionLook);
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
        for (int i = 0; i < _queues.Length && batch.Count < batch.Capacity; i++)
        {
            ReceiveFrom(_queues[(_turn + i) % _queues.Length], batch);
        }

        _turn = (_turn + 1) % _queues.Length;
        Post();
        return batch.Count;
    }

    private void ReceiveFrom(XdpQueue queue, ReceiveBatch batch)
    {
        uint available = queue.Receive.Available;
        uint taken = 0;
        while (batch.Count < batch.Capacity && taken < available)
        {
            int pieces = 0;
            bool isWhole = false, isTooLong = false;
            uint at = taken;
            while (at < available && !isWhole)
            {
                XdpDescriptor descriptor = queue.Receive.Descriptor(at++);
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
                uint frame = (uint)(queue.Receive.Descriptor(i).Address / FramePool.FrameBytes);
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
            queue.Receive.Consume(taken);
            queue.Posted -= (int)taken;
        }
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

        // When all sockets are closed the kernel does not use the memory any more, so what it still had is ours again.
        Array.ForEach(_queues, queue => queue.Dispose());
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
            if (Libc.SendTo(_descriptors[0], null, 0, Libc.MessageDontWait, null, 0) < 0)
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

    // Gives the kernel frames to receive into, each queue its part.
    private void Post()
    {
        for (int i = 0; i < _queues.Length; i++)
        {
            XdpQueue queue = _queues[(_turn + i) % _queues.Length];
            uint room = (uint)Math.Min(queue.Fill.Room, Math.Max(0, (long)queue.PostedMax - queue.Posted));
            uint posted = 0;
            while (posted < room && _receiveFrames.TryTake(out FrameNumber frame))
            {
                _withKernel[frame.Value] |= Posted;
                queue.Fill.Address(posted++) = (ulong)frame.Value * FramePool.FrameBytes;
            }

            if (posted > 0)
            {
                queue.Fill.Produce(posted);
                queue.Posted += (int)posted;
            }
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
}
