// SPDX-License-Identifier: MIT
namespace Exo.Adapters.Fuse.Messages;

/// <summary>enum fuse_opcode (linux/fuse.h, protocol 7.40).</summary>
internal enum FuseOpcode : uint
{
    Lookup = 1,
    Forget = 2,
    GetAttributes = 3,
    SetAttributes = 4,
    ReadLink = 5,
    SymbolicLink = 6,
    MakeNode = 8,
    MakeDirectory = 9,
    Unlink = 10,
    RemoveDirectory = 11,
    Rename = 12,
    Link = 13,
    Open = 14,
    Read = 15,
    Write = 16,
    StatFileSystem = 17,
    Release = 18,
    FileSync = 20,
    SetExtendedAttribute = 21,
    GetExtendedAttribute = 22,
    ListExtendedAttributes = 23,
    RemoveExtendedAttribute = 24,
    Flush = 25,
    Initialise = 26,
    OpenDirectory = 27,
    ReadDirectory = 28,
    ReleaseDirectory = 29,
    DirectorySync = 30,
    Create = 35,
    Interrupt = 36,
    Destroy = 38,
    IoControl = 39,
    BatchForget = 42,
    Allocate = 43,
    ReadDirectoryPlus = 44,
    Rename2 = 45,
    Seek = 46,
    CopyFileRange = 47,
    SyncFileSystem = 50,
    CreateUnnamed = 51,
    StatX = 52,
}

/// <summary>Flags of FUSE_INIT, the low 32 bits.</summary>
[Flags]
internal enum FuseFeatures : uint
{
    None = 0,
    AsyncRead = 1 << 0,
    AtomicTruncate = 1 << 3,
    ExportSupport = 1 << 4,
    BigWrites = 1 << 5,
    NoMask = 1 << 6,
    ReadDirectoryPlus = 1 << 13,
    ReadDirectoryPlusAuto = 1 << 14,
    AsyncDirectIO = 1 << 15,
    WritebackCache = 1 << 16,
    NoOpen = 1 << 17,
    ParallelDirectoryOperations = 1 << 18,
    AccessLists = 1 << 20,
    MaxPages = 1 << 22,
    CacheSymbolicLinks = 1 << 23,
    NoOpenDirectory = 1 << 24,
    HandleKillPrivilegesV2 = 1 << 28,
    SetAttributeExtended = 1 << 29,
    Extended = 1 << 30,
}

/// <summary>Error numbers that the protocol needs beside those of C-FFS.</summary>
internal static class FuseErrno
{
    public const int ENOENT = 2;
    public const int EIO = 5;
    public const int ENXIO = 6;
    public const int EBADF = 9;
    public const int EAGAIN = 11;
    public const int EINVAL = 22;
    public const int ENOTTY = 25;
    public const int ERANGE = 34;
    public const int ENOSYS = 38;
    public const int EPROTO = 71;
    public const int EOPNOTSUPP = 95;
}
