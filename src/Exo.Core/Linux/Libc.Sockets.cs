// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Exo.Core.Linux;

/// <summary>
/// Sockets, epoll and eventfd. Every socket made through this file is non-blocking; only <see cref="EpollWait"/> may block,
/// and it keeps the GC transition like all others. Numbers are those of the generic Linux ABI, equal on x64 and arm64.
/// </summary>
internal static unsafe partial class Libc
{
    public const int AddressFamilyInet = 2;
    public const int AddressFamilyInet6 = 10;
    public const int SocketStream = 1;
    public const int SocketNonBlocking = 0x800;
    public const int SocketCloseOnExec = 0x80000;
    public const int SolSocket = 1;
    public const int SoLinger = 13;
    public const int SoReuseAddress = 2;
    public const int SoReusePort = 15;
    public const int IpProtocolTcp = 6;
    public const int TcpNoDelay = 1;
    public const int ShutdownWrite = 1;
    public const int MessageDontWait = 0x40;
    public const int MessageNoSignal = 0x4000;
    public const int EventFdNonBlocking = 0x800;
    public const int EventFdCloseOnExec = 0x80000;

    // Error numbers that only sockets give.
    public const int ErrnoFileTableFull = 23;    // ENFILE
    public const int ErrnoTooManyFiles = 24;     // EMFILE
    public const int ErrnoAddressInUse = 98;     // EADDRINUSE
    public const int ErrnoNoBuffers = 105;       // ENOBUFS

    public const uint EpollIn = 0x1;
    public const uint EpollOut = 0x4;
    public const uint EpollError = 0x8;
    public const uint EpollHangUp = 0x10;
    public const uint EpollReadHangUp = 0x2000;
    public const uint EpollEdgeTriggered = 1u << 31;
    public const int EpollCreateCloseOnExec = 0x80000;
    public const int EpollControlAdd = 1;
    public const int EpollControlDelete = 2;


    /// <summary>struct msghdr, 64-bit layout.</summary>
    public struct MessageHeader
    {
        /// <summary>Destination address; null on a connected socket.</summary>
        public nint Name;

        /// <summary>Length of <see cref="Name"/>, padded to 8 bytes by the ABI.</summary>
        public nuint NameLengthBytes;

        /// <summary>The pieces.</summary>
        public IoVector* Vectors;

        /// <summary>Count of <see cref="Vectors"/>.</summary>
        public nuint VectorCount;

        /// <summary>Ancillary data; null.</summary>
        public nint Control;

        /// <summary>Length of <see cref="Control"/>.</summary>
        public nuint ControlLengthBytes;

        /// <summary>Flags on receive.</summary>
        public int Flags;
    }

    // struct epoll_event is packed on x64 only (EPOLL_PACKED):
    //   x64    | events 0..3 | data 4..11 |            12 bytes
    //   others | events 0..3 | pad 4..7 | data 8..15 | 16 bytes

    /// <summary>Bytes of one struct epoll_event on this machine.</summary>
    public static readonly int EpollEventBytes = ArchitectureAbi.Current.EpollEventBytes;

    /// <summary>Mask and user data of event <paramref name="index"/> in a buffer filled by <see cref="EpollWait"/>.</summary>
    public static (uint Events, ulong Data) ReadEpollEvent(byte* buffer, int index)
    {
        byte* at = buffer + ((nint)index * EpollEventBytes);
        return (Unsafe.ReadUnaligned<uint>(at), Unsafe.ReadUnaligned<ulong>(at + EpollEventBytes - sizeof(ulong)));
    }

    /// <summary>Adds a descriptor to an epoll set with a mask and user data. Returns 0 or -1.</summary>
    public static int EpollAdd(int epoll, int descriptor, uint events, ulong data)
    {
        byte* entry = stackalloc byte[16];
        Unsafe.WriteUnaligned(entry, events);
        Unsafe.WriteUnaligned(entry + EpollEventBytes - sizeof(ulong), data);
        return EpollControl(epoll, EpollControlAdd, descriptor, entry);
    }

    [LibraryImport(Library, EntryPoint = "epoll_create1", SetLastError = true)]
    public static partial int EpollCreate(int flags);

    [LibraryImport(Library, EntryPoint = "epoll_ctl", SetLastError = true)]
    public static partial int EpollControl(int epoll, int operation, int descriptor, byte* entry);

    [LibraryImport(Library, EntryPoint = "epoll_wait", SetLastError = true)]
    public static partial int EpollWait(int epoll, byte* events, int capacity, int timeoutMs);

    [LibraryImport(Library, EntryPoint = "socket", SetLastError = true)]
    public static partial int Socket(int family, int type, int protocol);

    [LibraryImport(Library, EntryPoint = "setsockopt", SetLastError = true)]
    public static partial int SetSocketOption(int descriptor, int level, int option, int* value, uint lengthBytes);

    /// <summary>struct linger (socket(7)): with no seconds, close(2) resets the connection.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Linger
    {
        public int On;
        public int Seconds;
    }

    [LibraryImport(Library, EntryPoint = "bind", SetLastError = true)]
    public static partial int Bind(int descriptor, byte* address, uint lengthBytes);

    [LibraryImport(Library, EntryPoint = "listen", SetLastError = true)]
    public static partial int Listen(int descriptor, int backlog);

    [LibraryImport(Library, EntryPoint = "getsockname", SetLastError = true)]
    public static partial int GetSocketName(int descriptor, byte* address, uint* lengthBytes);

    [LibraryImport(Library, EntryPoint = "getpeername", SetLastError = true)]
    public static partial int GetPeerName(int descriptor, byte* address, uint* lengthBytes);

    [LibraryImport(Library, EntryPoint = "accept4", SetLastError = true)]
    public static partial int Accept(int descriptor, byte* address, uint* lengthBytes, int flags);

    [LibraryImport(Library, EntryPoint = "recv", SetLastError = true)]
    public static partial nint Receive(int descriptor, byte* buffer, nuint lengthBytes, int flags);

    [LibraryImport(Library, EntryPoint = "sendmsg", SetLastError = true)]
    public static partial nint SendMessage(int descriptor, MessageHeader* message, int flags);

    [LibraryImport(Library, EntryPoint = "shutdown", SetLastError = true)]
    public static partial int Shutdown(int descriptor, int how);
}
