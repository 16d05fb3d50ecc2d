// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Exo.Adapters.Fuse.Messages;

/// <summary>Opcodes under the kernel's names.</summary>
internal static class FuseOpcodeNames
{
    public static string NameOf(FuseOpcode opcode) => opcode switch
    {
        FuseOpcode.Lookup => "LOOKUP",
        FuseOpcode.Forget => "FORGET",
        FuseOpcode.GetAttributes => "GETATTR",
        FuseOpcode.SetAttributes => "SETATTR",
        FuseOpcode.ReadLink => "READLINK",
        FuseOpcode.SymbolicLink => "SYMLINK",
        FuseOpcode.MakeNode => "MKNOD",
        FuseOpcode.MakeDirectory => "MKDIR",
        FuseOpcode.Unlink => "UNLINK",
        FuseOpcode.RemoveDirectory => "RMDIR",
        FuseOpcode.Rename => "RENAME",
        FuseOpcode.Link => "LINK",
        FuseOpcode.Open => "OPEN",
        FuseOpcode.Read => "READ",
        FuseOpcode.Write => "WRITE",
        FuseOpcode.StatFileSystem => "STATFS",
        FuseOpcode.Release => "RELEASE",
        FuseOpcode.FileSync => "FSYNC",
        FuseOpcode.SetExtendedAttribute => "SETXATTR",
        FuseOpcode.GetExtendedAttribute => "GETXATTR",
        FuseOpcode.ListExtendedAttributes => "LISTXATTR",
        FuseOpcode.RemoveExtendedAttribute => "REMOVEXATTR",
        FuseOpcode.Flush => "FLUSH",
        FuseOpcode.Initialise => "INIT",
        FuseOpcode.OpenDirectory => "OPENDIR",
        FuseOpcode.ReadDirectory => "READDIR",
        FuseOpcode.ReleaseDirectory => "RELEASEDIR",
        FuseOpcode.DirectorySync => "FSYNCDIR",
        FuseOpcode.Create => "CREATE",
        FuseOpcode.Interrupt => "INTERRUPT",
        FuseOpcode.Destroy => "DESTROY",
        FuseOpcode.IoControl => "IOCTL",
        FuseOpcode.BatchForget => "BATCH_FORGET",
        FuseOpcode.Allocate => "FALLOCATE",
        FuseOpcode.ReadDirectoryPlus => "READDIRPLUS",
        FuseOpcode.Rename2 => "RENAME2",
        FuseOpcode.Seek => "LSEEK",
        FuseOpcode.CopyFileRange => "COPY_FILE_RANGE",
        FuseOpcode.SyncFileSystem => "SYNCFS",
        FuseOpcode.CreateUnnamed => "TMPFILE",
        FuseOpcode.StatX => "STATX",
        _ => ((uint)opcode).ToString(CultureInfo.InvariantCulture),
    };
}
