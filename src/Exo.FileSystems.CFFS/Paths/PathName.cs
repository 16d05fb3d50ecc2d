// SPDX-License-Identifier: MIT
using System.Text;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Paths;

/// <summary>Paths as bytes: components between slashes; empty ones and <c>.</c> count for nothing. A path is taken from the root whether it begins with a slash or not.</summary>
internal static class PathName
{
    public static byte[] Encode(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        return Encoding.UTF8.GetBytes(path);
    }

    /// <summary>Takes the first component off a path. False when none is left.</summary>
    public static bool TryNext(ref ReadOnlyMemory<byte> path, out ReadOnlyMemory<byte> component)
    {
        while (true)
        {
            int start = 0;
            while (start < path.Length && path.Span[start] == '/')
            {
                start++;
            }

            path = path[start..];
            if (path.IsEmpty)
            {
                component = default;
                return false;
            }

            int end = path.Span.IndexOf((byte)'/');
            component = end < 0 ? path : path[..end];
            path = path[component.Length..];
            if (!component.Span.SequenceEqual("."u8))
            {
                return true;
            }
        }
    }

    /// <summary>True when nothing but slashes and dots is left: the component before was the last.</summary>
    public static bool IsEnd(ReadOnlyMemory<byte> rest) => !TryNext(ref rest, out _);

    /// <summary>Checks a name that is to be created.</summary>
    public static void CheckNew(ReadOnlyMemory<byte> name)
    {
        if (name.Length > Slot.NameBytesMax)
        {
            CffsException.Throw(CffsError.NameTooLong, $"a name of {name.Length} bytes is longer than 255");
        }

        if (name.IsEmpty || name.Span.Contains((byte)0) || name.Span.SequenceEqual(".."u8) || name.Span.SequenceEqual("."u8))
        {
            CffsException.Throw(CffsError.Invalid, $"'{Display(name)}' cannot be a name");
        }
    }

    public static string Display(ReadOnlyMemory<byte> path) => Encoding.UTF8.GetString(path.Span);
}
