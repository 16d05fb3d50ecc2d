// SPDX-License-Identifier: MIT
using System.Text;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Nodes;

namespace Exo.FileSystems.CFFS.Tests.Crashes.Ace;

/// <summary>What workloads do to a volume, by path: through its public surface where that has it, else as the mount does it.</summary>
internal sealed class AceVolume(CffsVolume volume)
{
    private readonly NodeDoor _door = new(volume);

    public CffsVolume Volume => volume;

    public void Write(string path, long offset, byte[] bytes)
    {
        using CffsFile file = volume.OpenFile(path, CffsOpenMode.Write);
        file.Write(offset < 0 ? file.Length : offset, bytes);
    }

    public void CloneRange(string from, long fromOffset, string to, long toOffset, long lengthBytes)
    {
        using CffsFile source = volume.OpenFile(from);
        using CffsFile target = volume.OpenFile(to, CffsOpenMode.Write);
        target.CloneRange(toOffset, source, fromOffset, lengthBytes);
    }

    public void SetLength(string path, long lengthBytes)
    {
        using CffsFile file = volume.OpenFile(path, CffsOpenMode.Write);
        file.SetLength(lengthBytes);
    }

    public void Allocate(string path, long offset, long lengthBytes, bool keepSize) => With(path, inode => _door.Allocate(inode, offset, lengthBytes, keepSize));

    public void Punch(string path, long offset, long lengthBytes) => With(path, inode => _door.Punch(inode, offset, lengthBytes));

    public void Zero(string path, long offset, long lengthBytes) => With(path, inode => _door.Zero(inode, offset, lengthBytes, keepSize: false));

    /// <summary>O_TMPFILE, write, linkat.</summary>
    public void CreateUnnamed(string path, byte[] bytes) => With(DirectoryOf(path), directory =>
    {
        Inode inode = _door.CreateUnnamed(directory, 0x81A4, 0, 0);
        try
        {
            _door.Write(inode, 0, bytes);
            _door.Link(inode, directory, NameOf(path));
        }
        finally
        {
            _door.Close(inode);
            _door.Release(inode);
        }
    });

    private static string DirectoryOf(string path) => path.LastIndexOf('/') is var cut and >= 0 ? path[..cut] : "";

    private static ReadOnlyMemory<byte> NameOf(string path) => Encoding.UTF8.GetBytes(path[(path.LastIndexOf('/') + 1)..]);

    private void With(string path, Action<Inode> action)
    {
        Inode inode = _door.Root;
        _door.Hold(inode);
        foreach (string name in path.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            Inode? next = _door.Lookup(inode, Encoding.UTF8.GetBytes(name));
            _door.Release(inode);
            inode = next ?? throw new CffsException(CffsError.NotFound, path);
        }

        try
        {
            action(inode);
        }
        finally
        {
            _door.Release(inode);
        }
    }
}
