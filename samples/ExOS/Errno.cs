// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS;

namespace ExOS;

/// <summary>Why a call failed, with POSIX's names and Linux's numbers (which C-FFS has too).</summary>
internal enum Errno
{
    NotPermitted = 1,
    NotFound = 2,
    NoProcess = 3,
    Interrupted = 4,
    NotExecutable = 8,
    BadDescriptor = 9,
    NoChild = 10,
    TryAgain = 11,
    NoMemory = 12,
    AccessDenied = 13,
    Busy = 16,
    Exists = 17,
    CrossDevice = 18,
    NotDirectory = 20,
    IsDirectory = 21,
    Invalid = 22,
    IllegalSeek = 29,
    ReadOnly = 30,
    BrokenPipe = 32,
    ConnectionReset = 104,
    AddressInUse = 98,
    ConnectionRefused = 111,
}

/// <summary>A call that failed.</summary>
internal sealed class ExosException(Errno errno, string subject = "") : IOException(Text(errno, subject))
{
    public Errno Errno { get; } = errno;

    /// <summary>The number of any failed call's error.</summary>
    public static Errno Of(IOException error) => error switch
    {
        ExosException exos => exos.Errno,
        CffsException cffs => (Errno)cffs.Errno,
        _ => Errno.Invalid,
    };

    /// <summary>The message for people, without what it is about.</summary>
    public static string Text(Exception error) => error switch
    {
        ExosException exos => Text(exos.Errno),
        CffsException cffs => Text((Errno)cffs.Errno),
        _ => error.Message,
    };

    private static string Text(Errno errno, string subject) => subject.Length == 0 ? Text(errno) : $"{subject}: {Text(errno)}";

    private static string Text(Errno errno) => errno switch
    {
        Errno.NotPermitted => "Operation not permitted",
        Errno.NotFound => "No such file or directory",
        Errno.NoProcess => "No such process",
        Errno.Interrupted => "Interrupted system call",
        Errno.NotExecutable => "Exec format error",
        Errno.BadDescriptor => "Bad file descriptor",
        Errno.NoChild => "No child processes",
        Errno.TryAgain => "Resource temporarily unavailable",
        Errno.NoMemory => "Cannot allocate memory",
        Errno.AccessDenied => "Permission denied",
        Errno.Busy => "Device or resource busy",
        Errno.Exists => "File exists",
        Errno.CrossDevice => "Invalid cross-device link",
        Errno.NotDirectory => "Not a directory",
        Errno.IsDirectory => "Is a directory",
        Errno.Invalid => "Invalid argument",
        Errno.IllegalSeek => "Illegal seek",
        Errno.ReadOnly => "Read-only file system",
        Errno.BrokenPipe => "Broken pipe",
        Errno.ConnectionReset => "Connection reset by peer",
        Errno.AddressInUse => "Address already in use",
        Errno.ConnectionRefused => "Connection refused",
        (Errno)27 => "File too large",
        (Errno)28 => "No space left on device",
        (Errno)31 => "Too many links",
        (Errno)36 => "File name too long",
        (Errno)39 => "Directory not empty",
        (Errno)40 => "Too many levels of symbolic links",
        _ => $"Error {(int)errno}",
    };
}
