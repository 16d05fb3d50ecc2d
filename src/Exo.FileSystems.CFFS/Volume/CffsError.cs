// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS;

/// <summary>Why C-FFS refused an operation. The numbers are Linux errno values, so that a mount can pass them on.</summary>
public enum CffsError
{
    /// <summary>The caller's identity lacks a right that the operation needs only the owner or superuser has (EPERM).</summary>
    NotPermitted = 1,

    /// <summary>A name on the path does not exist (ENOENT).</summary>
    NotFound = 2,

    /// <summary>The file was not opened for this, or there is no such handle (EBADF). What has been closed throws <see cref="ObjectDisposedException"/>.</summary>
    BadHandle = 9,

    /// <summary>The permission bits do not grant what was asked for (EACCES).</summary>
    AccessDenied = 13,

    /// <summary>The object is in use (EBUSY).</summary>
    Busy = 16,

    /// <summary>The name exists already (EEXIST).</summary>
    Exists = 17,

    /// <summary>A path component that must be a directory is not one (ENOTDIR).</summary>
    NotDirectory = 20,

    /// <summary>The object is a directory (EISDIR).</summary>
    IsDirectory = 21,

    /// <summary>An argument makes no sense for this object (EINVAL).</summary>
    Invalid = 22,

    /// <summary>The file would grow over the largest size (EFBIG).</summary>
    FileTooLarge = 27,

    /// <summary>The volume has no free block left (ENOSPC).</summary>
    NoSpace = 28,

    /// <summary>The volume is open for reading only (EROFS).</summary>
    ReadOnly = 30,

    /// <summary>The inode has as many links as it can count (EMLINK).</summary>
    TooManyLinks = 31,

    /// <summary>A name is longer than 255 bytes (ENAMETOOLONG).</summary>
    NameTooLong = 36,

    /// <summary>The directory is not empty (ENOTEMPTY).</summary>
    NotEmpty = 39,

    /// <summary>More than 40 symbolic links on one path (ELOOP).</summary>
    Loop = 40,

    /// <summary>The inode has no such extended attribute (ENODATA).</summary>
    NoAttribute = 61,

    /// <summary>The volume does not keep this kind of thing (EOPNOTSUPP).</summary>
    NotSupported = 95,

    /// <summary>The inode was removed while somebody still referred to it (ESTALE).</summary>
    Stale = 116,

    /// <summary>A structure on the disk contradicts itself or its checksum (EUCLEAN).</summary>
    Corrupt = 117,

    /// <summary>The image holds no C-FFS volume, or one of a version that this code does not know (EMEDIUMTYPE).</summary>
    NotCffs = 124,
}
