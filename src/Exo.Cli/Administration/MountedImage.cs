// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Adapters.Fuse;
using Exo.Cli.Output;
using Exo.Core.Blocks;
using Exo.Core.Blocks.Nbd;
using Exo.Core.Linux;

namespace Exo.Cli.Administration;

/// <summary>Finds the mount that a command line means, by the image or by the directory.</summary>
internal static unsafe class MountedImage
{
    /// <summary>
    /// The mount on a directory, or else one of an image; null where there is none. Anybody may mount something and call it whatever he likes, so a mount is taken for an image's only when it is the superuser's, one's own,
    /// or that of the image's owner.
    /// </summary>
    /// <param name="image">As the command line has it.</param>
    public static FuseMountPoint? Find(string image) => Find(image, FuseMount.ListMounts());

    /// <summary>As <see cref="Find(string)"/>, among these mounts.</summary>
    internal static FuseMountPoint? Find(string image, IReadOnlyList<FuseMountPoint> mounts)
    {
        if (mounts.Count == 0)
        {
            return null;
        }

        string name = RealName(image);
        foreach (FuseMountPoint mount in mounts)
        {
            if (mount.Directory == name)
            {
                return mount;
            }
        }

        foreach (FuseMountPoint mount in mounts)
        {
            if (RealName(mount.Source) == name && (mount.User == 0 || mount.User == Libc.EffectiveUser() || mount.User == OwnerOf(image)))
            {
                return mount;
            }
        }

        return null;
    }

    /// <summary>What somebody who needs an image for himself can do about its mount.</summary>
    public static string Advice(FuseMountPoint mount) => $"use its files there, or unmount it first (exo umount {mount.Directory})";

    /// <summary>Why something could not be opened, where that is because it is mounted; else null.</summary>
    public static string? Explain(Exception error) => error is BlockDeviceException { Errno: Errno.EBUSY } busy && Find(busy.Path) is { } mount
        ? OneLine.Of($"{busy.Path} is mounted on {mount.Directory}; {Advice(mount)}")
        : null;

    /// <summary>An absolute path without symbolic links, with the partition behind it; what is no path as it is.</summary>
    private static string RealName(string image)
    {
        if (NbdUri.IsNbd(image) || image.Length == 0 || image.Contains('\0', StringComparison.Ordinal))
        {
            return image;
        }

        (string file, string? partition) = PartitionPath.Split(image, new BlockDeviceOptions());
        string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(file));
        int fd;
        fixed (byte* path = Encoding.UTF8.GetBytes(full + '\0'))
        {
            // As a place only: what is mounted there, or a disk, is not touched.
            fd = Libc.Open(path, FolderAbi.O_PATH | Abi.O_CLOEXEC, 0);
        }

        if (fd >= 0)
        {
            full = new FileInfo($"/proc/self/fd/{fd}").LinkTarget ?? full;
            Libc.Close(fd);
        }

        return partition is null ? full : $"{full}#{partition}";
    }

    private static uint? OwnerOf(string image)
    {
        (string file, string? _) = NbdUri.IsNbd(image) ? ("", null) : PartitionPath.Split(image, new BlockDeviceOptions());
        StatxBuffer status;
        fixed (byte* path = Encoding.UTF8.GetBytes(file + '\0'))
        {
            return Libc.Statx(Abi.AT_FDCWD, path, 0, Abi.STATX_BASIC_STATS, &status) == 0 ? status.User : null;
        }
    }
}
