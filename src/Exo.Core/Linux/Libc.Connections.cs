// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.Linux;

/// <summary>Connected, blocking stream sockets: what a thread that talks to one peer needs.</summary>
internal static unsafe partial class Libc
{
    public const int AddressFamilyUnix = 1;
    public const int SoKeepAlive = 9;
    public const int SoReceiveTimeout = 20;
    public const int SoSendTimeout = 21;
    public const int ShutdownBoth = 2;

    // More error numbers that only connections give.
    public const int ErrnoBrokenPipe = 32;        // EPIPE
    public const int ErrnoProtocol = 71;          // EPROTO
    public const int ErrnoOverflow = 75;          // EOVERFLOW
    public const int ErrnoConnectionReset = 104;  // ECONNRESET
    public const int ErrnoShutdown = 108;         // ESHUTDOWN
    public const int ErrnoTimedOut = 110;         // ETIMEDOUT
    public const int ErrnoConnectionRefused = 111; // ECONNREFUSED
    public const int ErrnoHostUnreachable = 113;  // EHOSTUNREACH
    public const int ErrnoInProgress = 115;       // EINPROGRESS

    /// <summary>Limits how long one receive and one send may wait; 0 = for ever. A connect waits as long as a send.</summary>
    public static void SetSocketTimeouts(int descriptor, int receiveMs, int sendMs)
    {
        SetTimeout(descriptor, SoReceiveTimeout, receiveMs);
        SetTimeout(descriptor, SoSendTimeout, sendMs);
    }

    [LibraryImport(Library, EntryPoint = "connect", SetLastError = true)]
    public static partial int Connect(int descriptor, byte* address, uint lengthBytes);

    [LibraryImport(Library, EntryPoint = "recvmsg", SetLastError = true)]
    public static partial nint ReceiveMessage(int descriptor, MessageHeader* message, int flags);

    private static void SetTimeout(int descriptor, int option, int timeoutMs)
    {
        // struct timeval of 64-bit Linux: seconds, microseconds. The call fails only for arguments that are not these.
        long* time = stackalloc long[2];
        time[0] = timeoutMs / 1000;
        time[1] = timeoutMs % 1000 * 1000L;
        _ = SetSocketOption(descriptor, SolSocket, option, (int*)time, 2 * sizeof(long));
    }
}
