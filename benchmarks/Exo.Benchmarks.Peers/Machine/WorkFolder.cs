// SPDX-License-Identifier: MIT
namespace Exo.Benchmarks.Peers.Machine;

/// <summary>A folder for what a run makes, and the things that must be undone in reverse order when it ends, however it ends.</summary>
internal sealed class WorkFolder : IDisposable
{
    private readonly Stack<Action> _undo = new();
    private readonly Lock _lock = new();

    public WorkFolder()
    {
        Root = Directory.CreateTempSubdirectory("exo-peers-").FullName;
        Undo(() => Directory.Delete(Root, recursive: true));
    }

    public string Root { get; }

    public string this[string name] => Path.Combine(Root, name);

    public void Undo(Action action)
    {
        lock (_lock)
        {
            _undo.Push(action);
        }
    }

    /// <summary>An ext4 file system on a loop device over a file here, mounted; its mount point.</summary>
    public string MountExt4(string name, long sizeBytes, int inodes = 200_000)
    {
        string image = this[name + ".ext4"];
        Tool.Allocate(image, sizeBytes);

        Tool.Run("mkfs.ext4", "-q", "-F", "-E", "nodiscard", "-N", inodes.ToString(System.Globalization.CultureInfo.InvariantCulture), image);
        string device = Tool.Run("losetup", "-f", "--show", "--direct-io=on", image).Trim();
        Undo(() => Tool.Run("losetup", "-d", device));
        string mount = Directory.CreateDirectory(this[name]).FullName;
        Tool.Run("mount", "-o", "noatime", device, mount);
        Undo(() => Tool.Run("umount", mount));
        return mount;
    }

    public void Dispose()
    {
        lock (_lock)
        {
            while (_undo.TryPop(out Action? action))
            {
                try
                {
                    action();
                }
                catch (Exception failure) when (failure is InvalidOperationException or IOException)
                {
                    Console.Error.WriteLine($"could not clean up: {failure.Message}");
                }
            }
        }
    }
}
