// SPDX-License-Identifier: MIT
using Exo.Cli.HostTree;
using Exo.Cli.Verbs;
using Exo.FileSystems.CFFS;
using Exo.Net.Cheetah;
using Exo.Net.Cheetah.Pages;

namespace Exo.Cli.Transfer;

/// <content>
/// HTML-based grouping: a page and what it includes, in whichever directories, get one run of blocks, in the order in which a browser asks for them, so that a server fetches them with one read. What several pages include
/// lies with the first of them. Pages come before everything else, since what a page includes may be anywhere in the tree.
/// </content>
internal sealed partial class TreeImport
{
    // Longer files are not worth a page's waiting for them, and one run is no more than a server fetches at once.
    private const long IncludedBytesMax = 256 << 10;
    private const long RunBytesMax = 1 << 20;

    // Paths in the volume of what has been copied with a page.
    private readonly HashSet<byte[]> _placed = new(PathComparer.Instance);
    private CffsPlacement? _placement;

    /// <summary>Pages that were given a run.</summary>
    public int Pages { get; private set; }

    /// <summary>A file of a page's run: its path beneath the imported folder, which is the root of the site.</summary>
    private readonly record struct Placed(byte[] Path, HostStat Stat);

    private void PlacePages(HostDirectory root, HostDirectory folder, byte[] path, byte[] target)
    {
        List<byte[]> subdirectories = [];
        foreach (byte[] name in folder.ReadNames())
        {
            cancellation.ThrowIfCancellationRequested();
            try
            {
                HostStat stat = folder.Stat(name);
                if (stat.Type == HostStat.Directory)
                {
                    subdirectories.Add(name);
                }
                else if (stat.Type == HostStat.File && PageIncludes.IsPage(name))
                {
                    PlacePage(root, new Placed(Symbols.Join(path, name), stat), target);
                }
            }
            catch (HostException)
            {
                // It is tried again, and reported, with the rest of the tree.
            }
        }

        foreach (byte[] name in subdirectories)
        {
            try
            {
                using HostDirectory child = folder.OpenDirectory(name);
                PlacePages(root, child, Symbols.Join(path, name), target);
            }
            catch (HostException)
            {
                // As above.
            }
        }
    }

    private void PlacePage(HostDirectory root, in Placed page, byte[] target)
    {
        List<Placed> run = [];
        long runBytes = 0;
        if (_placed.Contains(InVolume(target, page.Path)) || !TryAdd(page))
        {
            return;
        }

        PageIncludes includes = new(page.Path, ReadBeginning(root, page.Path));
        for (int i = 0; i < includes.Paths.Count; i++)
        {
            byte[] path = includes.Paths[i];
            if (!_placed.Contains(InVolume(target, path)) && StatBeneath(root, path) is { Type: HostStat.File } stat && TryAdd(new Placed(path, stat)) && PageIncludes.IsStyleSheet(path))
            {
                includes.AddStyleSheet(path, ReadBeginning(root, path));
            }
        }

        using CffsPlacement placement = volume.SetAside(runBytes);
        _placement = placement;
        try
        {
            run.ForEach(placed => CopyPlaced(root, placed, InVolume(target, placed.Path)));
        }
        finally
        {
            _placement = null;
        }

        Pages++;

        bool TryAdd(in Placed file)
        {
            long blockBytes = (file.Stat.SizeBytes + CffsSpace.BlockBytes - 1) / CffsSpace.BlockBytes * CffsSpace.BlockBytes;
            if (file.Stat.SizeBytes > IncludedBytesMax || runBytes + blockBytes > RunBytesMax || file.Stat.Id == _imageFile)
            {
                return false;
            }

            runBytes += blockBytes;
            run.Add(file);
            return true;
        }
    }

    private void CopyPlaced(HostDirectory root, Placed placed, byte[] path)
    {
        cancellation.ThrowIfCancellationRequested();
        try
        {
            _ = Beneath(root, placed.Path, (folder, name) =>
            {
                MakeParents(path[..Math.Max(1, path.LastIndexOf((byte)'/'))]);
                CopyEntry(folder, name, placed.Stat, path);
                return _placed.Add(path);
            });
        }
        catch (HostException)
        {
            // It is tried again, and reported, with the rest of the tree.
        }
    }

    private static byte[] InVolume(byte[] target, byte[] path) => Symbols.Join(target, path.AsSpan(1));

    private static byte[] ReadBeginning(HostDirectory root, byte[] path) => Beneath(root, path, static (folder, name) =>
    {
        using HostFile file = folder.OpenFile(name);
        byte[] bytes = new byte[IncludedBytesMax];
        return bytes[..file.Read(bytes)];
    });

    /// <summary>Null for what is not there: what a page includes may be wrong.</summary>
    private static HostStat? StatBeneath(HostDirectory root, byte[] path)
    {
        try
        {
            return Beneath(root, path, static (folder, name) => folder.Stat(name));
        }
        catch (HostException)
        {
            return null;
        }
    }

    /// <summary>Does something with the directory and the last name of a path beneath the imported folder. No symbolic link on the way is followed.</summary>
    private static T Beneath<T>(HostDirectory root, ReadOnlySpan<byte> path, Func<HostDirectory, byte[], T> act)
    {
        HostDirectory folder = root;
        try
        {
            for (path = path[1..]; ;)
            {
                int slash = path.IndexOf((byte)'/');
                if (slash < 0)
                {
                    return act(folder, path.ToArray());
                }

                HostDirectory child = folder.OpenDirectory(path[..slash]);
                if (folder != root)
                {
                    folder.Dispose();
                }

                folder = child;
                path = path[(slash + 1)..];
            }
        }
        finally
        {
            if (folder != root)
            {
                folder.Dispose();
            }
        }
    }
}
