// SPDX-License-Identifier: MIT
using Exo.Adapters.FileProvider.Watching;
using Exo.FileSystems.CFFS;
using Microsoft.Extensions.FileProviders;
using Microsoft.Extensions.Primitives;

namespace Exo.Adapters.FileProvider;

/// <summary>
/// The files of a C-FFS volume for whatever takes an <see cref="IFileProvider"/>: static files, Razor, configuration.
/// <code>
/// using var files = new CffsFileProvider(volume, new CffsFileProviderOptions { Root = "/www" });
/// app.UseStaticFiles(new StaticFileOptions { FileProvider = files });
/// </code>
/// Nothing outside the root is reached by any path or symbolic link: one that begins with <c>/</c> begins at the root. Thread-safe.
/// </summary>
public sealed class CffsFileProvider : IFileProvider, IDisposable
{
    private readonly ProvidedTree tree;
    private readonly ChangeTokens tokens;

    /// <summary>Provides the files of a volume.</summary>
    /// <param name="volume">The volume; it outlives the provider.</param>
    /// <param name="options">Which files, and for whom; null: all that everybody may read.</param>
    /// <exception cref="CffsException">The root is not there, is no directory, or may not be entered.</exception>
    public CffsFileProvider(CffsVolume volume, CffsFileProviderOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(volume);
        options ??= new CffsFileProviderOptions();
        ArgumentNullException.ThrowIfNull(options.Root);
        ArgumentNullException.ThrowIfNull(options.Identity);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.WatchCapacity, 1);
        tree = new ProvidedTree(volume, options);
        tokens = new ChangeTokens(tree, options.WatchCapacity);
    }

    /// <summary>Looks up a file.</summary>
    /// <param name="subpath">Its path below the root, with or without a slash before it.</param>
    /// <returns>A <see cref="CffsFileInfo"/>, or a <see cref="NotFoundFileInfo"/>: nothing is there, it is a directory or a device, or it may not be read.</returns>
    /// <exception cref="IOException">The device failed, or the volume is damaged there.</exception>
    public IFileInfo GetFileInfo(string subpath)
    {
        ArgumentNullException.ThrowIfNull(subpath);
        return tree.Normalize(subpath) is { Length: > 0 } path && !subpath.EndsWith('/') && tree.TryStat(path) is { Kind: CffsKind.File } stat
            ? new CffsFileInfo(tree, path, path[(path.LastIndexOf('/') + 1)..], stat)
            : new NotFoundFileInfo(subpath);
    }

    /// <summary>Looks up a directory.</summary>
    /// <param name="subpath">Its path below the root; empty is the root.</param>
    /// <returns>Its entries, or <see cref="NotFoundDirectoryContents"/>.</returns>
    /// <exception cref="IOException">The device failed, or the volume is damaged there.</exception>
    public IDirectoryContents GetDirectoryContents(string subpath)
    {
        ArgumentNullException.ThrowIfNull(subpath);
        return tree.Normalize(subpath) is { } path && tree.MayList(path) ? new CffsDirectoryContents(tree, path) : NotFoundDirectoryContents.Singleton;
    }

    /// <summary>
    /// A token that fires with the next change of what the filter names, once; <see cref="ChangeToken.OnChange(Func{IChangeToken}, Action)"/> asks for the next. It fires for changes that are in core, before they are
    /// durable, and now and then for one that turns out not to matter. Not seen: changes of a symbolic link's target.
    /// </summary>
    /// <param name="filter">
    /// The path of a file that is or is not there, or a pattern: <c>*</c> within a name, <c>**</c> over directories, a slash at the end for everything below (<see cref="Microsoft.Extensions.FileSystemGlobbing.Matcher"/>).
    /// </param>
    public IChangeToken Watch(string filter)
    {
        ArgumentNullException.ThrowIfNull(filter);
        return tokens.Get(filter);
    }

    /// <summary>Tokens fire no more. The volume stays.</summary>
    public void Dispose()
    {
        tokens.Dispose();
        tree.Dispose();
    }
}
