// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.Linux;

/// <summary>Mounts, and what the far end of a FUSE mount needs: the device's replies in pieces, a descriptor handed over by the mount helper, and leaving the terminal.</summary>
internal static unsafe partial class Libc
{
    [LibraryImport(Library, EntryPoint = "mount", SetLastError = true)]
    public static partial int Mount(byte* source, byte* target, byte* type, nuint flags, byte* data);

    [LibraryImport(Library, EntryPoint = "umount2", SetLastError = true)]
    public static partial int Unmount(byte* target, int flags);

    [LibraryImport(Library, EntryPoint = "syncfs", SetLastError = true)]
    public static partial int SyncFileSystem(int fd);

    [LibraryImport(Library, EntryPoint = "writev", SetLastError = true)]
    public static partial nint WriteVectorHere(int fd, IoVector* vectors, int count);

    [LibraryImport(Library, EntryPoint = "socketpair", SetLastError = true)]
    public static partial int SocketPair(int family, int type, int protocol, int* pair);

    [LibraryImport(Library, EntryPoint = "geteuid")]
    public static partial uint EffectiveUser();

    [LibraryImport(Library, EntryPoint = "getegid")]
    public static partial uint EffectiveGroup();

    [LibraryImport(Library, EntryPoint = "setsid", SetLastError = true)]
    public static partial int StartSession();

    [LibraryImport(Library, EntryPoint = "dup2", SetLastError = true)]
    public static partial int Duplicate(int fd, int asFd);

    /// <summary>Receives one descriptor (SCM_RIGHTS) from a UNIX socket. -1 when none came, with the reason in <see cref="Errno.Last"/> (0: the peer closed).</summary>
    public static int ReceiveDescriptor(int socket)
    {
        // struct cmsghdr of 64-bit Linux: length 8 bytes, level 4, type 4, then the descriptor (4, padded to 8).
        const int ControlBytes = 24;
        byte* control = stackalloc byte[ControlBytes];
        new Span<byte>(control, ControlBytes).Clear();
        byte payload = 0;
        IoVector vector = new() { Base = (nint)(&payload), LengthBytes = 1 };
        MessageHeader message = new() { Vectors = &vector, VectorCount = 1, Control = (nint)control, ControlLengthBytes = ControlBytes };
        nint received;
        do
        {
            received = ReceiveMessage(socket, &message, MountAbi.MSG_CMSG_CLOEXEC);
        }
        while (received < 0 && Errno.Last == Errno.EINTR);
        bool isDescriptor = received > 0 && message.ControlLengthBytes >= 20 && *(nuint*)control >= 20
            && *(int*)(control + 8) == SolSocket && *(int*)(control + 12) == MountAbi.SCM_RIGHTS;
        return isDescriptor ? *(int*)(control + 16) : -1;
    }
}

/// <summary>Constants of the calls above, the same on x64 and arm64.</summary>
internal static class MountAbi
{
    public const nuint MS_RDONLY = 1;
    public const nuint MS_NOSUID = 2;
    public const nuint MS_NODEV = 4;
    public const nuint MS_NOEXEC = 8;
    public const nuint MS_NOATIME = 1024;
    public const int MNT_FORCE = 1;
    public const int MNT_DETACH = 2;
    public const int AF_UNIX = 1;
    public const int SOCK_STREAM = 1;
    public const int SCM_RIGHTS = 1;
    public const int MSG_CMSG_CLOEXEC = 0x40000000;
    public const int O_RDWR = 2;
    public const int O_CLOEXEC = 0x80000;

    /// <summary>_IOR(229, 0, uint32_t): binds a second descriptor of /dev/fuse to the connection of the first.</summary>
    public const nuint FUSE_DEV_IOC_CLONE = 0x8004E500;
}
