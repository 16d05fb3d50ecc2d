// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS;

/// <summary>What an inode is.</summary>
public enum CffsKind
{
    /// <summary>A regular file.</summary>
    File,

    /// <summary>A directory.</summary>
    Directory,

    /// <summary>A symbolic link.</summary>
    SymbolicLink,

    /// <summary>A character device node.</summary>
    CharacterDevice,

    /// <summary>A block device node.</summary>
    BlockDevice,

    /// <summary>A FIFO.</summary>
    Fifo,

    /// <summary>A UNIX socket's name.</summary>
    Socket,
}

/// <summary>The type bits of <c>st_mode</c>.</summary>
internal static class ModeBits
{
    public const ushort TypeMask = 0xF000;
    public const ushort File = 0x8000;
    public const ushort Directory = 0x4000;
    public const ushort SymbolicLink = 0xA000;
    public const ushort CharacterDevice = 0x2000;
    public const ushort BlockDevice = 0x6000;
    public const ushort Fifo = 0x1000;
    public const ushort Socket = 0xC000;
    public const ushort PermissionMask = 0x0FFF;
    public const ushort SetUser = 0x0800;
    public const ushort SetGroup = 0x0400;
    public const ushort Sticky = 0x0200;

    /// <summary>The mode without what lets a program run as its owner or group. Where the group may not execute, its bit means mandatory locking and stays.</summary>
    public static ushort WithoutSetId(ushort mode)
    {
        const ushort GroupExecute = 8;
        mode &= unchecked((ushort)~SetUser);
        return (mode & GroupExecute) != 0 ? (ushort)(mode & ~SetGroup) : mode;
    }

    public static CffsKind KindOf(ushort mode) => (mode & TypeMask) switch
    {
        Directory => CffsKind.Directory,
        SymbolicLink => CffsKind.SymbolicLink,
        CharacterDevice => CffsKind.CharacterDevice,
        BlockDevice => CffsKind.BlockDevice,
        Fifo => CffsKind.Fifo,
        Socket => CffsKind.Socket,
        _ => CffsKind.File,
    };
}
