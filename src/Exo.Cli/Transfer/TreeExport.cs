// SPDX-License-Identifier: MIT
using Exo.Cli.HostTree;
using Exo.Cli.Output;
using Exo.Cli.Verbs;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Transfer;

/// <summary>
/// Copies a tree of a volume onto the host. The image may be a stranger's: every name is created relative to an open directory,
/// exclusively and without following links, so that nothing outside the target folder can be reached.
/// </summary>
internal sealed class TreeExport(CffsVolume volume, StepCounts counts, CancellationToken cancellation)
{
    private const int BufferBytes = 4 << 20;

    // Where the first name of an inode with several was made: its path below the root, name by name.
    private readonly Dictionary<ulong, byte[][]> _linked = [];
    private readonly byte[] _buffer = GC.AllocateUninitializedArray<byte>(BufferBytes);
    private readonly bool _keepOwner = Environment.IsPrivilegedProcess;
    private HostDirectory? _root;

    public int Files { get; private set; }

    public int Directories { get; private set; }

    public int Links { get; private set; }

    /// <summary>Entries that could not be made, each with a line on standard error.</summary>
    public int Problems { get; private set; }

    /// <summary>Copies the contents and attributes of the directory <paramref name="path"/> into <paramref name="target"/>.</summary>
    public void Run(byte[] path, HostDirectory target)
    {
        _root = target;
        Copy(path, target, []);
        CopyAttributes(path, target);
        target.SetAttributes(default, Attributes(volume.Stat(path)), _keepOwner);
    }

    private void Copy(byte[] path, HostDirectory target, byte[][] trail)
    {
        List<CffsDirectoryEntry> subdirectories = [];
        foreach (CffsDirectoryEntry entry in volume.ReadDirectory(path))
        {
            cancellation.ThrowIfCancellationRequested();
            if (entry.Kind == CffsKind.Directory)
            {
                subdirectories.Add(entry);
                continue;
            }

            Attempt(() => CopyEntry(Symbols.Join(path, entry.Name.Span), entry.Name.ToArray(), target, trail));
        }

        foreach (CffsDirectoryEntry entry in subdirectories)
        {
            Attempt(() =>
            {
                byte[] name = entry.Name.ToArray();
                byte[] child = Symbols.Join(path, name);
                target.TryMakeDirectory(name);
                using HostDirectory folder = target.OpenDirectory(name);
                Directories++;
                counts.Add(1, 0);
                Copy(child, folder, [.. trail, name]);
                CopyAttributes(child, folder);
                folder.SetAttributes(default, Attributes(volume.Stat(child, followSymbolicLink: false)), _keepOwner);
            });
        }
    }

    private void CopyEntry(byte[] path, byte[] name, HostDirectory target, byte[][] trail)
    {
        CffsStat stat = volume.Stat(path, followSymbolicLink: false);
        if (stat.Links > 1 && _linked.TryGetValue(stat.Inode, out byte[][]? first))
        {
            LinkTo(first, name, target);
            Links++;
            counts.Add(1, 0);
            return;
        }

        long bytes = 0;
        switch (stat.Kind)
        {
            case CffsKind.File:
                bytes = CopyFile(path, name, target);
                Files++;
                break;
            case CffsKind.SymbolicLink:
                target.MakeSymbolicLink(volume.ReadSymbolicLink(path), name);
                Links++;
                break;
            default:
                target.MakeNode(name, (ushort)(Attributes(stat).Type | 0x180), stat.DeviceNumber);
                Files++;
                break;
        }

        target.SetAttributes(name, Attributes(stat), _keepOwner);
        if (stat.Links > 1)
        {
            _linked.Add(stat.Inode, [.. trail, name]);
        }

        counts.Add(1, bytes);
    }

    private long CopyFile(byte[] path, byte[] name, HostDirectory target)
    {
        using CffsFile from = volume.OpenFile(path, CffsOpenMode.Read | CffsOpenMode.NoFollow);
        using HostFile to = target.CreateFile(name);
        try
        {
            return CopyContents(from, to);
        }
        catch
        {
            // Half a file is none, and would be in the way of the next export.
            target.TryRemoveFile(name);
            throw;
        }
    }

    private long CopyContents(CffsFile from, HostFile to)
    {
        long length = from.Length;
        for (long end = 0, data; (data = from.SeekData(end)) >= 0;)
        {
            if (data > end)
            {
                to.MoveTo(data);
            }

            end = from.SeekHole(data);
            for (long offset = data; offset < end;)
            {
                int count = from.Read(offset, _buffer.AsSpan(0, (int)Math.Min(_buffer.Length, end - offset)));
                to.Write(_buffer.AsSpan(0, count));
                offset += count;
                cancellation.ThrowIfCancellationRequested();
            }
        }

        if (from.SeekHole(0) is >= 0 and var hole && hole < length)
        {
            // The last hole is written by nothing.
            to.SetLength(length);
        }

        foreach (byte[] attribute in from.ListExtendedAttributes().Where(IsKept))
        {
            SetAttribute(() => to.SetAttribute(attribute, from.GetExtendedAttribute(attribute)));
        }

        return length;
    }

    private void CopyAttributes(byte[] path, HostDirectory target)
    {
        foreach (byte[] attribute in volume.ListExtendedAttributes(path, followSymbolicLink: false).Where(IsKept))
        {
            SetAttribute(() => target.SetAttribute(attribute, volume.GetExtendedAttribute(path, attribute, followSymbolicLink: false)));
        }
    }

    /// <summary>A list names users as owners do, and is kept where they are.</summary>
    private bool IsKept(byte[] attribute) => HostAttributes.IsUsers(attribute) || (_keepOwner && HostAttributes.IsAccessList(attribute));

    /// <summary>Where the host keeps no attributes, or not so many, the file is there without.</summary>
    private void SetAttribute(Action set)
    {
        try
        {
            set();
        }
        catch (HostException error)
        {
            Problems++;
            Console.Error.WriteLine($"exo export: {OneLine.Of(error.Message)}");
        }
    }

    private void LinkTo(byte[][] first, byte[] name, HostDirectory target)
    {
        HostDirectory directory = _root!;
        try
        {
            foreach (byte[] step in first.AsSpan(0, first.Length - 1))
            {
                HostDirectory next = directory.OpenDirectory(step);
                if (directory != _root)
                {
                    directory.Dispose();
                }

                directory = next;
            }

            target.MakeHardLink(directory, first[^1], name);
        }
        finally
        {
            if (directory != _root)
            {
                directory.Dispose();
            }
        }
    }

    private void Attempt(Action copy)
    {
        try
        {
            copy();
        }
        catch (Exception error) when (error is HostException { Errno: not 28 } or InvalidDataException)
        {
            // ENOSPC (28) ends the work: every further file would fail the same way.
            Problems++;
            Console.Error.WriteLine($"exo export: {OneLine.Of(error.Message)}");
        }
    }

    private static HostStat Attributes(in CffsStat stat) => new(
        default, stat.Mode, stat.Links, stat.User, stat.Group, stat.Size, stat.AccessTimeNs, stat.ModifyTimeNs, stat.DeviceNumber);
}
