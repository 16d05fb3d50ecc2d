// SPDX-License-Identifier: MIT
using ExOS.Terminals;

namespace ExOS.Files;

/// <summary><c>/dev</c>: null and tty.</summary>
internal sealed class DeviceTree(Terminal terminal) : FileTree
{
    public override string Kind => "dev";

    public override ValueTask<OpenFile> OpenAsync(string path, OpenFlags flags, int permissions) => new(path switch
    {
        "/null" => new NullFile(),
        "/tty" => new TerminalFile(terminal),
        "/" => throw new ExosException(Errno.IsDirectory),
        _ => throw new ExosException(Errno.NotFound),
    });

    public override FileStatus Stat(string path, bool followLink) => path switch
    {
        "/" => new FileStatus(FileKind.Directory, 0x1ED, 0, Links: 2),
        "/null" or "/tty" => new FileStatus(FileKind.Device, 0x1B6, 0),
        _ => throw new ExosException(Errno.NotFound),
    };

    public override IReadOnlyList<string> List(string path) => path == "/" ? ["null", "tty"] : throw new ExosException(Errno.NotDirectory);
}
