// SPDX-License-Identifier: MIT
namespace ExOS.Files;

/// <summary>What a name stands for.</summary>
internal enum FileKind
{
    File,
    Directory,
    SymbolicLink,
    Device,
    Pipe,
    Socket,
}

/// <summary>What stat(2) tells.</summary>
internal readonly record struct FileStatus(FileKind Kind, int Permissions, long Size, ulong Inode = 0, uint Links = 1, uint User = 0, uint Group = 0, ulong Blocks = 0, DateTimeOffset Modified = default)
{
    public bool IsDirectory => Kind == FileKind.Directory;

    /// <summary>As ls shows it: <c>drwxr-xr-x</c>.</summary>
    public string Mode
    {
        get
        {
            char[] mode = ['?', 'r', 'w', 'x', 'r', 'w', 'x', 'r', 'w', 'x'];
            mode[0] = Kind switch { FileKind.Directory => 'd', FileKind.SymbolicLink => 'l', FileKind.Device => 'c', FileKind.Pipe => 'p', FileKind.Socket => 's', _ => '-' };
            for (int bit = 0; bit < 9; bit++)
            {
                mode[9 - bit] = (Permissions >> bit & 1) != 0 ? mode[9 - bit] : '-';
            }

            return new string(mode);
        }
    }
}

/// <summary>How a file is opened.</summary>
[Flags]
internal enum OpenFlags
{
    Read = 1,
    Write = 2,
    Create = 4,
    Truncate = 8,
    Append = 16,
    Exclusive = 32,
}

/// <summary>Space of a mounted tree, in blocks of 4 KiB.</summary>
internal readonly record struct TreeSpace(ulong Total, ulong Free);
