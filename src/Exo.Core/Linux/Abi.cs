// SPDX-License-Identifier: MIT
namespace Exo.Core.Linux;

/// <summary>Constants of the kernel's interface. Those that differ between x64 and arm64 are in <see cref="ArchitectureAbi"/>.</summary>
internal static class Abi
{
    // open(2). arm64 swaps two pairs: what is O_DIRECTORY there is O_DIRECT here.
    public const int O_RDONLY = 0;
    public const int O_RDWR = 2;
    public const int O_CREAT = 0x40;
    public const int O_EXCL = 0x80;
    public const int O_CLOEXEC = 0x80000;
    public static readonly int O_DIRECT = ArchitectureAbi.Current.O_DIRECT;
    public static readonly int O_DIRECTORY = ArchitectureAbi.Current.O_DIRECTORY;

    // sched(7)
    public const int SCHED_OTHER = 0;
    public const int SCHED_IDLE = 5;

    // memfd_create(2), mmap(2), madvise(2)
    public const uint MFD_CLOEXEC = 1;
    public const int PROT_READ = 1;
    public const int PROT_WRITE = 2;
    public const int MAP_SHARED = 1;
    public const int MAP_PRIVATE = 2;
    public const int MAP_FIXED = 0x10;
    public const int MAP_ANONYMOUS = 0x20;
    public const int MAP_NORESERVE = 0x4000;
    public const int MAP_POPULATE = 0x8000;
    public const int MADV_DONTNEED = 4;
    public const int MADV_DONTFORK = 10;
    public const int MADV_COLLAPSE = 25;

    // statx(2)
    public const int AT_FDCWD = -100;
    public const int AT_EMPTY_PATH = 0x1000;
    public const uint STATX_BASIC_STATS = 0x7ff;
    public const uint STATX_DIOALIGN = 0x2000;
    public const int S_IFMT = 0xF000;
    public const int S_IFREG = 0x8000;
    public const int S_IFBLK = 0x6000;
    public const int S_IFDIR = 0x4000;
    public const int S_IFSOCK = 0xC000;

    // preadv2(2), pwritev2(2)
    public const int RWF_DSYNC = 2;

    // fallocate(2)
    public const int FALLOC_FL_KEEP_SIZE = 1;
    public const int FALLOC_FL_PUNCH_HOLE = 2;
    public const int FALLOC_FL_ZERO_RANGE = 0x10;

    // flock(2)
    public const int LOCK_SH = 1;
    public const int LOCK_EX = 2;
    public const int LOCK_NB = 4;
    public const int LOCK_UN = 8;

    // ioctl(2), linux/fs.h
    public const nuint BLKROGET = 0x125E;
    public const nuint BLKSSZGET = 0x1268;
    public const nuint BLKPBSZGET = 0x127B;
    public const nuint BLKDISCARD = 0x1277;
    public const nuint BLKGETSIZE64 = 0x80081272;

    // System calls that the C library has no function for; both architectures use the same numbers from 424 on.
    public const nint SYS_io_uring_setup = 425;
    public const nint SYS_io_uring_enter = 426;
    public const nint SYS_io_uring_register = 427;
}
