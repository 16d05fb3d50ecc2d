// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.Linux;

/// <summary>What processes share memory by: seals, futexes, descriptors sent over a UNIX socket, and who is at its other end. Numbers are the same on x64 and arm64 unless they come from <see cref="ArchitectureAbi"/>.</summary>
internal static unsafe partial class Libc
{
    /// <summary>Descriptors that one message carries at most here.</summary>
    private const int DescriptorsMax = 8;

    // struct cmsghdr of 64-bit Linux: length 8 bytes, level 4, type 4, then the descriptors.
    private const int ControlHeaderBytes = 16;

    /// <summary>Forbids a memory file to shrink, to grow and to be sealed further; with <paramref name="readOnly"/> also every write but through mappings that exist. Returns 0 or -1.</summary>
    public static int Seal(int fd, bool readOnly)
    {
        int seals = SharingAbi.F_SEAL_SEAL | SharingAbi.F_SEAL_SHRINK | SharingAbi.F_SEAL_GROW | (readOnly ? SharingAbi.F_SEAL_FUTURE_WRITE : 0);
        return FileControl(fd, SharingAbi.F_ADD_SEALS, seals);
    }

    /// <summary>Sleeps while the 4 bytes at an address of shared memory hold a value, for a time at most. It may also return for no reason.</summary>
    public static void FutexWait(nint address, uint value, int timeoutMs)
    {
        TimeSpecification time = new() { Seconds = timeoutMs / 1000, Nanoseconds = timeoutMs % 1000 * 1_000_000L };
        _ = SystemCall(ArchitectureAbi.Current.SYS_futex, address, SharingAbi.FUTEX_WAIT, (nint)value, (nint)(&time), 0, 0);
    }

    /// <summary>Wakes whoever sleeps on an address of shared memory, in whatever process.</summary>
    public static void FutexWake(nint address) => _ = SystemCall(ArchitectureAbi.Current.SYS_futex, address, SharingAbi.FUTEX_WAKE, int.MaxValue, 0, 0, 0);

    /// <summary>As <see cref="FutexWait"/>, on memory of this process that no other one waits on.</summary>
    public static void FutexWaitOwn(nint address, uint value, TimeSpan atMost)
    {
        TimeSpecification time = new() { Seconds = atMost.Ticks / TimeSpan.TicksPerSecond, Nanoseconds = atMost.Ticks % TimeSpan.TicksPerSecond * 100 };
        _ = SystemCall(ArchitectureAbi.Current.SYS_futex, address, SharingAbi.FUTEX_WAIT | SharingAbi.FUTEX_PRIVATE_FLAG, (nint)value, (nint)(&time), 0, 0);
    }

    /// <summary>Wakes whoever sleeps by <see cref="FutexWaitOwn"/>.</summary>
    public static void FutexWakeOwn(nint address) =>
        _ = SystemCall(ArchitectureAbi.Current.SYS_futex, address, SharingAbi.FUTEX_WAKE | SharingAbi.FUTEX_PRIVATE_FLAG, int.MaxValue, 0, 0, 0);

    /// <summary>Sends bytes and descriptors (SCM_RIGHTS) in one piece. Returns what was sent, or -1.</summary>
    public static nint SendDescriptors(int socket, ReadOnlySpan<byte> bytes, ReadOnlySpan<int> descriptors)
    {
        Invariant.Check(descriptors.Length is > 0 and <= DescriptorsMax);
        int length = ControlHeaderBytes + descriptors.Length * sizeof(int);
        byte* control = stackalloc byte[ControlHeaderBytes + DescriptorsMax * sizeof(int)];
        *(nuint*)control = (nuint)length;
        *(int*)(control + 8) = SolSocket;
        *(int*)(control + 12) = MountAbi.SCM_RIGHTS;
        descriptors.CopyTo(new Span<int>(control + ControlHeaderBytes, DescriptorsMax));
        fixed (byte* first = bytes)
        {
            IoVector vector = new() { Base = (nint)first, LengthBytes = (nuint)bytes.Length };
            MessageHeader message = new() { Vectors = &vector, VectorCount = 1, Control = (nint)control, ControlLengthBytes = (nuint)((length + 7) & ~7) };
            return SendMessage(socket, &message, MessageNoSignal);
        }
    }

    /// <summary>Receives bytes and descriptors. Whoever gets them closes them. Returns the bytes received, 0 when the peer has closed, or -1.</summary>
    public static nint ReceiveDescriptors(int socket, Span<byte> bytes, Span<int> descriptors, out int count)
    {
        byte* control = stackalloc byte[ControlHeaderBytes + DescriptorsMax * sizeof(int)];
        new Span<byte>(control, ControlHeaderBytes).Clear();
        nint received;
        nuint controlBytes;
        fixed (byte* first = bytes)
        {
            IoVector vector = new() { Base = (nint)first, LengthBytes = (nuint)bytes.Length };
            MessageHeader message = new()
            {
                Vectors = &vector,
                VectorCount = 1,
                Control = (nint)control,
                ControlLengthBytes = ControlHeaderBytes + DescriptorsMax * sizeof(int),
            };
            do
            {
                received = ReceiveMessage(socket, &message, MountAbi.MSG_CMSG_CLOEXEC);
            }
            while (received < 0 && Errno.Last == Errno.EINTR);
            controlBytes = message.ControlLengthBytes;
        }

        count = 0;
        if (received > 0 && controlBytes >= ControlHeaderBytes && *(int*)(control + 8) == SolSocket && *(int*)(control + 12) == MountAbi.SCM_RIGHTS)
        {
            int sent = (int)((*(nuint*)control - ControlHeaderBytes) / sizeof(int));
            foreach (int descriptor in new ReadOnlySpan<int>(control + ControlHeaderBytes, sent))
            {
                if (count < descriptors.Length)
                {
                    descriptors[count++] = descriptor;
                }
                else
                {
                    _ = Close(descriptor);
                }
            }
        }

        return received;
    }

    /// <summary>Process, user and group at the other end of a UNIX socket, as the kernel knows them. False when it does not say.</summary>
    public static bool TryGetPeer(int socket, out int process, out uint user, out uint group)
    {
        // struct ucred
        uint* credentials = stackalloc uint[3];
        uint length = 3 * sizeof(uint);
        bool known = GetSocketOption(socket, SolSocket, SharingAbi.SO_PEERCRED, credentials, &length) == 0;
        (process, user, group) = known ? ((int)credentials[0], credentials[1], credentials[2]) : default;
        return known;
    }

    [LibraryImport(Library, EntryPoint = "fcntl", SetLastError = true)]
    public static partial int FileControl(int fd, int command, nint argument);
}

/// <summary>Constants of the calls above, the same on x64 and arm64.</summary>
internal static class SharingAbi
{
    public const uint MFD_ALLOW_SEALING = 2;
    public const int F_ADD_SEALS = 1033;
    public const int F_SEAL_SEAL = 1;
    public const int F_SEAL_SHRINK = 2;
    public const int F_SEAL_GROW = 4;
    public const int F_SEAL_FUTURE_WRITE = 16;
    public const int FUTEX_WAIT = 0;
    public const int FUTEX_WAKE = 1;
    public const int FUTEX_PRIVATE_FLAG = 128;
    public const int SO_PEERCRED = 17;
    public const int MREMAP_MAYMOVE = 1;
    public const int MREMAP_FIXED = 2;
}
