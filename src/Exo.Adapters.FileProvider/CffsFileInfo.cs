// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.IO.Hashing;
using Exo.FileSystems.CFFS;
using Microsoft.Extensions.FileProviders;

namespace Exo.Adapters.FileProvider;

/// <summary>A file or directory as it was when the provider was asked.</summary>
public sealed class CffsFileInfo : IFileInfo
{
    private readonly ProvidedTree tree;
    private readonly string path;
    private readonly CffsStat stat;

    internal CffsFileInfo(ProvidedTree tree, string path, string name, in CffsStat stat)
    {
        this.tree = tree;
        this.path = path;
        this.stat = stat;
        Name = name;
    }

    /// <summary>True: what is not there is a <see cref="NotFoundFileInfo"/>.</summary>
    public bool Exists => true;

    /// <summary>It is a directory.</summary>
    public bool IsDirectory => stat.Kind == CffsKind.Directory;

    /// <summary>Length in bytes; -1 for a directory.</summary>
    public long Length => IsDirectory ? -1 : stat.Size;

    /// <summary>The last change of the contents, in UTC.</summary>
    public DateTimeOffset LastModified => DateTimeOffset.UnixEpoch.AddTicks(stat.ModifyTimeNs / 100);

    /// <summary>The name it was asked by, without the directories.</summary>
    public string Name { get; }

    /// <summary>Null: a file of a volume has no path of the host, and is read through <see cref="CreateReadStream"/>.</summary>
    public string? PhysicalPath => null;

    /// <summary>
    /// A strong validator (RFC 9110 section 8.8.1) with its quotes: it changes with every change of the contents, however short after the last, and outlives a remount. Made from the inode number, which is
    /// never used again, the length and both times of change.
    /// </summary>
    public string EntityTag
    {
        get
        {
            Span<byte> identity = stackalloc byte[32];
            BinaryPrimitives.WriteUInt64LittleEndian(identity, stat.Inode);
            BinaryPrimitives.WriteInt64LittleEndian(identity[8..], stat.Size);
            BinaryPrimitives.WriteInt64LittleEndian(identity[16..], stat.ModifyTimeNs);
            BinaryPrimitives.WriteInt64LittleEndian(identity[24..], stat.ChangeTimeNs);
            return $"\"{Convert.ToHexStringLower(XxHash128.Hash(identity))}\"";
        }
    }

    /// <summary>Opens the file. The stream has no buffer of its own: reads are copies out of the volume's cache.</summary>
    /// <exception cref="FileNotFoundException">The file has gone, or may not be read any more.</exception>
    /// <exception cref="IOException">
    /// It is not what this object describes: somebody has written to it or replaced it. A response whose length has been announced must not go on; ask the provider again.
    /// </exception>
    /// <exception cref="InvalidOperationException">It is a directory.</exception>
    public Stream CreateReadStream()
    {
        if (IsDirectory)
        {
            throw new InvalidOperationException($"{path} is a directory");
        }

        CffsFile file;
        try
        {
            file = tree.Open(path);
        }
        catch (CffsException refused) when (ProvidedTree.IsAbsence(refused))
        {
            throw new FileNotFoundException($"{path} has gone", path, refused);
        }

        try
        {
            CffsStat now = file.Stat();
            if ((now.Inode, now.Size, now.ModifyTimeNs) != (stat.Inode, stat.Size, stat.ModifyTimeNs))
            {
                throw new IOException($"{path} has changed since it was looked up");
            }
        }
        catch
        {
            file.Dispose();
            throw;
        }

        return file.AsStream();
    }
}
