// SPDX-License-Identifier: MIT
namespace ExOS.Files;

/// <summary>Which tree is where. A path belongs to the mount with the longest prefix of it; <c>..</c> is taken back name by name, and symbolic links lead within their tree.</summary>
internal sealed class MountTable : IDisposable
{
    private readonly Lock _lock = new();
    private List<Mount> _mounts = [];

    /// <summary>A mounted tree.</summary>
    /// <param name="Path">Where.</param>
    /// <param name="Tree">What.</param>
    /// <param name="Source">What it was made from, for people.</param>
    internal readonly record struct Mount(string Path, FileTree Tree, string Source);

    public IReadOnlyList<Mount> All => Volatile.Read(ref _mounts);

    /// <exception cref="ExosException">Busy: something is mounted there.</exception>
    public void Add(string path, FileTree tree, string source)
    {
        lock (_lock)
        {
            if (_mounts.Exists(mount => mount.Path == path))
            {
                throw new ExosException(Errno.Busy, path);
            }

            Volatile.Write(ref _mounts, [.. _mounts, new Mount(path, tree, source)]);
        }
    }

    /// <summary>Takes a tree away and closes it. Files of it that are open must be closed before: it is the operator's affair.</summary>
    /// <exception cref="ExosException">Invalid: nothing is mounted there; Busy: the root, or something is mounted below.</exception>
    public void Remove(string path)
    {
        Mount gone;
        lock (_lock)
        {
            gone = _mounts.Find(mount => mount.Path == path);
            if (gone.Tree is null)
            {
                throw new ExosException(Errno.Invalid, path);
            }

            if (path == "/" || _mounts.Exists(mount => mount.Path.StartsWith(path + "/", StringComparison.Ordinal)))
            {
                throw new ExosException(Errno.Busy, path);
            }

            Volatile.Write(ref _mounts, [.. _mounts.Where(mount => mount.Path != path)]);
        }

        gone.Tree.Dispose();
    }

    /// <summary>The tree that a path leads to, and the path in it.</summary>
    /// <param name="path">An absolute path without <c>.</c> and <c>..</c>.</param>
    public (FileTree Tree, string Path) Find(string path)
    {
        Mount best = default;
        foreach (Mount mount in All)
        {
            bool isPrefix = mount.Path == "/" || path == mount.Path || path.StartsWith(mount.Path + "/", StringComparison.Ordinal);
            if (isPrefix && (best.Tree is null || mount.Path.Length > best.Path.Length))
            {
                best = mount;
            }
        }

        string rest = best.Path == "/" ? path : path[best.Path.Length..];
        return (best.Tree!, rest.Length == 0 ? "/" : rest);
    }

    /// <summary>An absolute path without empty names, <c>.</c> and <c>..</c>.</summary>
    public static string Normalise(string workingDirectory, string path)
    {
        List<string> names = [];
        foreach (string name in (path.StartsWith('/') ? path : workingDirectory + "/" + path).Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            if (name == "..")
            {
                names.RemoveRange(Math.Max(0, names.Count - 1), Math.Min(1, names.Count));
            }
            else if (name != ".")
            {
                names.Add(name);
            }
        }

        return "/" + string.Join('/', names);
    }

    public void Dispose()
    {
        for (int i = All.Count - 1; i >= 0; i--)
        {
            All[i].Tree.Dispose();
        }
    }
}
