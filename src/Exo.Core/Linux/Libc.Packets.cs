// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.Linux;

/// <summary>Packets: many messages with one call, pieces without an offset, waiting on a few descriptors, network namespaces.</summary>
internal static unsafe partial class Libc
{
    public const int ErrnoNoDeviceOrAddress = 6;  // ENXIO
    public const int ErrnoBadDescriptor = 77;     // EBADFD
    public const int ErrnoMessageSize = 90;       // EMSGSIZE
    public const int ErrnoNetworkDown = 100;      // ENETDOWN

    [LibraryImport(Library, EntryPoint = "sendmmsg", SetLastError = true)]
    public static partial int SendMessages(int descriptor, MultiMessage* messages, uint count, int flags);

    [LibraryImport(Library, EntryPoint = "recvmmsg", SetLastError = true)]
    public static partial int ReceiveMessages(int descriptor, MultiMessage* messages, uint count, int flags, TimeSpecification* timeout);

    [LibraryImport(Library, EntryPoint = "sendto", SetLastError = true)]
    public static partial nint SendTo(int descriptor, void* buffer, nuint lengthBytes, int flags, void* address, uint addressBytes);

    [LibraryImport(Library, EntryPoint = "readv", SetLastError = true)]
    public static partial nint ReadPieces(int fd, IoVector* vectors, int count);

    [LibraryImport(Library, EntryPoint = "writev", SetLastError = true)]
    public static partial nint WritePieces(int fd, IoVector* vectors, int count);

    [LibraryImport(Library, EntryPoint = "getsockopt", SetLastError = true)]
    public static partial int GetSocketOption(int descriptor, int level, int option, void* value, uint* lengthBytes);

    [LibraryImport(Library, EntryPoint = "ppoll", SetLastError = true)]
    public static partial int PollPrecisely(PollEntry* entries, nuint count, TimeSpecification* timeout, void* signals);

    [LibraryImport(Library, EntryPoint = "setns", SetLastError = true)]
    public static partial int SetNamespace(int fd, int kind);
}

/// <summary>struct mmsghdr, 64 bytes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct MultiMessage
{
    public Libc.MessageHeader Header;
    public uint LengthBytes;
}
