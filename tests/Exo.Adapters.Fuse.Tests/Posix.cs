// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Tests;

/// <summary>The C library's calls as they are: 0 or a descriptor, or minus the error number.</summary>
internal static partial class Posix
{
    public const int ENOENT = 2, EEXIST = 17, ENOTDIR = 20, EISDIR = 21, EINVAL = 22, EFBIG = 27, ENAMETOOLONG = 36, ENOTEMPTY = 39, ELOOP = 40;

    public static int Open(string path, int flags, uint mode = 0x1A4) => Of(open(path, flags, mode));

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
