// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Security.Cryptography;
using Exo.Core.Linux;
using Microsoft.Win32.SafeHandles;

namespace Exo.Net.Cheetah.Folders;

/// <summary>What tells one version of a file from another. Times are nanoseconds since 1970; nobody can set the last one.</summary>
internal readonly record struct FolderStat(uint DeviceMajor, uint DeviceMinor, ulong Inode, ushort Mode, long LengthBytes, long ModifyTimeNs, long ChangeTimeNs, uint Links)
{
    private const ushort TypeMask = 0xF000;

    public bool IsDirectory => (Mode & TypeMask) == 0x4000;

    public bool IsFile => (Mode & TypeMask) == 0x8000;

    /// <exception cref="IOException">The file system failed.</exception>
    public static unsafe FolderStat Of(SafeFileHandle file)
    {
        FileStatusBuffer buffer = default;
        byte empty = 0;
        if (Libc.FileStatus((int)file.DangerousGetHandle(), &empty, FileAbi.AT_EMPTY_PATH, Abi.STATX_BASIC_STATS, &buffer) < 0)
        {
            throw new IOException($"statx: {Errno.Describe(Errno.Last)}");
        }

        return new FolderStat(
            buffer.FileSystemMajor, buffer.FileSystemMinor, buffer.Inode, buffer.Mode, (long)buffer.LengthBytes,
            (buffer.ModifySeconds * 1_000_000_000) + buffer.ModifyNanoseconds, (buffer.ChangeSeconds * 1_000_000_000) + buffer.ChangeNanoseconds, buffer.Links);
    }

    /// <summary>How long to wait, in whole milliseconds, until the last change is so old. A time that lies further in the future differs from all that come.</summary>
    public TimeSpan Until(TimeSpan rest, DateTimeOffset now)
    {
        TimeSpan age = now - DateTimeOffset.UnixEpoch.AddTicks(ChangeTimeNs / 100);
        return age.Duration() < rest ? TimeSpan.FromMilliseconds(Math.Ceiling((rest - age).TotalMilliseconds)) : TimeSpan.Zero;
    }

    /// <summary>
    /// Whether the bytes are still those of an earlier look. Losing its last name changes a file's times as well, and not its bytes: so one that another was renamed over is read to its end.
    /// </summary>
    public bool HasBytesOf(in FolderStat earlier) => this == earlier || (Links == 0 && this with { Links = earlier.Links, ChangeTimeNs = earlier.ChangeTimeNs } == earlier);

    /// <summary>128 bits for the entity tag.</summary>
    public UInt128 Version()
    {
        Span<byte> fields = stackalloc byte[40];
        BinaryPrimitives.WriteUInt32LittleEndian(fields, DeviceMajor);
        BinaryPrimitives.WriteUInt32LittleEndian(fields[4..], DeviceMinor);
        BinaryPrimitives.WriteUInt64LittleEndian(fields[8..], Inode);
        BinaryPrimitives.WriteInt64LittleEndian(fields[16..], LengthBytes);
        BinaryPrimitives.WriteInt64LittleEndian(fields[24..], ModifyTimeNs);
        BinaryPrimitives.WriteInt64LittleEndian(fields[32..], ChangeTimeNs);
        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(fields, digest);
        return BinaryPrimitives.ReadUInt128BigEndian(digest);
    }
}
