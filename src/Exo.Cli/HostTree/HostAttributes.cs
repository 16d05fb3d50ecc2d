// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Core.Linux;

namespace Exo.Cli.HostTree;

/// <summary>
/// Extended attributes of a file or directory that is open: those of the namespace <c>user.</c>, which belong to its contents, and access control lists, which belong to its permission bits. Set before these, a list has them as its own.
/// </summary>
internal static unsafe class HostAttributes
{
    // XATTR_LIST_MAX and XATTR_SIZE_MAX of the kernel.
    private const int BytesMax = 65536;

    public static bool IsUsers(ReadOnlySpan<byte> name) => name.StartsWith("user."u8);

    public static bool IsAccessList(ReadOnlySpan<byte> name) => name.SequenceEqual("system.posix_acl_access"u8) || name.SequenceEqual("system.posix_acl_default"u8);

    /// <summary>Names and values. Where the host keeps none, there are none.</summary>
    public static List<(byte[] Name, byte[] Value)> Read(int fd, byte[] path)
    {
        List<(byte[] Name, byte[] Value)> attributes = [];
        nint namesBytes = Libc.ListAttributes(fd, null, 0);
        if (namesBytes == 0 || (namesBytes < 0 && Marshal.GetLastPInvokeError() == Errno.EOPNOTSUPP))
        {
            return attributes;
        }

        byte[] buffer = new byte[BytesMax];
        fixed (byte* start = buffer)
        {
            namesBytes = Libc.ListAttributes(fd, start, BytesMax);
        }

        if (namesBytes < 0)
        {
            HostException.ThrowLast("cannot read the extended attributes of", path);
        }

        for (ReadOnlySpan<byte> names = buffer.AsSpan(0, (int)namesBytes).ToArray(); !names.IsEmpty;)
        {
            int end = names.IndexOf((byte)0);
            ReadOnlySpan<byte> name = names[..(end + 1)];
            names = names[(end + 1)..];
            if (!IsUsers(name[..end]) && !IsAccessList(name[..end]))
            {
                continue;
            }

            fixed (byte* text = name, value = buffer)
            {
                nint lengthBytes = Libc.GetAttribute(fd, text, value, BytesMax);
                if (lengthBytes >= 0)
                {
                    attributes.Add((name[..end].ToArray(), buffer[..(int)lengthBytes]));
                }
                else if (Marshal.GetLastPInvokeError() != Errno.ENODATA)
                {
                    HostException.ThrowLast("cannot read the extended attributes of", path);
                }
            }
        }

        return attributes;
    }

    public static void Set(int fd, byte[] path, ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        byte[] terminated = [.. name, 0];
        fixed (byte* text = terminated, bytes = value)
        {
            if (Libc.SetAttribute(fd, text, bytes, (nuint)value.Length, 0) != 0)
            {
                HostException.ThrowLast($"cannot set the attribute {Output.ByteText.Escape(name)} of", path);
            }
        }
    }
}
