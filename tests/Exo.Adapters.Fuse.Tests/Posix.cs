// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Tests;

/// <summary>The C library's calls as they are: 0 or a descriptor, or minus the error number.</summary>
internal static partial class Posix
{
    public const int EPERM = 1, ENOENT = 2, EAGAIN = 11, EACCES = 13, ENOTTY = 25, ENOSPC = 28, ENODATA = 61, EOPNOTSUPP = 95, EEXIST = 17, ENOTDIR = 20, EISDIR = 21, EINVAL = 22, EFBIG = 27, ENAMETOOLONG = 36, ENOTEMPTY = 39, ELOOP = 40;

    // Close-on-exec: programs that other tests start meanwhile must not keep the file open, and its locks.
    public static int Open(string path, int flags, uint mode = 0x1A4) => Of(open(path, flags | 0x80000, mode));

    public static int Close(int fd) => Of(close(fd));

    public static int Mkdir(string path, uint mode = 0x1ED) => Of(mkdir(path, mode));

    public static int Rmdir(string path) => Of(rmdir(path));

    public static int Unlink(string path) => Of(unlink(path));

    public static int Rename(string from, string to, uint flags = 0) => Of(renameat2(-100, from, -100, to, flags));

    public static int Link(string from, string to) => Of(link(from, to));

    public static int Symlink(string target, string path) => Of(symlink(target, path));

    public static int Mkfifo(string path) => Of(mkfifo(path, 0x1A4));

    public static int Chmod(string path, uint mode) => Of(chmod(path, mode));

    public static int Chown(string path, uint user, uint group) => Of(lchown(path, user, group));

    public static int Truncate(string path, long length) => Of(truncate(path, length));

    public static long Seek(int fd, long offset, int whence)
    {
        long at = lseek(fd, offset, whence);
        return at < 0 ? -Marshal.GetLastPInvokeError() : at;
    }

    public static int Fallocate(int fd, int mode, long offset, long length) => Of(fallocate(fd, mode, offset, length));

    public static int Ftruncate(int fd, long length) => Of(ftruncate(fd, length));

    public static int Write(int fd, byte[] bytes, long offset) => (int)Long(pwrite(fd, bytes, bytes.Length, offset));

    /// <summary>Writes where the descriptor stands.</summary>
    public static int Append(int fd, byte[] bytes) => (int)Long(write(fd, bytes, bytes.Length));

    public static byte[] Read(int fd, long offset, int length)
    {
        byte[] bytes = new byte[length];
        int done = 0;
        for (nint got; done < length && (got = pread(fd, ref bytes[done], length - done, offset + done)) > 0; done += (int)got)
        {
        }

        return bytes[..done];
    }

    /// <summary>Names an open file, for instance one that O_TMPFILE made.</summary>
    public static int LinkOpen(int fd, string path) =>
        Of(linkat(-100, string.Create(System.Globalization.CultureInfo.InvariantCulture, $"/proc/self/fd/{fd}"), -100, path, 0x400));

    public static long CopyFileRange(int from, long fromOffset, int to, long toOffset, long length) =>
        Long(copy_file_range(from, ref fromOffset, to, ref toOffset, (nint)length, 0));

    public static int Mknod(string path, uint mode, ulong device) => Of(mknod(path, mode, device));

    /// <summary>Seconds and nanoseconds of the access time, then of the modification time.</summary>
    public static int Utimens(string path, params long[] times) => Of(utimensat(-100, path, times, 0x100));

    public static int Fsync(int fd) => Of(fsync(fd));

    public static int Flock(int fd, int operation) => Of(flock(fd, operation));

    public static int Ioctl(int fd, nuint request)
    {
        byte[] argument = new byte[256];
        return Of(ioctl(fd, request, argument));
    }

    public static int GetAttribute(string path, string name) => (int)Long(getxattr(path, name, new byte[64], 64));

    public static int SetAttribute(string path, string name) => Of(setxattr(path, name, [1], 1, 0));

    private static long Long(nint result) => result < 0 ? -Marshal.GetLastPInvokeError() : result;

    /// <summary>Attributes without following a link.</summary>
    public static Status Stat(string path)
    {
        byte[] buffer = new byte[256];
        Assert.Equal(0, Of(statx(-100, path, 0x100, 0xFFF, buffer)));
        return new Status(
            BitConverter.ToUInt32(buffer, 16), BitConverter.ToUInt32(buffer, 20), BitConverter.ToUInt32(buffer, 24), BitConverter.ToUInt16(buffer, 28),
            BitConverter.ToUInt64(buffer, 32), BitConverter.ToInt64(buffer, 40), TimeAt(buffer, 64), TimeAt(buffer, 80), TimeAt(buffer, 96), TimeAt(buffer, 112));
    }

    private static long TimeAt(byte[] buffer, int at) => (BitConverter.ToInt64(buffer, at) * 1_000_000_000) + BitConverter.ToUInt32(buffer, at + 8);

    private static int Of(int result) => result < 0 ? -Marshal.GetLastPInvokeError() : result;

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fallocate(int fd, int mode, long offset, long length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ftruncate(int fd, long length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint pwrite(int fd, byte[] bytes, nint length, long offset);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint write(int fd, byte[] bytes, nint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint pread(int fd, ref byte bytes, nint length, long offset);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int linkat(int fromDirectory, string from, int toDirectory, string to, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint copy_file_range(int from, ref long fromOffset, int to, ref long toOffset, nint length, uint flags);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int mknod(string path, uint mode, ulong device);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int utimensat(int directory, string path, long[] times, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fsync(int fd);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int flock(int fd, int operation);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ioctl(int fd, nuint request, byte[] argument);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint getxattr(string path, string name, byte[] value, nint size);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int setxattr(string path, string name, byte[] value, nint size, int flags);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int open(string path, int flags, uint mode);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int close(int fd);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int mkdir(string path, uint mode);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int rmdir(string path);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int unlink(string path);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int renameat2(int fromDirectory, string from, int toDirectory, string to, uint flags);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int link(string from, string to);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int symlink(string target, string path);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int mkfifo(string path, uint mode);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int chmod(string path, uint mode);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int lchown(string path, uint user, uint group);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int truncate(string path, long length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial long lseek(int fd, long offset, int whence);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int statx(int directory, string path, int flags, uint mask, [Out] byte[] buffer);
}

internal sealed record Status(
    uint Links, uint User, uint Group, ushort Mode, ulong Inode, long Size, long AccessNs, long BirthNs, long ChangeNs, long ModifyNs);
