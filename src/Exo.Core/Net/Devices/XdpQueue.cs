// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Exo.Core.Linux;
using Exo.Core.Memory;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.Net;

/// <summary>
/// The AF_XDP socket of one queue of an interface, and its rings. The first one registers the frame pool and sends; the others share the pool with it and only receive. (A queue has a completion ring in any case: the kernel
/// wants one.)
/// </summary>
internal sealed unsafe class XdpQueue : IDisposable
{
    private const int BindRetryMs = 3000;

    // Of a queue through which nothing is sent.
    private const int UnusedRingEntries = 2;

    private readonly SafeFileHandle _socket;
    private readonly int _number;
    private XdpRing? _fill;
    private XdpRing? _completion;
    private XdpRing? _receive;

    private XdpQueue(SafeFileHandle socket, int number, int postedMax)
    {
        _socket = socket;
        _number = number;
        PostedMax = postedMax;
    }

    public XdpRing Fill => _fill!;

    public XdpRing Completion => _completion!;

    public XdpRing Receive => _receive!;

    /// <summary>Null where nothing is sent.</summary>
    public XdpRing? Transmit { get; private set; }

    /// <summary>Frames that wait for packets, or have packets that were not fetched.</summary>
    public int Posted { get; set; }

    /// <summary>As many as wait at most: what the queues leave one another.</summary>
    public int PostedMax { get; }

    public int Descriptor => (int)_socket.DangerousGetHandle();

    /// <summary>Whether the driver gives and takes packets without a copy.</summary>
    public bool IsZeroCopy
    {
        get
        {
            uint found = 0, lengthBytes = sizeof(uint);
            return Libc.GetSocketOption(Descriptor, XdpAbi.SOL_XDP, XdpAbi.XDP_OPTIONS, &found, &lengthBytes) == 0 && (found & XdpAbi.XDP_OPTIONS_ZEROCOPY) != 0;
        }
    }

    /// <summary>Packets that found no frame or no room in the receive ring. From any thread.</summary>
    public long Drops
    {
        get
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
    }

    /// <summary>Makes the socket and its rings. It is not bound yet.</summary>
    /// <param name="interfaceName">For messages.</param>
    /// <param name="frames">The packet memory.</param>
    /// <param name="options">How many entries the rings have.</param>
    /// <param name="number">Which queue.</param>
    /// <param name="isFirst">It registers the memory, and sends.</param>
    /// <param name="postedMax">Frames that wait for packets at most.</param>
    /// <exception cref="NetworkDeviceException">The kernel refused.</exception>
    public static XdpQueue Open(string interfaceName, FramePool frames, XdpOptions options, int number, bool isFirst, int postedMax)
    {
        int fd = Libc.Socket(XdpAbi.AF_XDP, PacketAbi.SOCK_RAW | Libc.SocketCloseOnExec, 0);
        if (fd < 0)
        {
            throw Refused(interfaceName, "open an XDP socket on");
        }

        XdpQueue queue = new(new SafeFileHandle(fd, ownsHandle: true), number, postedMax);
        try
        {
            if (isFirst)
            {
                Register(fd, frames, interfaceName);
            }

            queue.OpenRings(fd, options, isFirst, interfaceName);
            return queue;
        }
        catch
        {
            queue.Dispose();
            throw;
        }
    }

    /// <summary>Binds it to its queue. The first one comes first; the others share its memory.</summary>
    /// <exception cref="NetworkDeviceException">There is no such queue, or it is taken.</exception>
    public void Bind(NetworkLink link, XdpQueue first)
    {
        XdpSocketAddress address = new()
        {
            Family = XdpAbi.AF_XDP,
            Flags = first == this ? (ushort)(XdpAbi.XDP_USE_NEED_WAKEUP | XdpAbi.XDP_USE_SG) : XdpAbi.XDP_SHARED_UMEM,
            InterfaceIndex = (uint)link.Index,
            Queue = (uint)_number,
            SharedMemory = first == this ? 0 : (uint)first.Descriptor,
        };

        // Right after another socket has left the queue the kernel is still cleaning up behind it.
        long deadline = Stopwatch.GetTimestamp() + (BindRetryMs * (Stopwatch.Frequency / 1000));
        while (Libc.Bind(Descriptor, (byte*)&address, (uint)sizeof(XdpSocketAddress)) != 0)
        {
            if (Errno.Last != Errno.EBUSY || Stopwatch.GetTimestamp() > deadline)
            {
                throw Refused(link.Name, $"bind an XDP socket to queue {_number} of", Errno.Last == Errno.EINVAL ? "packets in pieces need Linux 6.6" : null);
            }

            Thread.Sleep(10);
        }
    }

    public void Direct(XdpProgram program) => program.Direct(_number, Descriptor);

    /// <summary>Ends all use of the memory by the kernel for this queue.</summary>
    public void Dispose()
    {
        _fill?.Dispose();
        _completion?.Dispose();
        _receive?.Dispose();
        Transmit?.Dispose();
        _socket.Dispose();
    }

    private static void Register(int socket, FramePool frames, string interfaceName)
    {
        XdpMemory memory = new()
        {
            Address = (ulong)frames.BaseAddress, LengthBytes = (ulong)frames.FrameCount * FramePool.FrameBytes, ChunkBytes = FramePool.FrameBytes,
        };
        if (Libc.SetSocketOption(socket, XdpAbi.SOL_XDP, XdpAbi.XDP_UMEM_REG, (int*)&memory, (uint)sizeof(XdpMemory)) != 0)
        {
            throw Refused(interfaceName, "register the frame pool for");
        }
    }

    private void OpenRings(int socket, XdpOptions options, bool sends, string interfaceName)
    {
        XdpOffsets offsets;
        uint lengthBytes = (uint)sizeof(XdpOffsets);
        if (Libc.GetSocketOption(socket, XdpAbi.SOL_XDP, XdpAbi.XDP_MMAP_OFFSETS, &offsets, &lengthBytes) != 0 || lengthBytes != sizeof(XdpOffsets))
        {
            throw Refused(interfaceName, "learn the layout of the rings of");
        }

        try
        {
            _fill = XdpRing.Open(socket, XdpAbi.XDP_UMEM_FILL_RING, XdpAbi.XDP_UMEM_PGOFF_FILL_RING, offsets.Fill, options.ReceiveRingEntries, sizeof(ulong));
            _completion = XdpRing.Open(
                socket, XdpAbi.XDP_UMEM_COMPLETION_RING, XdpAbi.XDP_UMEM_PGOFF_COMPLETION_RING, offsets.Completion, sends ? 2 * options.TransmitRingEntries : UnusedRingEntries, sizeof(ulong));
            _receive = XdpRing.Open(socket, XdpAbi.XDP_RX_RING, XdpAbi.XDP_PGOFF_RX_RING, offsets.Receive, options.ReceiveRingEntries, sizeof(XdpDescriptor));
            if (sends)
            {
                Transmit = XdpRing.Open(socket, XdpAbi.XDP_TX_RING, XdpAbi.XDP_PGOFF_TX_RING, offsets.Transmit, options.TransmitRingEntries, sizeof(XdpDescriptor));
            }
        }
        catch (IOException refused)
        {
            throw new NetworkDeviceException(0, interfaceName, $"{interfaceName}: {refused.Message}");
        }
    }

    private static NetworkDeviceException Refused(string name, string what, string? hint = null)
    {
        int errno = Errno.Last;
        return new NetworkDeviceException(errno, name, $"Cannot {what} {name}: {Errno.Describe(errno)}{(hint is null ? "" : "; " + hint)}.");
    }
}
