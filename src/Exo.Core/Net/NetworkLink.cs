// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.Net;

/// <summary>
/// A network interface of the system by its name: what it is, and the few settings that are needed to use it raw. (Addresses, routes and queueing are
/// left to <c>ip</c>.) Speaks to the network namespace in which it was opened. For one thread at a time.
/// </summary>
public sealed unsafe class NetworkLink : IDisposable
{
    private readonly SafeFileHandle _socket;

    private NetworkLink(SafeFileHandle socket, string name, int index)
    {
        _socket = socket;
        Name = name;
        Index = index;
    }

    /// <summary>The name.</summary>
    public string Name { get; }

    /// <summary>The kernel's number for it.</summary>
    public int Index { get; }

    /// <summary>The longest IP packet in bytes. Setting it needs CAP_NET_ADMIN.</summary>
    /// <exception cref="NetworkDeviceException">The interface is gone, or refuses.</exception>
    public int MtuBytes
    {
        get => Ask(PacketAbi.SIOCGIFMTU, "read the MTU of").Number;
        set
        {
            InterfaceRequest request = NetworkRequests.Named(Name);
            request.Number = value;
            Do(PacketAbi.SIOCSIFMTU, ref request, $"set the MTU to {value} of");
        }
    }

    /// <summary>The hardware address. Setting it needs CAP_NET_ADMIN.</summary>
    /// <exception cref="NetworkDeviceException">The interface is gone, has no Ethernet address, or refuses.</exception>
    public MacAddress Address
    {
        get
        {
            InterfaceRequest request = Ask(PacketAbi.SIOCGIFHWADDR, "read the address of");
            return request.HardwareType == PacketAbi.ARPHRD_ETHER
                ? MacAddress.Read(new ReadOnlySpan<byte>(request.HardwareAddress, MacAddress.SizeBytes))
                : throw new NetworkDeviceException(0, Name, $"{Name} is no Ethernet interface.");
        }

        set
        {
            InterfaceRequest request = NetworkRequests.Named(Name);
            request.HardwareType = PacketAbi.ARPHRD_ETHER;
            value.Write(new Span<byte>(request.HardwareAddress, MacAddress.SizeBytes));
            Do(PacketAbi.SIOCSIFHWADDR, ref request, $"set the address {value} of");
        }
    }

    /// <summary>Whether it is switched on. Setting it needs CAP_NET_ADMIN.</summary>
    /// <exception cref="NetworkDeviceException">The interface is gone, or refuses.</exception>
    public bool IsUp
    {
        get => (Ask(PacketAbi.SIOCGIFFLAGS, "read the flags of").Flags & PacketAbi.IFF_UP) != 0;
        set
        {
            InterfaceRequest request = Ask(PacketAbi.SIOCGIFFLAGS, "read the flags of");
            request.Flags = (short)(value ? request.Flags | PacketAbi.IFF_UP : request.Flags & ~PacketAbi.IFF_UP);
            Do(PacketAbi.SIOCSIFFLAGS, ref request, value ? "switch on" : "switch off");
        }
    }

    /// <summary>Whether the interface takes super-packets as they are, because it cuts them itself or need not.</summary>
    internal bool TakesSuperPackets
    {
        get
        {
            EthtoolValue value = new() { Command = PacketAbi.ETHTOOL_GTSO };
            InterfaceRequest request = NetworkRequests.Named(Name);
            request.Pointer = (nint)(&value);
            return NetworkRequests.Do(_socket, PacketAbi.SIOCETHTOOL, ref request) == 0 && value.Data != 0;
        }
    }

    /// <summary>Queues that packets come in by: 1 where the driver does not say.</summary>
    internal int ReceiveQueues
    {
        get
        {
            EthtoolChannels channels = new() { Command = PacketAbi.ETHTOOL_GCHANNELS };
            InterfaceRequest request = NetworkRequests.Named(Name);
            request.Pointer = (nint)(&channels);
            return NetworkRequests.Do(_socket, PacketAbi.SIOCETHTOOL, ref request) == 0 ? (int)Math.Max(1, channels.Receive + channels.Combined) : 1;
        }
    }

    /// <summary>Finds an interface in the calling thread's network namespace.</summary>
    /// <exception cref="NetworkDeviceException">There is none.</exception>
    /// <exception cref="ArgumentException">No interface can have that name.</exception>
    public static NetworkLink Open(string name)
    {
        InterfaceRequest request = NetworkRequests.Named(name);
        SafeFileHandle socket = NetworkRequests.OpenSocket();
        int errno = NetworkRequests.Do(socket, PacketAbi.SIOCGIFINDEX, ref request);
        if (errno != 0)
        {
            socket.Dispose();
            throw new NetworkDeviceException(errno, name, $"There is no interface {name}: {Errno.Describe(errno)}.");
        }

        return new NetworkLink(socket, name, request.Number);
    }

    /// <summary>
    /// Whether the kernel's own packets leave this interface with checksums that it left open. Off is what a peer with AF_XDP at the other end of a veth
    /// pair needs: nobody tells it that a checksum is open. Needs CAP_NET_ADMIN.
    /// </summary>
    /// <exception cref="NetworkDeviceException">The interface is gone, or refuses.</exception>
    public void SetTransmitChecksumOffload(bool isOn)
    {
        EthtoolValue value = new() { Command = PacketAbi.ETHTOOL_STXCSUM, Data = isOn ? 1u : 0 };
        InterfaceRequest request = NetworkRequests.Named(Name);
        request.Pointer = (nint)(&value);
        Do(PacketAbi.SIOCETHTOOL, ref request, "set the checksum offload of");
    }

    /// <summary>Closes it; the interface stays as it is.</summary>
    public void Dispose() => _socket.Dispose();

    private InterfaceRequest Ask(uint command, string what)
    {
        InterfaceRequest request = NetworkRequests.Named(Name);
        Do(command, ref request, what);
        return request;
    }

    private void Do(uint command, ref InterfaceRequest request, string what)
    {
        int errno = NetworkRequests.Do(_socket, command, ref request);
        if (errno != 0)
        {
            throw new NetworkDeviceException(errno, Name, errno == Errno.ENODEV ? $"The interface {Name} is gone." : $"Cannot {what} {Name}: {Errno.Describe(errno)}.");
        }
    }
}
