// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Microsoft.Win32.SafeHandles;

namespace Exo.Net.Cheetah.Folders;

/// <summary>Whether anybody may be writing to a file that is being read.</summary>
internal enum WriterState : byte
{
    /// <summary>Nobody has it open for writing or mapped so, and whoever opens it waits until it has been read.</summary>
    Excluded,

    /// <summary>Not known: leases are for a file's owner and for CAP_LEASE, and not for every file system.</summary>
    Unknown,

    /// <summary>Somebody has it open for writing.</summary>
    Present,
}

/// <summary>
/// A read lease (fcntl(2), F_SETLEASE). One long call of write(2) sets a file's times once, before its first byte, so that no time tells a file that is half overwritten from one at rest: only that
/// nobody has it open for writing does. The news that somebody waits comes as SIGURG, which is ignored unless somebody asks for it; the lease is given up in a moment anyway.
/// </summary>
internal readonly struct ReadLease : IDisposable
{
    private readonly SafeFileHandle file;

    private ReadLease(SafeFileHandle file, WriterState writer)
    {
        this.file = file;
        Writer = writer;
    }

    public WriterState Writer { get; }

    /// <summary>
    /// How old the last change must be before the file is read: for a time stamp to differ from it, two ticks of the slowest kernel clock (100 Hz), by which file systems tell the time; and longer than calls
    /// of write(2) last where there may be one.
    /// </summary>
    public TimeSpan Rest => TimeSpan.FromMilliseconds(Writer switch { WriterState.Excluded => 20, WriterState.Unknown => 100, _ => 1000 });

    public static ReadLease Take(SafeFileHandle file)
    {
        int fd = (int)file.DangerousGetHandle();
        bool isTaken = Libc.FileControl(fd, FolderAbi.F_SETSIG, FolderAbi.SIGURG) == 0 && Libc.FileControl(fd, FolderAbi.F_SETLEASE, FolderAbi.F_RDLCK) == 0;
        return new ReadLease(file, isTaken ? WriterState.Excluded : Errno.Last == Errno.EAGAIN ? WriterState.Present : WriterState.Unknown);
    }

    public void Dispose()
    {
        if (Writer == WriterState.Excluded)
        {
            _ = Libc.FileControl((int)file.DangerousGetHandle(), FolderAbi.F_SETLEASE, FolderAbi.F_UNLCK);
        }
    }
}
