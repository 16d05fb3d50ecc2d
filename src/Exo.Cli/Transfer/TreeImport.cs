// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Cli.HostTree;
using Exo.Cli.Output;
using Exo.Cli.Verbs;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Transfer;

/// <summary>
/// Copies a host tree into a volume in one pass, directory by directory: the files of a directory are written one after another,
/// which is what lets C-FFS put them next to one another. A directory gets its attributes after its contents, so that its time survives them.
/// </summary>
internal sealed partial class TreeImport(CffsVolume volume, SyncReport synced, StepCounts counts, string imagePath, CancellationToken cancellation)
{
    private const int BufferBytes = 4 << 20;

    // First place in the volume of each host file with more than one name.
    private readonly Dictionary<HostFileId, byte[]> _linked = [];
    private readonly byte[] _buffer = GC.AllocateUninitializedArray<byte>(BufferBytes);
    private HostFileId? _imageFile;

    public int Files { get; private set; }

    public int Directories { get; private set; }

    public int Links { get; private set; }

    /// <summary>Host files that were left out, each with a line on standard error.</summary>
    public int Problems { get; private set; }

    /// <summary>Copies the contents and attributes of <paramref name="source"/> into the directory <paramref name="target"/>, pages with what they include first if they are to be grouped.</summary>
    public void Run(HostDirectory source, byte[] target, bool groupPages)
    {
        _imageFile = IdOf(imagePath);
        MakeParents(target);
        if (groupPages)
        {
            // Names are read once from each open directory.
            using HostDirectory site = source.OpenDirectory("."u8);
            PlacePages(site, site, "/"u8.ToArray(), target);
        }

        Copy(source, target);
        CopyAttributes(source, target);
        SetAttributes(target, source.Stat(default));
    }

    private void Copy(HostDirectory source, byte[] target)
    {
        // Files before subdirectories: nothing else is allocated between the files of one directory.
        List<(byte[] Name, HostStat Stat)> subdirectories = [];
        foreach (byte[] name in source.ReadNames())
        {
            cancellation.ThrowIfCancellationRequested();
            try
            {
                HostStat stat = source.Stat(name);
                if (stat.Type == HostStat.Directory)
                {
                    subdirectories.Add((name, stat));
                }
                else if (Symbols.Join(target, name) is { } path && !_placed.Contains(path))
                {
                    CopyEntry(source, name, stat, path);
                }
            }
            catch (HostException error)
            {
                Report(error);
            }
        }

        foreach ((byte[] name, HostStat stat) in subdirectories)
        {
            try
            {
                using HostDirectory child = source.OpenDirectory(name);
                byte[] path = Symbols.Join(target, name);
                MakeDirectory(path);
                Directories++;
                counts.Add(1, 0);
                Copy(child, path);
                CopyAttributes(child, path);
                SetAttributes(path, stat);
            }
            catch (HostException error)
            {
                Report(error);
            }
        }
    }

    private void CopyEntry(HostDirectory source, byte[] name, in HostStat stat, byte[] path)
    {
        if (stat.Id == _imageFile)
        {
            Console.Error.WriteLine($"exo import: {ByteText.Escape(source.PathOf(name))} is the image itself: left out");
            return;
        }

        if (stat.Links > 1 && _linked.TryGetValue(stat.Id, out byte[]? first))
        {
            Replacing(path, () => volume.CreateHardLink(first, path));
            Links++;
            Done(path, 0);
            return;
        }

        long bytes = 0;
        switch (stat.Type)
        {
            case HostStat.File:
                bytes = CopyFile(source, name, stat.IsSparse, path);
                Files++;
                break;
            case HostStat.SymbolicLink:
                byte[] linkTarget = source.ReadLink(name);
                Replacing(path, () => volume.CreateSymbolicLink(path, linkTarget));
                Links++;
                break;
            default:
                ushort mode = stat.Mode;
                ulong device = stat.DeviceNumber;
                Replacing(path, () => volume.CreateNode(path, mode, device));
                Files++;
                break;
        }

        SetAttributes(path, stat);
        if (stat.Links > 1)
        {
            _linked.Add(stat.Id, path);
        }

        Done(path, bytes);
    }

    private long CopyFile(HostDirectory source, byte[] name, bool isSparse, byte[] path)
    {
        using HostFile from = source.OpenFile(name);
        int count = isSparse ? 0 : from.Read(_buffer);
        (CffsFile to, bool replaces) = Create(path);
        try
        {
            using (to)
            {
                if (_placement is { } placement)
                {
                    to.PlaceIn(placement);
                }

                long end = isSparse ? CopyData(from, to) : CopyRest(from, to, count);
                foreach ((byte[] attribute, byte[] value) in from.ReadAttributes())
                {
                    SetAttribute(path, () => to.SetExtendedAttribute(attribute, value));
                }

                if (replaces)
                {
                    byte[] passing = Symbols.Join(ParentOf(path), Encoding.ASCII.GetBytes($".exo-import-{Random.Shared.NextInt64():x16}"));
                    to.CreateHardLink(passing);
                    volume.Rename(passing, path);
                }

                return end;
            }
        }
        catch when (!replaces)
        {
            RemoveHalf(path);
            throw;
        }
    }

