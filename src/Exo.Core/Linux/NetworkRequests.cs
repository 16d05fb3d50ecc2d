// SPDX-License-Identifier: MIT
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.Linux;

/// <summary>Requests about one interface by its name: ioctl on a socket, in the network namespace in which the socket was made.</summary>
internal static unsafe class NetworkRequests
{
    /// <summary>A socket to ask through, in the calling thread's network namespace.</summary>
    /// <exception cref="IOException">The system has no descriptor left.</exception>
    public static SafeFileHandle OpenSocket()
    {
        int socket = Libc.Socket(Libc.AddressFamilyInet, PacketAbi.SOCK_DGRAM | Libc.SocketCloseOnExec, 0);
        return socket >= 0 ? new SafeFileHandle(socket, ownsHandle: true) : throw new IOException($"Cannot make a socket: {Errno.Describe(Errno.Last)}.");
    }

    /// <summary>A request with the name filled in.</summary>
    /// <exception cref="ArgumentException">No interface can have that name: 1 to 15 bytes, no slash, no white space.</exception>
    public static InterfaceRequest Named(string name)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        if (Encoding.UTF8.GetByteCount(name) >= PacketAbi.IFNAMSIZ || name.AsSpan().ContainsAny("/ \t\n\0") || name is "." or "..")
        {
            throw new ArgumentException($"'{name}' cannot be the name of an interface.", nameof(name));
        }

        InterfaceRequest request = default;
        Encoding.UTF8.GetBytes(name, new Span<byte>(request.Name, PacketAbi.IFNAMSIZ));
        return request;
    }

    /// <summary>Carries a request out.</summary>
    /// <returns>0 or the error number.</returns>
    public static int Do(SafeFileHandle socket, uint command, ref InterfaceRequest request)
    {
        fixed (InterfaceRequest* at = &request)
        {
            return Libc.IoControl((int)socket.DangerousGetHandle(), command, at) == 0 ? 0 : Errno.Last;
        }
    }
}
