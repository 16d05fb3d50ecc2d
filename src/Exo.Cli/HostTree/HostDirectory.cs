// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using Exo.Core.Linux;

namespace Exo.Cli.HostTree;

/// <summary>
/// An open directory of the host. Every name is bytes, every call is relative to the descriptor and never follows a symbolic
/// link in the last component, so that neither odd names nor links in a tree can lead out of it.
/// </summary>
internal sealed unsafe class HostDirectory : IDisposable
{
    private const int NameBytesMax = 255;
    private const int LinkTargetBytesMax = 4096;
    private const int DirectoryBufferBytes = 32768;
    private const int RecordHeaderBytes = 19; // ino u64, offset s64, length u16, type u8, then the name

    private int _fd;

    private HostDirectory(int fd, byte[] path)
    {
        _fd = fd;
        Path = path;
    }

    /// <summary>The path for messages, as bytes.</summary>
    public byte[] Path { get; }

    /// <summary>Opens the directory that a command line names; symbolic links on the way are followed.</summary>
    public static HostDirectory Open(string path)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(path + "\0");
        fixed (byte* name = bytes)
        {
            int fd = Libc.OpenAt(Abi.AT_FDCWD, name, Abi.O_RDONLY | Abi.O_DIRECTORY | Abi.O_CLOEXEC, 0);
            if (fd < 0)
            {
                HostException.ThrowLast("cannot open directory", bytes.AsSpan(0, bytes.Length - 1));
            }

            return new HostDirectory(fd, bytes[..^1]);
        }
    }

    /// <summary>Opens a subdirectory; a symbolic link is refused.</summary>
    public HostDirectory OpenDirectory(ReadOnlySpan<byte> name) =>
        new(OpenAt(name, Abi.O_RDONLY | Abi.O_DIRECTORY, 0, "cannot open directory"), PathOf(name));

    /// <summary>Opens a regular file for reading. Does not wait for a writer if the name has become a FIFO meanwhile.</summary>
    public HostFile OpenFile(ReadOnlySpan<byte> name) =>
        new(OpenAt(name, Abi.O_RDONLY | FileAbi.O_NONBLOCK, 0, "cannot open"), PathOf(name));

    /// <summary>Makes a new regular file, readable by its owner only until its mode is set.</summary>
    public HostFile CreateFile(ReadOnlySpan<byte> name) =>
        new(OpenAt(name, FileAbi.O_WRONLY | Abi.O_CREAT | Abi.O_EXCL, 0x180, "cannot create"), PathOf(name));

    /// <summary>All names but "." and "..", in the directory's own order.</summary>
    public List<byte[]> ReadNames()
    {
        List<byte[]> names = [];
        byte[] buffer = new byte[DirectoryBufferBytes];
        while (true)
        {
            int lengthBytes;
            fixed (byte* start = buffer)
            {
                lengthBytes = (int)Libc.ReadDirectory(_fd, start, (nuint)buffer.Length);
            }

            if (lengthBytes < 0)
            {
                HostException.ThrowLast("cannot read directory", Path);
            }

            if (lengthBytes == 0)
            {
                return names;
            }

            for (ReadOnlySpan<byte> records = buffer.AsSpan(0, lengthBytes); !records.IsEmpty;)
            {
                int recordBytes = BinaryPrimitives.ReadUInt16LittleEndian(records[16..]);
                ReadOnlySpan<byte> name = records[RecordHeaderBytes..recordBytes];
                name = name[..name.IndexOf((byte)0)];
                if (!name.SequenceEqual("."u8) && !name.SequenceEqual(".."u8))
                {
                    names.Add(name.ToArray());
                }

                records = records[recordBytes..];
            }
        }
    }

    /// <summary>Attributes of a name; of this directory itself when the name is empty.</summary>
    public HostStat Stat(ReadOnlySpan<byte> name)
    {
        FileStatusBuffer buffer = default;
        Span<byte> terminated = stackalloc byte[NameBytesMax + 1];
        int flags = FileAbi.AT_SYMLINK_NOFOLLOW | FileAbi.AT_NO_AUTOMOUNT | (name.IsEmpty ? FileAbi.AT_EMPTY_PATH : 0);
        fixed (byte* path = Terminate(name, terminated))
        {
            Check(Libc.FileStatus(_fd, path, flags, Abi.STATX_BASIC_STATS, &buffer), "cannot stat", name);
        }

        return new HostStat(
            new HostFileId(buffer.FileSystemMajor, buffer.FileSystemMinor, buffer.Inode),
            buffer.Mode,
            buffer.Links,
            buffer.User,
            buffer.Group,
            (long)buffer.LengthBytes,
            (buffer.AccessSeconds * 1_000_000_000) + buffer.AccessNanoseconds,
            (buffer.ModifySeconds * 1_000_000_000) + buffer.ModifyNanoseconds,
            EncodeDevice(buffer.DeviceMajor, buffer.DeviceMinor),
            (long)buffer.Blocks * 512);
    }

    /// <summary>The target of a symbolic link.</summary>
    public byte[] ReadLink(ReadOnlySpan<byte> name)
    {
        Span<byte> terminated = stackalloc byte[NameBytesMax + 1];
        Span<byte> target = stackalloc byte[LinkTargetBytesMax];
        nint lengthBytes;
        fixed (byte* path = Terminate(name, terminated), buffer = target)
        {
            lengthBytes = Libc.ReadLinkAt(_fd, path, buffer, LinkTargetBytesMax);
        }

        Check((int)lengthBytes, "cannot read link", name);
        return target[..(int)lengthBytes].ToArray();
    }

    /// <summary>Makes a directory; false when a directory of that name is there already.</summary>
    public bool TryMakeDirectory(ReadOnlySpan<byte> name)
    {
        Span<byte> terminated = stackalloc byte[NameBytesMax + 1];
        fixed (byte* path = Terminate(name, terminated))
        {
            if (Libc.MakeDirectoryAt(_fd, path, 0x1C0) == 0)
            {
                return true;
            }
        }

        int errno = Marshal.GetLastPInvokeError();
        if (errno == Errno.EEXIST && Stat(name).Type == HostStat.Directory)
        {
            return false;
        }

        Marshal.SetLastPInvokeError(errno);
        HostException.ThrowLast("cannot make directory", PathOf(name));
        return false;
    }

    /// <summary>Makes a symbolic link.</summary>
    public void MakeSymbolicLink(ReadOnlySpan<byte> target, ReadOnlySpan<byte> name)
    {
        Span<byte> terminated = stackalloc byte[NameBytesMax + 1];
        byte[] terminatedTarget = [.. target, 0];
        fixed (byte* path = Terminate(name, terminated), text = terminatedTarget)
        {
            Check(Libc.SymbolicLinkAt(text, _fd, path), "cannot make symbolic link", name);
        }
    }

    /// <summary>Gives the file <paramref name="from"/> of <paramref name="directory"/> a second name here.</summary>
    public void MakeHardLink(HostDirectory directory, ReadOnlySpan<byte> from, ReadOnlySpan<byte> name)
    {
        Span<byte> terminated = stackalloc byte[NameBytesMax + 1];
        Span<byte> terminatedFrom = stackalloc byte[NameBytesMax + 1];
        fixed (byte* path = Terminate(name, terminated), fromPath = Terminate(from, terminatedFrom))
        {
            Check(Libc.LinkAt(directory._fd, fromPath, _fd, path, 0), "cannot make hard link", name);
        }
    }

    /// <summary>Removes a name that is no directory, if that is possible.</summary>
    public void TryRemoveFile(ReadOnlySpan<byte> name)
    {
        Span<byte> terminated = stackalloc byte[NameBytesMax + 1];
        fixed (byte* path = Terminate(name, terminated))
        {
            _ = Libc.UnlinkAt(_fd, path, 0);
        }
    }

    /// <summary>Makes a FIFO, socket or device node.</summary>
    public void MakeNode(ReadOnlySpan<byte> name, ushort mode, ulong device)
    {
        Span<byte> terminated = stackalloc byte[NameBytesMax + 1];
        fixed (byte* path = Terminate(name, terminated))
        {
            Check(Libc.MakeNodeAt(_fd, path, mode, device), "cannot make node", name);
        }
    }

    /// <summary>Sets owner, mode and times, in the order in which none undoes another. An empty name means this directory.</summary>
    /// <param name="name">The name.</param>
    /// <param name="attributes">What to set.</param>
    /// <param name="keepOwner">False: leave the owner, as a user without privilege must.</param>
    public void SetAttributes(ReadOnlySpan<byte> name, in HostStat attributes, bool keepOwner)
    {
        Span<byte> terminated = stackalloc byte[NameBytesMax + 1];
        ReadOnlySpan<byte> target = name.IsEmpty ? "."u8 : name;
        TimeSpecification* times = stackalloc TimeSpecification[2];
        times[0] = Split(attributes.AccessTimeNs);
        times[1] = Split(attributes.ModifyTimeNs);
        fixed (byte* path = Terminate(target, terminated))
        {
            if (keepOwner)
            {
                Check(
                    Libc.ChangeOwnerAt(_fd, path, attributes.User, attributes.Group, FileAbi.AT_SYMLINK_NOFOLLOW),
                    "cannot change the owner of",
                    name);
            }

            // A change of owner clears the set-id bits, so the mode comes second. Symbolic links have no mode of their own.
            if (attributes.Type != HostStat.SymbolicLink)
            {
                Check(Libc.ChangeModeAt(_fd, path, attributes.Permissions, 0), "cannot change the mode of", name);
            }

            Check(Libc.SetTimesAt(_fd, path, times, FileAbi.AT_SYMLINK_NOFOLLOW), "cannot set the times of", name);
        }
    }

    /// <inheritdoc cref="HostAttributes.Read"/>
    public List<(byte[] Name, byte[] Value)> ReadAttributes() => HostAttributes.Read(_fd, Path);

    /// <summary>Sets an extended attribute of this directory.</summary>
    public void SetAttribute(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value) => HostAttributes.Set(_fd, Path, name, value);

    public void Dispose()
    {
        int fd = Interlocked.Exchange(ref _fd, -1);
        if (fd >= 0)
        {
            _ = Libc.Close(fd);
        }
    }

    /// <summary>The path of a name in this directory, for messages.</summary>
    public byte[] PathOf(ReadOnlySpan<byte> name) =>
        name.IsEmpty ? Path : Path is [.., (byte)'/'] ? [.. Path, .. name] : [.. Path, (byte)'/', .. name];

    private static ReadOnlySpan<byte> Terminate(ReadOnlySpan<byte> name, Span<byte> buffer)
    {
        // A NUL inside would silently cut the name; a slash would leave this directory. Images are a stranger's.
        if (name.Length > NameBytesMax || name.IndexOfAny((byte)0, (byte)'/') >= 0 || name.SequenceEqual(".."u8))
        {
            throw new InvalidDataException($"'{Output.ByteText.Escape(name)}' cannot be a file name");
        }

        name.CopyTo(buffer);
        buffer[name.Length] = 0;
        return buffer;
    }

    private static TimeSpecification Split(long timeNs)
    {
        (long seconds, long nanoseconds) = Math.DivRem(timeNs, 1_000_000_000);
        return nanoseconds < 0
            ? new TimeSpecification { Seconds = seconds - 1, Nanoseconds = nanoseconds + 1_000_000_000 }
            : new TimeSpecification { Seconds = seconds, Nanoseconds = nanoseconds };
    }

    // dev_t as mknod(2) takes it.
    private static ulong EncodeDevice(uint major, uint minor) =>
        (minor & 0xFFu) | ((major & 0xFFFu) << 8) | ((ulong)(minor & ~0xFFu) << 12);

    private int OpenAt(ReadOnlySpan<byte> name, int flags, uint mode, string action)
    {
        Span<byte> terminated = stackalloc byte[NameBytesMax + 1];
        fixed (byte* path = Terminate(name, terminated))
        {
            int fd = Libc.OpenAt(_fd, path, flags | FileAbi.O_NOFOLLOW | Abi.O_CLOEXEC, mode);
            Check(fd, action, name);
            return fd;
        }
    }

    private void Check(int result, string action, ReadOnlySpan<byte> name)
    {
        if (result < 0)
        {
            int errno = Marshal.GetLastPInvokeError();
            byte[] path = PathOf(name);
            Marshal.SetLastPInvokeError(errno);
            HostException.ThrowLast(action, path);
        }
    }
}
