// SPDX-License-Identifier: MIT
using System.Text;
using Exo.FileSystems.CFFS;

namespace Exo.Adapters.FileProvider;

/// <summary>
/// The directory that is provided, and the rules for names in it. Everything is asked as somebody who is confined to it, so that neither <c>..</c> nor a symbolic link nor a rename by others leads out; names
/// with <c>..</c> in them are refused before, as other providers do.
/// </summary>
internal sealed class ProvidedTree : IDisposable
{
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private readonly CffsVolume volume;
    private readonly CffsDirectory root;
    private readonly CffsIdentity guest;
    private readonly CffsIdentity observer;
    private readonly bool includesHidden;

    public ProvidedTree(CffsVolume volume, CffsFileProviderOptions options)
    {
        this.volume = volume;
        includesHidden = options.IncludesHidden;
        root = volume.OpenDirectory(options.Root, options.Identity);
        guest = root.Confine(options.Identity);
        observer = root.Confine();
    }

    /// <summary>What an error says about a name: it is not there for us.</summary>
    public static bool IsAbsence(CffsException error) => error.Error is CffsError.NotFound or CffsError.NotDirectory or CffsError.IsDirectory
        or CffsError.AccessDenied or CffsError.NameTooLong or CffsError.Loop or CffsError.Invalid;

    /// <summary>The path in its one form: components joined by single slashes, none at either end; empty is the root. Null: nothing can be there.</summary>
    public string? Normalize(string path)
    {
        string[] names = path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        return path.Contains('\0', StringComparison.Ordinal) || names.Any(name => name == ".." || (name != "." && IsHidden(name)))
            ? null
            : string.Join('/', names.Where(name => name != "."));
    }

    /// <summary>The attributes of a file or directory; null: it is not there, is neither, or may not be read.</summary>
    public CffsStat? TryStat(string path)
    {
        try
        {
            CffsStat stat = volume.Stat(path, followSymbolicLink: true, guest);
            return MayRead(stat) ? stat : null;
        }
        catch (CffsException absent) when (IsAbsence(absent))
        {
            return null;
        }
    }

    /// <exception cref="CffsException">As of <see cref="CffsVolume.OpenFile(string, CffsOpenMode, ushort, CffsIdentity?)"/>.</exception>
    public CffsFile Open(string path) => volume.OpenFile(path, CffsOpenMode.Read, 0, guest);

    /// <summary>It is a directory whose entries we may see.</summary>
    public bool MayList(string path)
    {
        using CffsDirectoryReader? entries = TryRead(path);
        return entries is not null;
    }

    /// <summary>The entries of a directory that can be named by a string and are there for us; none when it has gone.</summary>
    public IEnumerable<CffsFileInfo> List(string path)
    {
        using CffsDirectoryReader? entries = TryRead(path);
        while (entries is not null && entries.Next())
        {
            if (TryName(entries.Name) is not { } name || IsHidden(name))
            {
                continue;
            }

            string entryPath = path.Length == 0 ? name : $"{path}/{name}";
            CffsStat? stat = entries.Kind switch
            {
                CffsKind.File or CffsKind.Directory => TryStat(entries),
                CffsKind.SymbolicLink => TryStat(entryPath),
                _ => null,
            };
            if (stat is { } found && MayRead(found))
            {
                yield return new CffsFileInfo(this, entryPath, name, found);
            }
        }
    }

    /// <summary>Watches everything in the tree.</summary>
    public CffsWatch Watch(int capacity) => volume.Watch("/", subtree: true, capacity, observer);

    public void Dispose() => root.Dispose();

    private static CffsStat? TryStat(CffsDirectoryReader entries)
    {
        try
        {
            return entries.Stat();
        }
        catch (CffsException gone) when (gone.Error == CffsError.NotFound)
        {
            return null;
        }
    }

    private static string? TryName(ReadOnlySpan<byte> bytes)
    {
        try
        {
            return Strict.GetString(bytes);
        }
        catch (DecoderFallbackException)
        {
            return null;
        }
    }

    private CffsDirectoryReader? TryRead(string path)
    {
        try
        {
            using CffsDirectory directory = volume.OpenDirectory(path, guest);
            return directory.Read(identity: guest);
        }
        catch (CffsException absent) when (IsAbsence(absent))
        {
            return null;
        }
    }

    private bool MayRead(in CffsStat stat)
    {
        int shift = guest.User == stat.User ? 6 : guest.IsInGroup(stat.Group) ? 3 : 0;
        return stat.Kind is CffsKind.File or CffsKind.Directory && (guest.IsSuperuser || ((stat.Permissions >> shift) & 4) != 0);
    }

    private bool IsHidden(string name) => !includesHidden && name.StartsWith('.');
}
