// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Exo.Core.Linux;

namespace Exo.Adapters.Fuse.Mounting;

/// <summary>The kernel's table of mounts (/proc/self/mountinfo), read without touching any mount.</summary>
internal static class MountTable
{
    public const string Type = "fuse.exo";

    /// <summary>Of a mount from a block device.</summary>
    public const string BlockType = "fuseblk.exo";

    /// <summary>The last mount on a directory, or null when that is nothing of ours.</summary>
    public static FuseMountPoint? Find(string directory) => Read(File.ReadLines("/proc/self/mountinfo"), directory).GetValueOrDefault(directory);

    /// <summary>All mounts of ours that nothing else is mounted on.</summary>
    public static IReadOnlyList<FuseMountPoint> List() => [.. Read(File.ReadLines("/proc/self/mountinfo"), null).Values];

    /// <summary>The last mounts on directories, or on one, where they are ours.</summary>
    internal static Dictionary<string, FuseMountPoint> Read(IEnumerable<string> lines, string? wanted)
    {
        Dictionary<string, FuseMountPoint> found = [];
        foreach (string line in lines)
        {
            // id parent major:minor root mount-point options [tags ...] - type source super-options
            string[] fields = line.Split(' ');
            int dash = Array.IndexOf(fields, "-");
            if (dash < 5 || dash + 3 >= fields.Length || Unescape(fields[4]) is not { } directory || (wanted is not null && directory != wanted))
            {
                continue;
            }

            found.Remove(directory);
            string[] device = fields[2].Split(':');
            string? owner = Array.Find(fields[dash + 3].Split(','), static option => option.StartsWith("user_id=", StringComparison.Ordinal));
            if (fields[dash + 1] is Type or BlockType && device.Length == 2
                && int.TryParse(device[0], NumberStyles.None, CultureInfo.InvariantCulture, out int major) && int.TryParse(device[1], NumberStyles.None, CultureInfo.InvariantCulture, out int minor)
                && owner is not null && uint.TryParse(owner.AsSpan("user_id=".Length), NumberStyles.None, CultureInfo.InvariantCulture, out uint user))
            {
                string source = Unescape(fields[dash + 2]);
                found.Add(directory, new FuseMountPoint(directory, major == 0 ? source : LoopDevice.FileOf(major, minor) ?? source, user, (major << FuseMountPoint.MinorBits) | minor));
            }
        }

        return found;
    }

    /// <summary>Space, tab, newline, backslash and # are written as three octal digits.</summary>
    internal static string Unescape(string field)
    {
        if (!field.Contains('\\', StringComparison.Ordinal))
        {
            return field;
        }

        StringBuilder plain = new();
        for (int i = 0; i < field.Length; i++)
        {
            if (field[i] == '\\' && i + 3 < field.Length && field.AsSpan(i + 1, 3).IndexOfAnyExceptInRange('0', '7') < 0)
            {
                plain.Append((char)(((field[i + 1] - '0') << 6) | ((field[i + 2] - '0') << 3) | (field[i + 3] - '0')));
                i += 3;
            }
            else
            {
                plain.Append(field[i]);
            }
        }

        return plain.ToString();
    }
}
