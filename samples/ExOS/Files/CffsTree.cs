// SPDX-License-Identifier: MIT
using System.Text;
using Exo.FileSystems.CFFS;

namespace ExOS.Files;

/// <summary>A volume of C-FFS.</summary>
/// <param name="volume">The volume.</param>
/// <param name="ownsVolume">Whether it is closed with the tree.</param>
internal sealed class CffsTree(CffsVolume volume, bool ownsVolume = false) : FileTree
{
    public override string Kind => "cffs";

    public CffsVolume Volume => volume;

    public override TreeSpace? Space => volume.GetSpace() is var space ? new TreeSpace(space.TotalBlocks, space.FreeBlocks) : null;

    public static FileStatus StatusOf(CffsStat stat) => new(
        stat.Kind switch { CffsKind.Directory => FileKind.Directory, CffsKind.SymbolicLink => FileKind.SymbolicLink, CffsKind.File => FileKind.File, _ => FileKind.Device },
        stat.Permissions, stat.Size, stat.Inode, stat.Links, stat.User, stat.Group, stat.AllocatedBlocks, DateTimeOffset.UnixEpoch.AddTicks(stat.ModifyTimeNs / 100));

    public override async ValueTask<OpenFile> OpenAsync(string path, OpenFlags flags, int permissions)
    {
        CffsOpenMode mode = CffsOpenMode.None;
        mode |= flags.HasFlag(OpenFlags.Read) ? CffsOpenMode.Read : CffsOpenMode.None;
        mode |= flags.HasFlag(OpenFlags.Write) ? CffsOpenMode.Write : CffsOpenMode.None;
        mode |= flags.HasFlag(OpenFlags.Create) ? CffsOpenMode.Create : CffsOpenMode.None;
        mode |= flags.HasFlag(OpenFlags.Exclusive) ? CffsOpenMode.CreateNew : CffsOpenMode.None;
        mode |= flags.HasFlag(OpenFlags.Truncate) ? CffsOpenMode.Truncate : CffsOpenMode.None;
        CffsFile file = await volume.OpenFileAsync(path, mode, (ushort)permissions);
        return new DiskFile(file, path, flags.HasFlag(OpenFlags.Append));
    }

    public override FileStatus Stat(string path, bool followLink) => StatusOf(volume.Stat(path, followLink));

    public override IReadOnlyList<string> List(string path) => [.. volume.ReadDirectory(path).Select(entry => entry.NameString)];

    public override void MakeDirectory(string path, int permissions) => volume.CreateDirectory(path, (ushort)permissions);

    public override void Remove(string path, bool isDirectory)
    {
        if (isDirectory)
        {
            volume.RemoveDirectory(path);
        }
        else
        {
            volume.RemoveFile(path);
        }
    }

    public override void Rename(string from, string to) => volume.Rename(from, to);

    public override void Link(string existing, string path) => volume.CreateHardLink(existing, path);

    public override void SymbolicLink(string target, string path) => volume.CreateSymbolicLink(path, target);

    public override string ReadLink(string path) => Encoding.UTF8.GetString(volume.ReadSymbolicLink(path));

    protected override void Dispose(bool disposing)
    {
        if (ownsVolume)
        {
            volume.Dispose();
        }

        base.Dispose(disposing);
    }
}
