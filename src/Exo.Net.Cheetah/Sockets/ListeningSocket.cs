// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Exo.Core.Linux;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Sockets;

/// <summary>
/// A non-blocking listening socket. TCP_NODELAY is set here because accepted sockets inherit it: one system call less per
/// connection.
/// </summary>
internal static unsafe class ListeningSocket
{
    // sockaddr_in | family 2 | port 2 (big endian) | address 4 | zero 8 |
    // sockaddr_in6| family 2 | port 2 | flow 4 | address 16 | scope 4 |
    public const int AddressBytesMax = 28;

    /// <summary>Opens the socket; with <paramref name="shared"/> several may listen on one port (SO_REUSEPORT).</summary>
    public static int Open(IPEndPoint endPoint, int backlog, bool shared)
    {
        int socket = Create(endPoint, shared);
        if (Libc.Listen(socket, backlog) != 0)
        {
            throw Failed(socket, endPoint);
        }

        return socket;
    }

    /// <summary>
    /// Throws when another program has the port. Needed before sharing it: SO_REUSEPORT would silently split the connections
    /// with any other program of this user that set it too.
    /// </summary>
    public static void CheckFree(IPEndPoint endPoint) => Libc.Close(Create(endPoint, shared: false));

    /// <summary>Where a bound socket is.</summary>
    public static IPEndPoint EndPointOf(int socket)
    {
        byte* address = stackalloc byte[AddressBytesMax];
        uint lengthBytes = AddressBytesMax;
        int result = Libc.GetSocketName(socket, address, &lengthBytes);
        Invariant.Check(result == 0);
        return EndPointIn(address);
    }

    /// <summary>Who is at the other end of a connected socket; no address if the connection has ended.</summary>
    public static IPEndPoint PeerOf(int socket)
    {
        byte* address = stackalloc byte[AddressBytesMax];
        uint lengthBytes = AddressBytesMax;
        return Libc.GetPeerName(socket, address, &lengthBytes) == 0 ? EndPointIn(address) : new IPEndPoint(IPAddress.Any, 0);
    }

    private static IPEndPoint EndPointIn(byte* address)
    {
        var bytes = new ReadOnlySpan<byte>(address, AddressBytesMax);
        int port = BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]);
        return *(ushort*)address == Libc.AddressFamilyInet6
            ? new IPEndPoint(new IPAddress(bytes.Slice(8, 16)), port)
            : new IPEndPoint(new IPAddress(bytes.Slice(4, 4)), port);
    }

    /// <summary>The address in a sockaddr of either family.</summary>
    public static InternetAddress AddressIn(byte* address)
    {
        var bytes = new ReadOnlySpan<byte>(address, AddressBytesMax);
        return *(ushort*)address == Libc.AddressFamilyInet6 ? InternetAddress.ReadV6(bytes[8..]) : InternetAddress.ReadV4(bytes[4..]);
    }

    private static int Create(IPEndPoint endPoint, bool shared)
    {
        bool isV6 = endPoint.AddressFamily == AddressFamily.InterNetworkV6;
        int socket = Libc.Socket(
            isV6 ? Libc.AddressFamilyInet6 : Libc.AddressFamilyInet,
            Libc.SocketStream | Libc.SocketNonBlocking | Libc.SocketCloseOnExec,
            0);
        if (socket < 0)
        {
            throw new EndPointUnavailableException(endPoint, Errno.Last);
        }

        int on = 1;
        bool set = Libc.SetSocketOption(socket, Libc.SolSocket, Libc.SoReuseAddress, &on, sizeof(int)) == 0
            && Libc.SetSocketOption(socket, Libc.IpProtocolTcp, Libc.TcpNoDelay, &on, sizeof(int)) == 0
            && (!shared || Libc.SetSocketOption(socket, Libc.SolSocket, Libc.SoReusePort, &on, sizeof(int)) == 0);
        byte* address = stackalloc byte[AddressBytesMax];
        var bytes = new Span<byte>(address, AddressBytesMax);
        bytes.Clear();
        *(ushort*)address = (ushort)(isV6 ? Libc.AddressFamilyInet6 : Libc.AddressFamilyInet);
        BinaryPrimitives.WriteUInt16BigEndian(bytes[2..], (ushort)endPoint.Port);
        bool written = endPoint.Address.TryWriteBytes(bytes[(isV6 ? 8 : 4)..], out _);
        Invariant.Check(written);
        if (isV6)
        {
            *(uint*)(address + 24) = (uint)endPoint.Address.ScopeId;
        }

        if (!set || Libc.Bind(socket, address, isV6 ? 28u : 16u) != 0)
        {
            throw Failed(socket, endPoint);
        }

        return socket;
    }

    private static EndPointUnavailableException Failed(int socket, IPEndPoint endPoint)
    {
        int errno = Errno.Last;
        _ = Libc.Close(socket);
        return new EndPointUnavailableException(endPoint, errno);
    }
}
