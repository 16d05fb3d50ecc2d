// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;

namespace Exo.Adapters.Fuse.Mounting;

/// <summary>The kernel's table of mounts (/proc/self/mountinfo), read without touching any mount.</summary>
internal static class MountTable
{
    public const string Type = "fuse.exo";

    /// <summary>The last mount on a directory: what it is made from, and the minor number of its device, which names the FUSE connection. Null when nothing of ours is there.</summary>
    public static (string Source, int ConnectionNumber)? Find(string directory)
    {
        (string, int)? found = null;
        foreach (string line in File.ReadLines("/proc/self/mountinfo"))
        {
            // id parent major:minor root mount-point options [tags ...] - type source super-options
            string[] fields = line.Split(' ');
            int dash = Array.IndexOf(fields, "-");
            if (dash < 0 || dash + 2 >= fields.Length || Unescape(fields[4]) != directory)
            {
                continue;
            }

            string[] device = fields[2].Split(':');
            found = fields[dash + 1] == Type && device.Length == 2 && int.TryParse(device[1], NumberStyles.None, CultureInfo.InvariantCulture, out int minor)
                ? (Unescape(fields[dash + 2]), minor)
                : null;
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
