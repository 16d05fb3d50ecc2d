// SPDX-License-Identifier: MIT
namespace ExOS.Files;

/// <summary>Names of a tree that can be mounted. Paths begin with a slash, are relative to the tree, and have no <c>.</c> and <c>..</c> in them. What a tree does not have it refuses.</summary>
internal abstract class FileTree : IDisposable
{
    /// <summary>What kind of tree, as mount shows it.</summary>
    public abstract string Kind { get; }

    public virtual TreeSpace? Space => null;

    public abstract ValueTask<OpenFile> OpenAsync(string path, OpenFlags flags, int permissions);

    public abstract FileStatus Stat(string path, bool followLink);

    public abstract IReadOnlyList<string> List(string path);

    public virtual void MakeDirectory(string path, int permissions) => throw new ExosException(Errno.ReadOnly);

    public virtual void Remove(string path, bool isDirectory) => throw new ExosException(Errno.ReadOnly);

    public virtual void Rename(string from, string to) => throw new ExosException(Errno.ReadOnly);

    public virtual void Link(string existing, string path) => throw new ExosException(Errno.ReadOnly);

    public virtual void SymbolicLink(string target, string path) => throw new ExosException(Errno.ReadOnly);

    public virtual string ReadLink(string path) => throw new ExosException(Errno.Invalid);

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    protected virtual void Dispose(bool disposing)
    {
    }
}
