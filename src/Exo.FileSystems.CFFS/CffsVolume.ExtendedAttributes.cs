// SPDX-License-Identifier: MIT
using System.Text;
using Exo.FileSystems.CFFS.Attributes;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Paths;

namespace Exo.FileSystems.CFFS;

/// <content>
/// Extended attributes: names in the namespaces <c>user.</c>, <c>trusted.</c> and <c>security.</c> with values of bytes, as xattr(7) describes them. All attributes of an inode share
/// 4064 bytes (each takes 4 bytes besides its name and value). A change of one is atomic in a crash.
/// </content>
public sealed partial class CffsVolume
{
    /// <summary>The value of an extended attribute, or null where the inode has none of that name.</summary>
    /// <param name="path">Of the file, directory or symbolic link.</param>
    /// <param name="name">With its namespace: <c>user.mime_type</c>.</param>
    /// <param name="followSymbolicLink">Whether a link at the end of the path is followed.</param>
    /// <param name="identity">Who asks; null is the superuser.</param>
    /// <exception cref="CffsException">NotSupported: another namespace; NotFound, AccessDenied, ...</exception>
    public byte[]? GetExtendedAttribute(string path, string name, bool followSymbolicLink = true, CffsIdentity? identity = null) =>
        GetExtendedAttribute(PathName.Encode(path), Encoding.UTF8.GetBytes(name), followSymbolicLink, identity);

    /// <summary>The value of an extended attribute, or null; names and paths as bytes.</summary>
    /// <inheritdoc cref="GetExtendedAttribute(string, string, bool, CffsIdentity?)"/>
    public byte[]? GetExtendedAttribute(ReadOnlyMemory<byte> path, ReadOnlyMemory<byte> name, bool followSymbolicLink = true, CffsIdentity? identity = null) =>
        WithInodeAsync(
            path, followSymbolicLink, identity, IoMode.Sync,
            (inode, who, io) =>
            {
                AttributeNames.Check(name.Span);
                if (!AttributeNames.IsVisible(name.Span, who))
                {
                    return default;
                }

                AttributeNames.RequireRead(inode, name.Span, who);
                return Core.Attributes.GetAsync(inode, name, io);
            }).Take();

    /// <summary>The names of all extended attributes that the identity may see, in the order in which they were first set.</summary>
    public IReadOnlyList<string> ListExtendedAttributes(string path, bool followSymbolicLink = true, CffsIdentity? identity = null) =>
        [.. ListExtendedAttributes(PathName.Encode(path), followSymbolicLink, identity).Select(Encoding.UTF8.GetString)];

    /// <summary>The names of all extended attributes that the identity may see, as bytes.</summary>
    public IReadOnlyList<byte[]> ListExtendedAttributes(ReadOnlyMemory<byte> path, bool followSymbolicLink = true, CffsIdentity? identity = null) =>
        WithInodeAsync<IReadOnlyList<byte[]>>(
            path, followSymbolicLink, identity, IoMode.Sync,
            async (inode, who, io) => [.. (await Core.Attributes.ListAsync(inode, io).ConfigureAwait(false)).Where(name => AttributeNames.IsVisible(name, who))]).Take();

    /// <summary>Sets an extended attribute.</summary>
    /// <param name="path">Of the file, directory or symbolic link (which has no <c>user.</c> attributes).</param>
    /// <param name="name">With its namespace: <c>user.mime_type</c>.</param>
    /// <param name="value">Any bytes, also none.</param>
    /// <param name="when">Whether it may or must be there already.</param>
    /// <param name="followSymbolicLink">Whether a link at the end of the path is followed.</param>
    /// <param name="identity">Who asks; null is the superuser.</param>
    /// <exception cref="CffsException">Exists, NoAttribute: as <paramref name="when"/> says; NoSpace: more than fits a block, or the volume is full; NotPermitted, AccessDenied, NotSupported.</exception>
    public void SetExtendedAttribute(
        string path, string name, ReadOnlyMemory<byte> value, CffsAttributeSet when = CffsAttributeSet.Always, bool followSymbolicLink = true, CffsIdentity? identity = null) =>
        SetExtendedAttribute(PathName.Encode(path), Encoding.UTF8.GetBytes(name), value, when, followSymbolicLink, identity);

    /// <summary>Sets an extended attribute; names and paths as bytes.</summary>
    /// <inheritdoc cref="SetExtendedAttribute(string, string, ReadOnlyMemory{byte}, CffsAttributeSet, bool, CffsIdentity?)"/>
    public void SetExtendedAttribute(
        ReadOnlyMemory<byte> path,
        ReadOnlyMemory<byte> name,
        ReadOnlyMemory<byte> value,
        CffsAttributeSet when = CffsAttributeSet.Always,
        bool followSymbolicLink = true,
        CffsIdentity? identity = null) => ChangeExtendedAttribute(path, name, value, when, followSymbolicLink, identity);

    /// <summary>Removes an extended attribute.</summary>
    /// <exception cref="CffsException">NoAttribute; NotPermitted, AccessDenied, NotSupported, NoSpace.</exception>
    public void RemoveExtendedAttribute(string path, string name, bool followSymbolicLink = true, CffsIdentity? identity = null) =>
        RemoveExtendedAttribute(PathName.Encode(path), Encoding.UTF8.GetBytes(name), followSymbolicLink, identity);

    /// <summary>Removes an extended attribute; names and paths as bytes.</summary>
    /// <inheritdoc cref="RemoveExtendedAttribute(string, string, bool, CffsIdentity?)"/>
    public void RemoveExtendedAttribute(ReadOnlyMemory<byte> path, ReadOnlyMemory<byte> name, bool followSymbolicLink = true, CffsIdentity? identity = null) =>
        ChangeExtendedAttribute(path, name, null, CffsAttributeSet.Replace, followSymbolicLink, identity);

    private void ChangeExtendedAttribute(
        ReadOnlyMemory<byte> path, ReadOnlyMemory<byte> name, ReadOnlyMemory<byte>? value, CffsAttributeSet when, bool followSymbolicLink, CffsIdentity? identity)
    {
        CheckOpen();
        AttributeNames.Check(name.Span);
        Core.BeginWritingAsync(IoMode.Sync).Take();
        WithInodeAsync(
            path, followSymbolicLink, identity, IoMode.Sync,
            async (inode, who, io) =>
            {
                inode.RequireThawed();
                AttributeNames.RequireWrite(inode, name.Span, who);
                await Core.Attributes.SetAsync(inode, name, value, when, io).ConfigureAwait(false);
                return true;
            }).Take();
    }

    private async ValueTask<T> WithInodeAsync<T>(
        ReadOnlyMemory<byte> path, bool followSymbolicLink, CffsIdentity? identity, IoMode io, Func<Inode, CffsIdentity, IoMode, ValueTask<T>> action)
    {
        CheckOpen();
        identity ??= CffsIdentity.Superuser;
        Inode inode = await Core.Paths.ResolveAsync(path, followSymbolicLink, identity, io).ConfigureAwait(false);
        try
        {
            await inode.Lock.EnterAsync(io).ConfigureAwait(false);
            try
            {
                return await action(inode, identity, io).ConfigureAwait(false);
            }
            finally
            {
                inode.Lock.Exit();
            }
        }
        finally
        {
            Core.Inodes.Release(inode);
        }
    }
}
