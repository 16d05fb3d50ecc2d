// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text.Json;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Output;

/// <summary>Attributes of an inode as text and as JSON: the same words in every verb.</summary>
internal static class StatText
{
    private const long TicksPerUnixEpoch = 621_355_968_000_000_000;

    public static string Kind(CffsKind kind) => kind switch
    {
        CffsKind.File => "file",
        CffsKind.Directory => "directory",
        CffsKind.SymbolicLink => "symbolic link",
        CffsKind.CharacterDevice => "character device",
        CffsKind.BlockDevice => "block device",
        CffsKind.Fifo => "fifo",
        CffsKind.Socket => "socket",
        _ => "unknown",
    };

    /// <summary>As <c>ls -l</c> writes it: drwxr-sr-t.</summary>
    public static string Permissions(CffsKind kind, ushort permissions)
    {
        Span<char> text = stackalloc char[10];
        text[0] = kind switch
        {
            CffsKind.Directory => 'd',
            CffsKind.SymbolicLink => 'l',
            CffsKind.CharacterDevice => 'c',
            CffsKind.BlockDevice => 'b',
            CffsKind.Fifo => 'p',
            CffsKind.Socket => 's',
            _ => '-',
        };
        for (int i = 0; i < 9; i++)
        {
            text[i + 1] = (permissions >> (8 - i) & 1) != 0 ? "rwx"[i % 3] : '-';
        }

        Special(text, permissions & 0x800, 3, 's', 'S');
        Special(text, permissions & 0x400, 6, 's', 'S');
        Special(text, permissions & 0x200, 9, 't', 'T');
        return text.ToString();

        static void Special(Span<char> letters, int bit, int at, char withExecute, char without)
        {
            if (bit != 0)
            {
                letters[at] = letters[at] == 'x' ? withExecute : without;
            }
        }
    }

    public static string Octal(ushort permissions) => Convert.ToString(permissions, 8).PadLeft(4, '0');

    /// <summary>UTC to the second: 2026-01-02 03:04:05.</summary>
    public static string TimeShort(long timeNs) => At(timeNs, out _).ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture);

    /// <summary>UTC to the nanosecond, ISO 8601.</summary>
    public static string Time(long timeNs)
    {
        DateTime second = At(timeNs, out long nanoseconds);
        return string.Create(CultureInfo.InvariantCulture, $"{second:yyyy-MM-ddTHH:mm:ss}.{nanoseconds:000000000}Z");
    }

    /// <summary>A device number as major, minor.</summary>
    public static string Device(ulong number) =>
        string.Create(CultureInfo.InvariantCulture, $"{number >> 8 & 0xFFF},{(number & 0xFF) | (number >> 12 & 0xFFFFFF00)}");

    /// <summary>The members that describe an inode, into an open JSON object.</summary>
    public static void WriteJson(Utf8JsonWriter json, in CffsStat stat)
    {
        json.WriteString("kind", Kind(stat.Kind));
        json.WriteNumber("inode", stat.Inode);
        json.WriteString("mode", Octal(stat.Permissions));
        json.WriteNumber("links", stat.Links);
        json.WriteNumber("user", stat.User);
        json.WriteNumber("group", stat.Group);
        json.WriteNumber("size", stat.Size);
        json.WriteNumber("allocatedBlocks", stat.AllocatedBlocks);
        if (stat.Kind is CffsKind.CharacterDevice or CffsKind.BlockDevice)
        {
            json.WriteString("device", Device(stat.DeviceNumber));
        }

        json.WriteString("accessTime", Time(stat.AccessTimeNs));
        json.WriteString("modifyTime", Time(stat.ModifyTimeNs));
        json.WriteString("changeTime", Time(stat.ChangeTimeNs));
        json.WriteString("birthTime", Time(stat.BirthTimeNs));
    }

    // DateTime ends at the year 9999 and a stored time is any 64-bit number of nanoseconds, which ends at 2262: it always fits.
    private static DateTime At(long timeNs, out long nanoseconds)
    {
        long seconds = Math.DivRem(timeNs, 1_000_000_000, out nanoseconds);
        if (nanoseconds < 0)
        {
            seconds--;
            nanoseconds += 1_000_000_000;
        }

        return new DateTime(TicksPerUnixEpoch, DateTimeKind.Utc).AddSeconds(seconds);
    }
}
