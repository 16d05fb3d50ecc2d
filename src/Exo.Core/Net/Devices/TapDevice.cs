// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Exo.Core.Memory;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.Net;

/// <summary>
/// One end of a virtual cable whose other end is an interface of the kernel (tun(4), IFF_TAP, IFF_VNET_HDR): super-packets and open checksums pass in both directions.
/// Everything that the kernel sends to its end comes up here. The two ends have different addresses, as two cards have.
/// Needs CAP_NET_ADMIN unless the interface was made for the user before. An interface made here is gone when the device is closed or its process dies.
/// </summary>
public sealed unsafe class TapDevice : NetworkDevice
{
    private const int TransmitPiecesMax = 64;

    private readonly NetworkLink _link;
    private readonly SafeFileHandle _file;
    private readonly TapOptions _options;
    private readonly DeviceWait _wait = new();
    private readonly ReceiveFrames _receiveFrames;
    private readonly VirtioVectors _vectors;
    private NetworkDeviceFeatures _features;
    private DeviceTally _tally;
    private bool _isDisposed;

    private TapDevice(NetworkLink link, SafeFileHandle file, FramePool frames, TapOptions options, ReceiveFrames receiveFrames, VirtioVectors vectors)
        : base(link.Name, frames)
    {
        _link = link;
        _file = file;
        _options = options;
        _receiveFrames = receiveFrames;
        _vectors = vectors;
        _features = Measure();
        frames.AddUser();
    }

    /// <inheritdoc/>
    public override NetworkDeviceFeatures Features => Volatile.Read(ref _features);

    /// <inheritdoc/>
    public override NetworkDeviceCounters Counters => _tally.Read();

    private int Descriptor => (int)_file.DangerousGetHandle();

    /// <summary>
    /// Opens the interface of that name, and makes it if there is none. It has to be switched on before packets pass (<see cref="NetworkLink.IsUp"/>).
    /// </summary>
    /// <exception cref="NetworkDeviceException">The kernel refused: rights, no /dev/net/tun, the name belongs to something else or is in use.</exception>
    /// <exception cref="InvalidOperationException">The pool has not the frames to receive into.</exception>
    public static TapDevice Open(string interfaceName, FramePool frames, TapOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(frames);
        options ??= new TapOptions();
        InterfaceRequest request = NetworkRequests.Named(interfaceName);
        request.Flags = PacketAbi.IFF_TAP | PacketAbi.IFF_NO_PI | PacketAbi.IFF_VNET_HDR;
        int fd;
        fixed (byte* path = "/dev/net/tun\0"u8)
        {
            fd = Libc.Open(path, Abi.O_RDWR | FileAbi.O_NONBLOCK | Abi.O_CLOEXEC, 0);
        }

        if (fd < 0)
        {
            throw Refused(interfaceName, "open /dev/net/tun for");
        }

        SafeFileHandle file = new(fd, ownsHandle: true);
        NetworkLink? link = null;
        ReceiveFrames? receiveFrames = null;
        try
        {
            if (Libc.IoControl(fd, PacketAbi.TUNSETIFF, &request) != 0)
            {
                throw Refused(interfaceName, "make or take the TAP interface");
            }

            int headerBytes = sizeof(VirtioHeader);
            if (Libc.IoControl(fd, PacketAbi.TUNSETVNETHDRSZ, &headerBytes) != 0)
            {
                throw Refused(interfaceName, "use virtio headers on");
            }

            nint offload = options.ReceiveSuperPackets ? (nint)(PacketAbi.TUN_F_CSUM | PacketAbi.TUN_F_TSO4 | PacketAbi.TUN_F_TSO6) : 0;
            if (Libc.IoControl(fd, PacketAbi.TUNSETOFFLOAD, (void*)offload) != 0)
            {
                throw Refused(interfaceName, "set what may come up from");
            }

            link = NetworkLink.Open(interfaceName);
            receiveFrames = new ReceiveFrames(frames, options.FrameOwner ?? frames.RootCredential, options.ReceiveFrameCount);
            return new TapDevice(link, file, frames, options, receiveFrames, new VirtioVectors(frames, receiveFrames, VirtioVectors.SuperPacketFrames));
        }
        catch
        {
            receiveFrames?.Dispose();
            link?.Dispose();
            file.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override NetworkEvents Wait(NetworkEvents wanted, TimeSpan timeout)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        _tally.SystemCalls++;
        return _wait.Wait(Descriptor, wanted, timeout);
    }

    /// <inheritdoc/>
    public override void Wake() => _wait.Wake();

    /// <inheritdoc/>
    public override void Refresh()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        Volatile.Write(ref _features, Measure());
    }

