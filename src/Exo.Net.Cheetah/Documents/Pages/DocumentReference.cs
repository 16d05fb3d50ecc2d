// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Http;

namespace Exo.Net.Cheetah.Pages;

/// <summary>From a reference in a page or style sheet to the path of the document that it names on the same server (RFC 3986 section 5.2, without authorities).</summary>
internal static class DocumentReference
{
    /// <summary>The longest path that comes out; longer references lead nowhere.</summary>
    public const int PathBytesMax = 1024;

    /// <summary>
    /// Resolves a reference. False for what lies elsewhere or cannot be asked for: with a scheme or a host, empty, a fragment or query alone, one that climbs above the root, one with control bytes or
    /// backslashes. The path is decoded, without query and fragment, and ends with a slash exactly when a folder is named.
    /// </summary>
    /// <param name="basePath">Decoded path of the document that the reference stands in; empty when references there lead elsewhere.</param>
    /// <param name="reference">The reference as written.</param>
    /// <param name="path">Room for <see cref="PathBytesMax"/> bytes.</param>
    /// <param name="lengthBytes">Bytes of the path.</param>
    public static bool TryResolve(ReadOnlySpan<byte> basePath, ReadOnlySpan<byte> reference, Span<byte> path, out int lengthBytes)
    {
        lengthBytes = 0;
        reference = reference.Trim(" \t\n\f\r"u8);
        int end = reference.IndexOfAny((byte)'?', (byte)'#');
        reference = end < 0 ? reference : reference[..end];
        if (basePath.IsEmpty || reference.IsEmpty || reference.Length > PathBytesMax || reference.StartsWith("//"u8)
            || reference.IndexOfAnyInRange((byte)0, (byte)0x1F) >= 0 || reference.IndexOfAny((byte)'\\', (byte)0x7F) >= 0)
        {
            return false;
        }

        // What has a colon in its first segment has a scheme.
        int first = reference.IndexOfAny((byte)':', (byte)'/');
        if (first >= 0 && reference[first] == ':')
        {
            return false;
        }

        Span<byte> target = stackalloc byte[4 * PathBytesMax];
        int length = 0;
        if (reference[0] != '/')
        {
            ReadOnlySpan<byte> folder = basePath[..(basePath.LastIndexOf((byte)'/') + 1)];
            if (folder.Length > PathBytesMax)
            {
                return false;
            }

            length = TargetPath.Encode(folder, target);
        }

        reference.CopyTo(target[length..]);
        length += reference.Length;
        Span<byte> decoded = stackalloc byte[4 * PathBytesMax];
        if (!TargetPath.TryDecode(target[..length], decoded, out int decodedLength) || decodedLength > PathBytesMax)
        {
            return false;
        }

        decoded[..decodedLength].CopyTo(path);
        lengthBytes = decodedLength;
        return true;
    }
}
