// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Core.Linux;

namespace Exo.Cli.HostTree;

/// <summary>Extended attributes of the namespace <c>user.</c> of a file or directory that is open: those that belong to its contents, and to nobody's rights.</summary>
internal static unsafe class HostAttributes
{
    // XATTR_LIST_MAX and XATTR_SIZE_MAX of the kernel.
    private const int BytesMax = 65536;

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
            if (!name.StartsWith("user."u8))
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