    /// <inheritdoc/>
    protected override int TransmitChecked(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        int accepted = 0;
        while (accepted < packets.Length)
        {
            int count = _vectors.Build(packets[accepted..], slices);
            for (int sent = 0; sent < count;)
            {
                _tally.SystemCalls++;
                ref readonly Libc.MessageHeader message = ref _vectors.Sending[sent].Header;
                nint done = Libc.WritePieces(Descriptor, message.Vectors, (int)message.VectorCount);
                int errno = done < 0 ? Errno.Last : 0;
                switch (errno)
                {
                    case 0:
                        _tally.TransmittedBytes += done - sizeof(VirtioHeader);
                        break;
                    case Errno.EINTR:
                        continue;
                    case Errno.EAGAIN:
                        _tally.TransmitFull++;
                        return accepted + sent;
                    case Libc.ErrnoBadDescriptor:
                        throw Gone(errno);
                    default:
                        // This packet, not the device: the interface is down, or the kernel did not like the headers.
                        _tally.TransmitDropped++;
                        break;
                }

                _tally.TransmittedPackets++;
                sent++;
            }

            accepted += count;
        }

        return accepted;
    }

    /// <inheritdoc/>
    protected override int ReceiveInto(ReceiveBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        int slots = _vectors.Fill(batch.Capacity);
        for (int i = 0; i < slots; i++)
        {
            _tally.SystemCalls++;
            nint got = Libc.ReadPieces(Descriptor, _vectors.ReceivePieces(i), _vectors.PiecesPerSlot);
            if (got < 0)
            {
                int errno = Errno.Last;
                if (errno == Libc.ErrnoBadDescriptor)
                {
                    throw Gone(errno);
                }

                break;
            }

            int lengthBytes = _vectors.Take(i, (int)got, batch);
            if (lengthBytes == 0)
            {
                _tally.ReceiveDropped++;
                continue;
            }

            _tally.ReceivedPackets++;
            _tally.ReceivedBytes += lengthBytes;
        }

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
        _file.Dispose();
        _link.Dispose();
        _vectors.Dispose();
        _receiveFrames.Dispose();
        _wait.Dispose();
        Frames.RemoveUser();
    }

    private static NetworkDeviceException Refused(string name, string what)
    {
        int errno = Errno.Last;
        return new NetworkDeviceException(errno, name, $"Cannot {what} {name}: {Errno.Describe(errno)}.");
    }

    private NetworkDeviceException Gone(int errno) => new(errno, Name, $"The interface {Name} is gone.");

    private NetworkDeviceFeatures Measure() => new()
    {
        Driver = "TAP",
        Address = _options.Address ?? new MacAddress(_link.Address.Value ^ 1),
        MtuBytes = _link.MtuBytes,
        TransmitChecksum = true,
        ReceiveChecksum = true,
        SegmentationV4 = true,
        SegmentationV6 = true,
        ReceiveSuperPackets = _options.ReceiveSuperPackets,
        SuperPacketBytesMax = ushort.MaxValue,
        TransmitSlicesMax = TransmitPiecesMax,
    };
}
