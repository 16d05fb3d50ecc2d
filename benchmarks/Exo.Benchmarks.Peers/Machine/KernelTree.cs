// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using System.Text;

namespace Exo.Benchmarks.Peers.Machine;

/// <summary>A mounted file system through bare system calls: what .NET's own file classes add is not the peer's cost.</summary>
internal sealed partial class KernelTree(string root) : IFileTree
{
    private const int O_WRONLY = 1, O_CREAT = 0x40, O_EXCL = 0x80, O_CLOEXEC = 0x80000;

    public void MakeDirectory(byte[] path) => Check(mkdir(path, 0x1ED), path);

    public void Create(byte[] path, byte[] contents) => Write(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, contents, durably: false);

    public void CreateDurably(byte[] path, byte[] contents) => Write(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, contents, durably: true);

    public void AppendDurably(byte[] path, long at, byte[] contents) => Write(path, O_WRONLY | O_CLOEXEC, contents, durably: true, at);

    public void Overwrite(byte[] path, byte[] contents) => Write(path, O_WRONLY | O_CLOEXEC, contents, durably: false);

    public int Read(byte[] path, byte[] buffer)
    {
        int file = (int)Check(open(path, O_CLOEXEC, 0), path);
        int length = (int)Check(pread(file, buffer, buffer.Length, 0), path);
        Check(close(file), path);
        return length;
    }

    public long Stat(byte[] path)
    {
        // struct stat of the 64-bit ABIs has st_size at offset 48.
        Span<byte> status = stackalloc byte[256];
        Check(fstatat(-100, path, ref MemoryMarshal.GetReference(status), 0), path);
        return BitConverter.ToInt64(status[48..]);
    }

    public (long Entries, long Bytes) Walk(byte[] path)
    {
        // struct linux_dirent64: d_ino 8, d_off 8, d_reclen 2, d_type 1, d_name.
        int folder = (int)Check(open(path, O_CLOEXEC, 0), path);
        byte[] entries = new byte[1 << 18];
        Span<byte> status = stackalloc byte[256];
        long count = 0;
        long bytes = 0;
        while (true)
        {
            int length = (int)Check(getdents64(folder, entries, entries.Length), path);
            if (length == 0)
            {
                break;
            }

            for (int at = 0; at < length; at += BitConverter.ToUInt16(entries, at + 16))
            {
                if (entries[at + 19] != '.')
                {
                    Check(fstatat(folder, ref entries[at + 19], ref MemoryMarshal.GetReference(status), 0x100), path);
                    count++;
                    bytes += BitConverter.ToInt64(status[48..]);
                }
            }
        }

        Check(close(folder), path);
        return (count, bytes);
    }

    public void Delete(byte[] path) => Check(unlink(path), path);

    public void RemoveDirectory(byte[] path) => Check(rmdir(path), path);

    public void Sync()
    {
        int file = (int)Check(open(Encoding.UTF8.GetBytes(root + "\0"), O_CLOEXEC, 0), []);
        Check(syncfs(file), []);
        Check(close(file), []);
    }

    public void Chill()
    {
        // Its loop device reads directly: nothing of it is in any other cache.
        string device = File.ReadLines("/proc/self/mounts").Select(line => line.Split(' ')).Last(fields => fields[1] == root)[0];
        Tool.Run("umount", root);
        Tool.Run("mount", "-o", "noatime", device, root);
    }

    public void Dispose()
    {
        foreach (string folder in Directory.GetDirectories(root).Where(folder => Path.GetFileName(folder)[0] == 'd'))
        {
            Directory.Delete(folder, recursive: true);
        }

        Sync();
    }

    private static void Write(byte[] path, int flags, byte[] contents, bool durably, long at = 0)
    {
        int file = (int)Check(open(path, flags, 0x1A4), path);
        if (Check(pwrite(file, contents, contents.Length, at), path) != contents.Length)
        {
            throw new IOException("short write");
        }

        if (durably)
        {
            Check(fsync(file), path);
        }

        Check(close(file), path);
    }

    private static nint Check(nint result, byte[] path) => result >= 0
        ? result
        : throw new IOException($"{Encoding.UTF8.GetString(path)}: error {Marshal.GetLastPInvokeError()}");

    [LibraryImport("libc", SetLastError = true)]
    private static partial int open(byte[] path, int flags, uint mode);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int close(int file);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint pread(int file, byte[] buffer, nint length, long offset);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint pwrite(int file, byte[] buffer, nint length, long offset);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fsync(int file);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int syncfs(int file);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int mkdir(byte[] path, uint mode);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int rmdir(byte[] path);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int unlink(byte[] path);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fstatat(int directory, byte[] path, ref byte status, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fstatat(int directory, ref byte path, ref byte status, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint getdents64(int directory, byte[] entries, nint length);
}
