// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Exo.Core.Linux;
using Exo.Core.Tests.Blocks;
using Exo.Tests;

namespace Exo.Core.Tests.Linux;

/// <summary>Our picture of the kernel's structures and constants against the system's own headers, or against what they said once.</summary>
public sealed unsafe class AbiTests
{
    [Fact]
    public void Structures_and_constants_are_those_of_the_headers()
    {
        List<(string Expression, long Value)> ours = [.. Picture(), .. NetworkPicture.Lines()];
        var program = new StringBuilder("""
            #define _GNU_SOURCE
            #include <stdio.h>
            #include <stddef.h>
            #include <fcntl.h>
            #include <sys/stat.h>
            #include <sys/mman.h>
            #include <sys/uio.h>
            #include <sys/file.h>
            #include <sys/ioctl.h>
            #include <sys/syscall.h>
            #include <sys/socket.h>
            #include <sys/epoll.h>
            #include <netinet/in.h>
            #include <linux/aio_abi.h>
            #include <linux/fs.h>
            #include <linux/falloc.h>
            #include <linux/io_uring.h>
            #include <linux/userfaultfd.h>
            #include <linux/futex.h>
            #include <linux/openat2.h>
            #include <sys/inotify.h>
            #include <dirent.h>
            #include <signal.h>
            #include <poll.h>
            #include <net/if.h>
            #include <sched.h>
            #include <linux/bpf.h>
            #include <linux/ethtool.h>
            #include <linux/if_arp.h>
            #include <linux/if_ether.h>
            #include <linux/if_link.h>
            #include <linux/if_packet.h>
            #include <linux/if_tun.h>
            #include <linux/if_xdp.h>
            #include <linux/sockios.h>
            #include <linux/virtio_net.h>
            #ifndef XDP_USE_SG
            #define XDP_USE_SG (1 << 4)
            #define XDP_PKT_CONTD (1 << 0)
            #endif
            #ifndef BPF_F_XDP_HAS_FRAGS
            #define BPF_F_XDP_HAS_FRAGS (1U << 5)
            #endif
            #ifndef STATX_DIOALIGN
            #define STATX_DIOALIGN 0x2000
            #endif
            #ifndef IORING_SETUP_NO_SQARRAY
            #define IORING_SETUP_NO_SQARRAY (1U << 16)
            #endif
            #ifndef UFFD_FEATURE_POISON
            #define UFFD_FEATURE_POISON (1 << 14)
            #define UFFDIO_POISON _IOWR(UFFDIO, 0x08, struct uffdio_continue)
            #endif
            #ifndef UFFDIO_CONTINUE_MODE_WP
            #define UFFDIO_CONTINUE_MODE_WP ((__u64)1 << 1)
            #endif
            #ifndef BLOCK_URING_CMD_DISCARD
            #define BLOCK_URING_CMD_DISCARD _IO(0x12, 0)
            #endif
            int main(void) {

            """);
        foreach ((string expression, _) in ours)
        {
            program.Append("printf(\"%lld\\n\", (long long)(").Append(expression).Append("));\n");
        }

        program.Append("return 0; }\n");
        string folder = Directory.CreateTempSubdirectory("exo-test-").FullName;
        try
        {
            string source = Path.Combine(folder, "abi.c");
            string binary = Path.Combine(folder, "abi");
            File.WriteAllText(source, program.ToString());
            TestDisk.Run(Requires.Program("cc"), "-o", binary, source);
            string[] theirs = TestDisk.Run(binary).Split('\n', StringSplitOptions.RemoveEmptyEntries);
            Assert.Equal(
                ours.Select((line, i) => $"{line.Expression} = {theirs[i]}"),
                ours.Select(line => $"{line.Expression} = {line.Value}"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void Structures_and_constants_on_x64_are_those_written_down()
    {
        Requires.That(RuntimeInformation.ProcessArchitecture == Architecture.X64, "the golden values are those of x64");
        Snapshot.Verify(string.Join('\n', Picture().Concat(NetworkPicture.Lines()).Select(line => $"{line.Expression} = {line.Value}")));
    }

    [Fact]
    public void What_differs_between_the_architectures_is_this_and_nothing_else()
    {
        var differs = typeof(ArchitectureAbi).GetProperties(System.Reflection.BindingFlags.Instance | System.Reflection.BindingFlags.Public)
            .OrderBy(property => property.Name, StringComparer.Ordinal)
            .Select(property => $"{property.Name}: x64 {property.GetValue(ArchitectureAbi.X64)}, arm64 {property.GetValue(ArchitectureAbi.Arm64)}");
        Assert.Equal(
            [
                "EpollEventBytes: x64 12, arm64 16",
                "O_DIRECT: x64 16384, arm64 65536",
                "O_DIRECTORY: x64 65536, arm64 16384",
                "O_NOFOLLOW: x64 131072, arm64 32768",
                "SYS_futex: x64 202, arm64 98",
                "SYS_getdents64: x64 217, arm64 61",
                "SYS_io_destroy: x64 207, arm64 1",
                "SYS_io_getevents: x64 208, arm64 4",
                "SYS_io_setup: x64 206, arm64 0",
                "SYS_io_submit: x64 209, arm64 2",
                "SYS_userfaultfd: x64 323, arm64 282",
            ],
            differs);
        Assert.Same(RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? ArchitectureAbi.Arm64 : ArchitectureAbi.X64, ArchitectureAbi.Current);
        Assert.Equal((ArchitectureAbi.Current.O_DIRECT, ArchitectureAbi.Current.O_DIRECTORY), (Abi.O_DIRECT, Abi.O_DIRECTORY));
    }

    /// <summary>A thread inside such a call cannot be stopped, so one that blocks stops the garbage collector, and with it everybody.</summary>
    [Fact]
    public void No_call_into_the_kernel_hides_from_the_garbage_collector()
    {
        const System.Reflection.BindingFlags all = System.Reflection.BindingFlags.Static | System.Reflection.BindingFlags.Instance
            | System.Reflection.BindingFlags.Public | System.Reflection.BindingFlags.NonPublic | System.Reflection.BindingFlags.DeclaredOnly;
        System.Reflection.MethodInfo[] calls = [.. typeof(Libc).Assembly.GetTypes().SelectMany(type => type.GetMethods(all))
            .Where(method => method.Attributes.HasFlag(System.Reflection.MethodAttributes.PinvokeImpl))];
        Assert.True(calls.Length > 30, $"only {calls.Length} calls were found");
        Assert.All(calls, call => Assert.Empty(call.GetCustomAttributes(typeof(SuppressGCTransitionAttribute), inherit: false)));
        Assert.All(calls, call => Assert.Equal("libc", ((DllImportAttribute)call.GetCustomAttributes(typeof(DllImportAttribute), inherit: false).Single()).Value));
    }

    private static List<(string Expression, long Value)> Picture()
    {
        StatxBuffer statx;
        UringParameters p;
        UringSubmission sqe;
        UringCompletion cqe;
        IoVector vector;
        FileStatusBuffer status;
        OpenHow how;
        NotifyEvent notify;
        Libc.MessageHeader message;
        TimeSpecification time;
        AioControlBlock block;
        AioEvent done;
        PollEntry poll;
        UserFaultRequest request;
        UserFaultMessage fault;
        Unsafe.SkipInit(out statx);
        Unsafe.SkipInit(out p);
        Unsafe.SkipInit(out sqe);
        Unsafe.SkipInit(out cqe);
        Unsafe.SkipInit(out vector);
        Unsafe.SkipInit(out status);
        Unsafe.SkipInit(out message);
        Unsafe.SkipInit(out time);
        Unsafe.SkipInit(out block);
        Unsafe.SkipInit(out done);
        Unsafe.SkipInit(out poll);
        Unsafe.SkipInit(out request);
        Unsafe.SkipInit(out fault);
        return
        [
            ("sizeof(struct iovec)", sizeof(IoVector)),
            ("offsetof(struct iovec, iov_base)", Offset(&vector, &vector.Base)),
            ("offsetof(struct iovec, iov_len)", Offset(&vector, &vector.LengthBytes)),
            ("sizeof(struct statx)", sizeof(StatxBuffer)),
            ("offsetof(struct statx, stx_mask)", Offset(&statx, &statx.Mask)),
            ("offsetof(struct statx, stx_blksize)", Offset(&statx, &statx.BlockBytes)),
            ("offsetof(struct statx, stx_mode)", Offset(&statx, &statx.Mode)),
            ("offsetof(struct statx, stx_size)", Offset(&statx, &statx.LengthBytes)),
            ("offsetof(struct statx, stx_blocks)", Offset(&statx, &statx.Blocks512)),
            ("offsetof(struct statx, stx_rdev_major)", Offset(&statx, &statx.DeviceMajor)),
            ("offsetof(struct statx, stx_rdev_minor)", Offset(&statx, &statx.DeviceMinor)),
            ("offsetof(struct statx, stx_dev_major)", Offset(&statx, &statx.FileSystemMajor)),
            ("offsetof(struct statx, stx_dev_minor)", Offset(&statx, &statx.FileSystemMinor)),

            // stx_dio_mem_align, stx_dio_offset_align stand directly behind stx_mnt_id; older headers lack their names.
            ("offsetof(struct statx, stx_mnt_id) + 8", Offset(&statx, &statx.DirectMemoryAlignBytes)),
            ("offsetof(struct statx, stx_mnt_id) + 12", Offset(&statx, &statx.DirectOffsetAlignBytes)),
            ("sizeof(struct io_uring_params)", sizeof(UringParameters)),
            ("offsetof(struct io_uring_params, sq_entries)", Offset(&p, &p.SqEntries)),
            ("offsetof(struct io_uring_params, cq_entries)", Offset(&p, &p.CqEntries)),
            ("offsetof(struct io_uring_params, flags)", Offset(&p, &p.Flags)),
            ("offsetof(struct io_uring_params, features)", Offset(&p, &p.Features)),
            ("offsetof(struct io_uring_params, sq_off.head)", Offset(&p, &p.SqHead)),
            ("offsetof(struct io_uring_params, sq_off.tail)", Offset(&p, &p.SqTail)),
            ("offsetof(struct io_uring_params, sq_off.ring_mask)", Offset(&p, &p.SqRingMask)),
            ("offsetof(struct io_uring_params, sq_off.array)", Offset(&p, &p.SqArray)),
            ("offsetof(struct io_uring_params, cq_off.head)", Offset(&p, &p.CqHead)),
            ("offsetof(struct io_uring_params, cq_off.tail)", Offset(&p, &p.CqTail)),
            ("offsetof(struct io_uring_params, cq_off.ring_mask)", Offset(&p, &p.CqRingMask)),
            ("offsetof(struct io_uring_params, cq_off.overflow)", Offset(&p, &p.CqOverflow)),
            ("offsetof(struct io_uring_params, cq_off.cqes)", Offset(&p, &p.CqCqes)),
            ("sizeof(struct io_uring_sqe)", sizeof(UringSubmission)),
            ("offsetof(struct io_uring_sqe, opcode)", Offset(&sqe, &sqe.Opcode)),
            ("offsetof(struct io_uring_sqe, flags)", Offset(&sqe, &sqe.Flags)),
            ("offsetof(struct io_uring_sqe, fd)", Offset(&sqe, &sqe.Fd)),
            ("offsetof(struct io_uring_sqe, off)", Offset(&sqe, &sqe.Offset)),
            ("offsetof(struct io_uring_sqe, addr)", Offset(&sqe, &sqe.Address)),
            ("offsetof(struct io_uring_sqe, len)", Offset(&sqe, &sqe.Length)),
            ("offsetof(struct io_uring_sqe, rw_flags)", Offset(&sqe, &sqe.OperationFlags)),
            ("offsetof(struct io_uring_sqe, fsync_flags)", Offset(&sqe, &sqe.OperationFlags)),
            ("offsetof(struct io_uring_sqe, user_data)", Offset(&sqe, &sqe.UserData)),
            ("offsetof(struct io_uring_sqe, buf_index)", Offset(&sqe, &sqe.BufferIndex)),
            ("offsetof(struct io_uring_sqe, off) + 0", Offset(&sqe, &sqe.Command)),
            ("offsetof(struct io_uring_sqe, buf_index) + 8", Offset(&sqe, &sqe.Address3)),
            ("sizeof(struct io_uring_cqe)", sizeof(UringCompletion)),
            ("offsetof(struct io_uring_cqe, user_data)", Offset(&cqe, &cqe.UserData)),
            ("offsetof(struct io_uring_cqe, res)", Offset(&cqe, &cqe.Result)),
            ("offsetof(struct io_uring_cqe, flags)", Offset(&cqe, &cqe.Flags)),
            ("O_RDWR", Abi.O_RDWR), ("O_CREAT", Abi.O_CREAT), ("O_EXCL", Abi.O_EXCL), ("O_CLOEXEC", Abi.O_CLOEXEC),
            ("O_DIRECT", Abi.O_DIRECT), ("O_DIRECTORY", Abi.O_DIRECTORY),
            ("MFD_CLOEXEC", Abi.MFD_CLOEXEC), ("PROT_READ", Abi.PROT_READ), ("PROT_WRITE", Abi.PROT_WRITE),
            ("MAP_SHARED", Abi.MAP_SHARED), ("MAP_PRIVATE", Abi.MAP_PRIVATE), ("MAP_ANONYMOUS", Abi.MAP_ANONYMOUS),
            ("MAP_NORESERVE", Abi.MAP_NORESERVE), ("MAP_POPULATE", Abi.MAP_POPULATE),
            ("MADV_DONTNEED", Abi.MADV_DONTNEED), ("MADV_DONTFORK", Abi.MADV_DONTFORK),
            ("AT_FDCWD", Abi.AT_FDCWD), ("AT_EMPTY_PATH", Abi.AT_EMPTY_PATH), ("STATX_BASIC_STATS", Abi.STATX_BASIC_STATS),
            ("STATX_DIOALIGN", Abi.STATX_DIOALIGN),
            ("S_IFMT", Abi.S_IFMT), ("S_IFREG", Abi.S_IFREG), ("S_IFBLK", Abi.S_IFBLK), ("S_IFDIR", Abi.S_IFDIR),
            ("RWF_DSYNC", Abi.RWF_DSYNC),
            ("FALLOC_FL_KEEP_SIZE", Abi.FALLOC_FL_KEEP_SIZE), ("FALLOC_FL_PUNCH_HOLE", Abi.FALLOC_FL_PUNCH_HOLE),
            ("FALLOC_FL_ZERO_RANGE", Abi.FALLOC_FL_ZERO_RANGE),
            ("LOCK_SH", Abi.LOCK_SH), ("LOCK_EX", Abi.LOCK_EX), ("LOCK_NB", Abi.LOCK_NB), ("LOCK_UN", Abi.LOCK_UN),
            ("BLKROGET", (long)Abi.BLKROGET), ("BLKSSZGET", (long)Abi.BLKSSZGET), ("BLKPBSZGET", (long)Abi.BLKPBSZGET),
            ("BLKDISCARD", (long)Abi.BLKDISCARD), ("BLKGETSIZE64", (long)Abi.BLKGETSIZE64),
            ("SYS_io_uring_setup", Abi.SYS_io_uring_setup), ("SYS_io_uring_enter", Abi.SYS_io_uring_enter),
            ("SYS_io_uring_register", Abi.SYS_io_uring_register),
            ("IORING_SETUP_SUBMIT_ALL", UringAbi.IORING_SETUP_SUBMIT_ALL), ("IORING_SETUP_COOP_TASKRUN", UringAbi.IORING_SETUP_COOP_TASKRUN),
            ("IORING_SETUP_SINGLE_ISSUER", UringAbi.IORING_SETUP_SINGLE_ISSUER),
            ("IORING_SETUP_DEFER_TASKRUN", UringAbi.IORING_SETUP_DEFER_TASKRUN),
            ("IORING_SETUP_NO_SQARRAY", UringAbi.IORING_SETUP_NO_SQARRAY),
            ("IORING_FEAT_SINGLE_MMAP", UringAbi.IORING_FEAT_SINGLE_MMAP), ("IORING_FEAT_NODROP", UringAbi.IORING_FEAT_NODROP),
            ("IORING_FEAT_SUBMIT_STABLE", UringAbi.IORING_FEAT_SUBMIT_STABLE),
            ("IORING_ENTER_GETEVENTS", UringAbi.IORING_ENTER_GETEVENTS),
            ("IORING_REGISTER_BUFFERS", UringAbi.IORING_REGISTER_BUFFERS),
            ("IORING_REGISTER_FILES", UringAbi.IORING_REGISTER_FILES), ("IORING_UNREGISTER_FILES", UringAbi.IORING_UNREGISTER_FILES),
            ("IOSQE_FIXED_FILE", UringAbi.IOSQE_FIXED_FILE),
            ("IORING_OFF_SQES", UringAbi.IORING_OFF_SQES),
            ("IORING_OP_READV", UringAbi.IORING_OP_READV), ("IORING_OP_WRITEV", UringAbi.IORING_OP_WRITEV),
            ("IORING_OP_FSYNC", UringAbi.IORING_OP_FSYNC), ("IORING_OP_READ_FIXED", UringAbi.IORING_OP_READ_FIXED),
            ("IORING_OP_WRITE_FIXED", UringAbi.IORING_OP_WRITE_FIXED), ("IORING_OP_FALLOCATE", UringAbi.IORING_OP_FALLOCATE),
            ("IORING_OP_READ", UringAbi.IORING_OP_READ), ("IORING_OP_WRITE", UringAbi.IORING_OP_WRITE),
            ("IORING_OP_NOP", UringAbi.IORING_OP_NOP), ("IORING_OP_URING_CMD", UringAbi.IORING_OP_URING_CMD),
            ("BLOCK_URING_CMD_DISCARD", UringAbi.BLOCK_URING_CMD_DISCARD),
            ("IORING_FSYNC_DATASYNC", UringAbi.IORING_FSYNC_DATASYNC),
            ("sizeof(struct statx) + 0", sizeof(FileStatusBuffer)),
            ("offsetof(struct statx, stx_nlink)", Offset(&status, &status.Links)),
            ("offsetof(struct statx, stx_uid)", Offset(&status, &status.User)),
            ("offsetof(struct statx, stx_gid)", Offset(&status, &status.Group)),
            ("offsetof(struct statx, stx_ino)", Offset(&status, &status.Inode)),
            ("offsetof(struct statx, stx_atime.tv_sec)", Offset(&status, &status.AccessSeconds)),
            ("offsetof(struct statx, stx_atime.tv_nsec)", Offset(&status, &status.AccessNanoseconds)),
            ("offsetof(struct statx, stx_ctime.tv_sec)", Offset(&status, &status.ChangeSeconds)),
            ("offsetof(struct statx, stx_ctime.tv_nsec)", Offset(&status, &status.ChangeNanoseconds)),
            ("offsetof(struct statx, stx_mtime.tv_sec)", Offset(&status, &status.ModifySeconds)),
            ("offsetof(struct statx, stx_mtime.tv_nsec)", Offset(&status, &status.ModifyNanoseconds)),
            ("SYS_openat2", 437), ("O_PATH", FolderAbi.O_PATH),
            ("sizeof(struct open_how)", sizeof(OpenHow)),
            ("offsetof(struct open_how, resolve)", Offset(&how, &how.Resolve)),
            ("RESOLVE_BENEATH", (long)FolderAbi.RESOLVE_BENEATH), ("RESOLVE_NO_SYMLINKS", (long)FolderAbi.RESOLVE_NO_SYMLINKS),
            ("RESOLVE_NO_MAGICLINKS", (long)FolderAbi.RESOLVE_NO_MAGICLINKS),
            ("sizeof(struct inotify_event)", sizeof(NotifyEvent)),
            ("offsetof(struct inotify_event, mask)", Offset(&notify, &notify.Mask)),
            ("offsetof(struct inotify_event, len)", Offset(&notify, &notify.NameBytes)),
            ("F_RDLCK", FolderAbi.F_RDLCK), ("F_UNLCK", FolderAbi.F_UNLCK), ("F_SETSIG", FolderAbi.F_SETSIG), ("F_SETLEASE", FolderAbi.F_SETLEASE), ("SIGURG", FolderAbi.SIGURG),
            ("IN_MODIFY", FolderAbi.IN_MODIFY), ("IN_ATTRIB", FolderAbi.IN_ATTRIB), ("IN_MOVED_FROM", FolderAbi.IN_MOVED_FROM),
            ("IN_MOVED_TO", FolderAbi.IN_MOVED_TO), ("IN_CREATE", FolderAbi.IN_CREATE), ("IN_DELETE", FolderAbi.IN_DELETE),
            ("IN_DELETE_SELF", FolderAbi.IN_DELETE_SELF), ("IN_MOVE_SELF", FolderAbi.IN_MOVE_SELF), ("IN_UNMOUNT", FolderAbi.IN_UNMOUNT),
            ("IN_Q_OVERFLOW", FolderAbi.IN_Q_OVERFLOW), ("IN_IGNORED", FolderAbi.IN_IGNORED), ("IN_ONLYDIR", FolderAbi.IN_ONLYDIR),
            ("IN_ISDIR", FolderAbi.IN_ISDIR), ("IN_NONBLOCK", FolderAbi.IN_NONBLOCK), ("IN_CLOEXEC", FolderAbi.IN_CLOEXEC),
            ("DT_DIR", FolderAbi.DT_DIR), ("DT_UNKNOWN", FolderAbi.DT_UNKNOWN),
            ("sizeof(struct timespec)", sizeof(TimeSpecification)),
            ("offsetof(struct timespec, tv_nsec)", Offset(&time, &time.Nanoseconds)),
            ("sizeof(struct msghdr)", sizeof(Libc.MessageHeader)),
            ("offsetof(struct msghdr, msg_iov)", Offset(&message, &message.Vectors)),
            ("offsetof(struct msghdr, msg_iovlen)", Offset(&message, &message.VectorCount)),
            ("offsetof(struct msghdr, msg_control)", Offset(&message, &message.Control)),
            ("offsetof(struct msghdr, msg_flags)", Offset(&message, &message.Flags)),
            ("sizeof(struct epoll_event)", Libc.EpollEventBytes),
            ("O_NOFOLLOW", FileAbi.O_NOFOLLOW), ("O_WRONLY", FileAbi.O_WRONLY), ("O_NONBLOCK", FileAbi.O_NONBLOCK),
            ("AT_SYMLINK_NOFOLLOW", FileAbi.AT_SYMLINK_NOFOLLOW), ("AT_NO_AUTOMOUNT", FileAbi.AT_NO_AUTOMOUNT),
            ("AF_INET", Libc.AddressFamilyInet), ("AF_INET6", Libc.AddressFamilyInet6), ("SOCK_STREAM", Libc.SocketStream),
            ("SOCK_NONBLOCK", Libc.SocketNonBlocking), ("SOCK_CLOEXEC", Libc.SocketCloseOnExec), ("SOL_SOCKET", Libc.SolSocket),
            ("SO_REUSEADDR", Libc.SoReuseAddress), ("SO_REUSEPORT", Libc.SoReusePort), ("MSG_DONTWAIT", Libc.MessageDontWait),
            ("MSG_NOSIGNAL", Libc.MessageNoSignal), ("EPOLLET", Libc.EpollEdgeTriggered), ("EPOLLRDHUP", Libc.EpollReadHangUp),
            ("SYS_getdents64", ArchitectureAbi.Current.SYS_getdents64),
            ("SYS_io_setup", ArchitectureAbi.Current.SYS_io_setup), ("SYS_io_destroy", ArchitectureAbi.Current.SYS_io_destroy),
            ("SYS_io_submit", ArchitectureAbi.Current.SYS_io_submit), ("SYS_io_getevents", ArchitectureAbi.Current.SYS_io_getevents),
            ("sizeof(struct iocb)", sizeof(AioControlBlock)),
            ("offsetof(struct iocb, aio_data)", Offset(&block, &block.Data)),
            ("offsetof(struct iocb, aio_rw_flags)", Offset(&block, &block.OperationFlags)),
            ("offsetof(struct iocb, aio_lio_opcode)", Offset(&block, &block.Opcode)),
            ("offsetof(struct iocb, aio_fildes)", Offset(&block, &block.Fd)),
            ("offsetof(struct iocb, aio_buf)", Offset(&block, &block.Buffer)),
            ("offsetof(struct iocb, aio_nbytes)", Offset(&block, &block.Length)),
            ("offsetof(struct iocb, aio_offset)", Offset(&block, &block.Offset)),
            ("sizeof(struct io_event)", sizeof(AioEvent)),
            ("offsetof(struct io_event, data)", Offset(&done, &done.Data)),
            ("offsetof(struct io_event, res)", Offset(&done, &done.Result)),
            ("IOCB_CMD_PREAD", AioAbi.IOCB_CMD_PREAD), ("IOCB_CMD_PWRITE", AioAbi.IOCB_CMD_PWRITE), ("IOCB_CMD_FDSYNC", AioAbi.IOCB_CMD_FDSYNC),
            ("IOCB_CMD_PREADV", AioAbi.IOCB_CMD_PREADV), ("IOCB_CMD_PWRITEV", AioAbi.IOCB_CMD_PWRITEV),
            ("MFD_ALLOW_SEALING", SharingAbi.MFD_ALLOW_SEALING), ("F_ADD_SEALS", SharingAbi.F_ADD_SEALS), ("F_SEAL_SEAL", SharingAbi.F_SEAL_SEAL), ("F_SEAL_SHRINK", SharingAbi.F_SEAL_SHRINK),
            ("F_SEAL_GROW", SharingAbi.F_SEAL_GROW), ("F_SEAL_FUTURE_WRITE", SharingAbi.F_SEAL_FUTURE_WRITE), ("FUTEX_WAIT", SharingAbi.FUTEX_WAIT), ("FUTEX_WAKE", SharingAbi.FUTEX_WAKE),
            ("SO_PEERCRED", SharingAbi.SO_PEERCRED), ("MREMAP_MAYMOVE", SharingAbi.MREMAP_MAYMOVE), ("MREMAP_FIXED", SharingAbi.MREMAP_FIXED), ("SYS_futex", ArchitectureAbi.Current.SYS_futex),
            ("MAP_FIXED", Abi.MAP_FIXED), ("SYS_userfaultfd", ArchitectureAbi.Current.SYS_userfaultfd),
            ("sizeof(struct pollfd)", sizeof(PollEntry)),
            ("offsetof(struct pollfd, revents)", Offset(&poll, &poll.Returned)), ("POLLIN", UserFaultAbi.POLLIN),
            ("UFFD_API", (long)UserFaultAbi.UFFD_API),
            ("UFFD_FEATURE_PAGEFAULT_FLAG_WP", (long)UserFaultAbi.UFFD_FEATURE_PAGEFAULT_FLAG_WP), ("UFFD_FEATURE_MINOR_SHMEM", (long)UserFaultAbi.UFFD_FEATURE_MINOR_SHMEM),
            ("UFFD_FEATURE_WP_HUGETLBFS_SHMEM", (long)UserFaultAbi.UFFD_FEATURE_WP_HUGETLBFS_SHMEM), ("UFFD_FEATURE_POISON", (long)UserFaultAbi.UFFD_FEATURE_POISON),
            ("UFFDIO_REGISTER_MODE_MISSING", (long)UserFaultAbi.UFFDIO_REGISTER_MODE_MISSING), ("UFFDIO_REGISTER_MODE_WP", (long)UserFaultAbi.UFFDIO_REGISTER_MODE_WP),
            ("UFFDIO_REGISTER_MODE_MINOR", (long)UserFaultAbi.UFFDIO_REGISTER_MODE_MINOR), ("UFFDIO_WRITEPROTECT_MODE_WP", (long)UserFaultAbi.UFFDIO_WRITEPROTECT_MODE_WP),
            ("UFFDIO_CONTINUE_MODE_DONTWAKE", (long)UserFaultAbi.UFFDIO_CONTINUE_MODE_DONTWAKE), ("UFFDIO_CONTINUE_MODE_WP", (long)UserFaultAbi.UFFDIO_CONTINUE_MODE_WP),
            ("UFFDIO_API", (long)UserFaultAbi.UFFDIO_API), ("UFFDIO_REGISTER", (long)UserFaultAbi.UFFDIO_REGISTER), ("UFFDIO_WAKE", (long)UserFaultAbi.UFFDIO_WAKE),
            ("UFFDIO_WRITEPROTECT", (long)UserFaultAbi.UFFDIO_WRITEPROTECT), ("UFFDIO_CONTINUE", (long)UserFaultAbi.UFFDIO_CONTINUE), ("UFFDIO_POISON", (long)UserFaultAbi.UFFDIO_POISON),
            ("UFFD_EVENT_PAGEFAULT", UserFaultAbi.UFFD_EVENT_PAGEFAULT),
            ("UFFD_PAGEFAULT_FLAG_WRITE", (long)UserFaultAbi.UFFD_PAGEFAULT_FLAG_WRITE), ("UFFD_PAGEFAULT_FLAG_WP", (long)UserFaultAbi.UFFD_PAGEFAULT_FLAG_WP),
            ("sizeof(struct uffdio_api)", sizeof(UserFaultFeatures)), ("sizeof(struct uffdio_range)", sizeof(UserFaultRange)),
            ("sizeof(struct uffdio_continue)", sizeof(UserFaultRequest)), ("offsetof(struct uffdio_continue, mode)", Offset(&request, &request.Mode)),
            ("offsetof(struct uffdio_continue, mapped)", Offset(&request, &request.Result)), ("offsetof(struct uffdio_writeprotect, mode)", Offset(&request, &request.Mode)),
            ("sizeof(struct uffd_msg)", sizeof(UserFaultMessage)),
            ("offsetof(struct uffd_msg, arg.pagefault.flags)", Offset(&fault, &fault.Flags)), ("offsetof(struct uffd_msg, arg.pagefault.address)", Offset(&fault, &fault.Address)),
        ];
    }

    private static long Offset(void* start, void* field) => (byte*)field - (byte*)start;
}