    /// <summary>A new file; where the name is taken by anything but a directory, one without a name, so that what is there stays until its successor is whole.</summary>
    private (CffsFile File, bool Replaces) Create(byte[] path)
    {
        try
        {
            return (volume.OpenFile(path, CffsOpenMode.Write | CffsOpenMode.CreateNew), false);
        }
        catch (CffsException error) when (error.Error == CffsError.Exists
            && volume.Stat(path, followSymbolicLink: false).Kind != CffsKind.Directory)
        {
            return (volume.CreateUnnamedFile(ParentOf(path)), true);
        }
    }

    private void RemoveHalf(byte[] path)
    {
        try
        {
            volume.RemoveFile(path);
        }
        catch (IOException)
        {
            // The volume cannot be written any more, which is what is told.
        }
    }

    private static byte[] ParentOf(byte[] path) => path.AsSpan().LastIndexOf((byte)'/') is > 0 and var slash ? path[..slash] : "/"u8.ToArray();

    private long CopyRest(HostFile from, CffsFile to, int count)
    {
        long offset = 0;
        while (count > 0)
        {
            to.Write(offset, _buffer.AsSpan(0, count));
            offset += count;
            if (count < _buffer.Length)
            {
                break;
            }

            cancellation.ThrowIfCancellationRequested();
            count = from.Read(_buffer);
        }

        return offset;
    }

    /// <summary>Copies what is no hole, and makes the file as long as it was.</summary>
    private long CopyData(HostFile from, CffsFile to)
    {
        for (long end = 0, data; (data = from.SeekData(end)) >= 0;)
        {
            end = from.SeekHole(data);
            from.MoveTo(data);
            for (long offset = data; offset < end;)
            {
                cancellation.ThrowIfCancellationRequested();
                int count = from.Read(_buffer.AsSpan(0, (int)Math.Min(_buffer.Length, end - offset)));
                if (count == 0)
                {
                    break;
                }

                to.Write(offset, _buffer.AsSpan(0, count));
                offset += count;
            }

            if (end < 0)
            {
                // It has become shorter meanwhile.
                break;
            }
        }

        long length = from.Length;
        if (length > to.Length)
        {
            to.SetLength(length);
        }

        return length;
    }

    private void Done(byte[] path, long bytes)
    {
        counts.Add(1, bytes);
        synced.Add(path);
    }

    /// <summary>Makes an entry; when the name is taken by anything but a directory, that is removed first.</summary>
    private void Replacing(byte[] path, Action create)
    {
        try
        {
            create();
        }
        catch (CffsException error) when (error.Error == CffsError.Exists
            && volume.Stat(path, followSymbolicLink: false).Kind != CffsKind.Directory)
        {
            volume.RemoveFile(path);
            create();
        }
    }

    private void MakeDirectory(byte[] path)
    {
        try
        {
            volume.CreateDirectory(path);
        }
        catch (CffsException error) when (error.Error == CffsError.Exists
            && volume.Stat(path, followSymbolicLink: false).Kind == CffsKind.Directory)
        {
            // Merged.
        }
    }

    private void MakeParents(byte[] path)
    {
        for (int slash = path.AsSpan(1).IndexOf((byte)'/') + 1; slash > 0;)
        {
            MakeDirectory(path[..slash]);
            int next = path.AsSpan(slash + 1).IndexOf((byte)'/');
            slash = next < 0 ? 0 : slash + 1 + next;
        }

        if (path.Length > 1)
        {
            MakeDirectory(path);
        }
    }

    private void CopyAttributes(HostDirectory source, byte[] path)
    {
        foreach ((byte[] name, byte[] value) in source.ReadAttributes())
        {
            SetAttribute(path, () => volume.SetExtendedAttribute(path, name, value));
        }
    }

    /// <summary>The attributes of an inode share one block of the volume; hosts take more.</summary>
    private void SetAttribute(byte[] path, Action set)
    {
        try
        {
            set();
        }
        catch (CffsException tooMany) when (tooMany.Error == CffsError.NoSpace)
        {
            Problems++;
            Console.Error.WriteLine($"exo import: {Symbols.Show(path)}: {OneLine.Of(tooMany.Message)}");
        }
    }

    private void SetAttributes(byte[] path, in HostStat stat) => volume.SetAttributes(
        path,
        new CffsAttributeChange
        {
            Permissions = stat.Type == HostStat.SymbolicLink ? null : stat.Permissions,
            User = stat.User,
            Group = stat.Group,
            AccessTimeNs = stat.AccessTimeNs,
            ModifyTimeNs = stat.ModifyTimeNs,
        },
        followSymbolicLink: false);

    private void Report(HostException error)
    {
        Problems++;
        Console.Error.WriteLine($"exo import: {OneLine.Of(error.Message)}");
    }

    private static HostFileId? IdOf(string path)
    {
        try
        {
            using HostDirectory folder = HostDirectory.Open(Path.GetDirectoryName(Path.GetFullPath(path)) ?? "/");
            return folder.Stat(Encoding.UTF8.GetBytes(Path.GetFileName(path))).Id;
        }
        catch (IOException)
        {
            return null; // the volume is open, so the image can be read under some name; only the warning is lost
        }
    }
}
