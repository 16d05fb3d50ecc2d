// SPDX-License-Identifier: MIT
using System.Buffers;

namespace Exo.Net.Cheetah.Http;

/// <summary>
/// From the path of a request target to the path of a document: percent-decoded once, dot segments resolved, repeated slashes
/// merged (RFC 3986 sections 2.1, 5.2.4 and 6.2.2). Refused: NUL and other controls, an encoded slash or backslash, a
/// malformed escape, and any attempt to climb above the root.
/// </summary>
internal static class TargetPath
{
    private static readonly SearchValues<byte> NeedsNoEscape = SearchValues.Create(
        "-._~!$&'()*+,;=:@/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"u8);

    /// <summary>
    /// Writes the document's path: it begins with a slash, holds no empty, "." or ".." segment and ends with a slash exactly
    /// when the target names a folder. Needs at most as many bytes as the target, and one at least.
    /// </summary>
    public static bool TryDecode(ReadOnlySpan<byte> target, Span<byte> destination, out int lengthBytes)
    {
        lengthBytes = 0;
        if (target.IsEmpty)
        {
            destination[0] = (byte)'/';   // absolute-form without a path
            lengthBytes = 1;
            return true;
        }

        int length = 0;
        if (!target.Contains((byte)'%'))
        {
            target.CopyTo(destination);
            length = target.Length;
        }
        else if (!TryUnescape(target, destination, out length))
        {
            return false;
        }

        return TryResolve(destination[..length], out lengthBytes);
    }

    /// <summary>Writes <paramref name="path"/> with everything escaped that may not stand in a URI. Needs up to three times the bytes.</summary>
    public static int Encode(ReadOnlySpan<byte> path, Span<byte> destination)
    {
        int length = 0;
        foreach (byte b in path)
        {
            if (NeedsNoEscape.Contains(b))
            {
                destination[length++] = b;
            }
            else
            {
                destination[length++] = (byte)'%';
                destination[length++] = "0123456789ABCDEF"u8[b >> 4];
                destination[length++] = "0123456789ABCDEF"u8[b & 15];
            }
        }

        return length;
    }

    private static bool TryUnescape(ReadOnlySpan<byte> target, Span<byte> destination, out int length)
    {
        length = 0;
        for (int i = 0; i < target.Length; i++)
        {
            byte b = target[i];
            if (b == '%')
            {
                if (i + 2 >= target.Length || !TryHex(target[i + 1], out int high) || !TryHex(target[i + 2], out int low))
                {
                    return false;
                }

                b = (byte)((high << 4) | low);
                if (b is < 0x20 or 0x7F or (byte)'/' or (byte)'\\')
                {
                    return false;
                }

                i += 2;
            }

            destination[length++] = b;
        }

        return true;
    }

    // In place: the write position never passes the read position, because segments are only ever dropped.
    private static bool TryResolve(Span<byte> path, out int lengthBytes)
    {
        lengthBytes = 0;
        int write = 0, read = 0;
        bool folder = false;
        while (read < path.Length)
        {
            read++;   // the slash
            int end = path[read..].IndexOf((byte)'/');
            end = end < 0 ? path.Length : end + read;
            ReadOnlySpan<byte> segment = path[read..end];
            folder = segment.IsEmpty;
            if (segment.SequenceEqual("."u8))
            {
                folder = true;
            }
            else if (segment.SequenceEqual(".."u8))
            {
                if (write == 0)
                {
                    return false;
                }

                write = path[..write].LastIndexOf((byte)'/');
                folder = true;
            }
            else if (!folder)
            {
                path[write++] = (byte)'/';
                path[read..end].CopyTo(path[write..]);
                write += end - read;
            }

            read = end;
        }

        if (folder)
        {
            path[write++] = (byte)'/';
        }

        lengthBytes = write;
        return true;
    }

    private static bool TryHex(byte digit, out int value)
    {
        value = digit switch
        {
            >= (byte)'0' and <= (byte)'9' => digit - '0',
            >= (byte)'a' and <= (byte)'f' => digit - 'a' + 10,
            >= (byte)'A' and <= (byte)'F' => digit - 'A' + 10,
            _ => -1,
        };
        return value >= 0;
    }
}
