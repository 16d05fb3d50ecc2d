// SPDX-License-Identifier: MIT
using System.Text;
using Exo.FileSystems.CFFS.Attributes;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Paths;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS;

/// <content>
/// Extended attributes: names in the namespaces <c>user.</c>, <c>trusted.</c> and <c>security.</c> with values of bytes, as xattr(7) describes them, and the POSIX access control lists of files and directories, <c>system.posix_acl_access</c> and <c>system.posix_acl_default</c>, in the bytes that Linux has for them:
/// the owner sets them, they change with the permission bits and these with them, what is made in a directory with a default list inherits, and paths of an identity are judged by them. All attributes of an inode share
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

    /// <inheritdoc cref="GetExtendedAttribute(string, string, bool, CffsIdentity?)"/>
    public byte[]? GetExtendedAttribute(ReadOnlyMemory<byte> path, ReadOnlyMemory<byte> name, bool followSymbolicLink = true, CffsIdentity? identity = null) =>
        WithInodeAsync(path, followSymbolicLink, identity, IoMode.Sync, (inode, who, io) => GetAttributeAsync(Core, inode, name, who, io)).Take();

    /// <inheritdoc cref="GetExtendedAttribute(string, string, bool, CffsIdentity?)"/>
    public ValueTask<byte[]?> GetExtendedAttributeAsync(
        string path, string name, bool followSymbolicLink = true, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        GetExtendedAttributeAsync(PathName.Encode(path), Encoding.UTF8.GetBytes(name), followSymbolicLink, identity, cancellationToken);

    /// <inheritdoc cref="GetExtendedAttribute(string, string, bool, CffsIdentity?)"/>
    public ValueTask<byte[]?> GetExtendedAttributeAsync(
        ReadOnlyMemory<byte> path, ReadOnlyMemory<byte> name, bool followSymbolicLink = true, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return WithInodeAsync(path, followSymbolicLink, identity, IoMode.Async, (inode, who, io) => GetAttributeAsync(Core, inode, name, who, io));
    }

    /// <summary>The names of all extended attributes that the identity may see, in the order in which they were first set.</summary>
    /// <exception cref="CffsException">NotFound, AccessDenied, Loop, Corrupt.</exception>
    public IReadOnlyList<string> ListExtendedAttributes(string path, bool followSymbolicLink = true, CffsIdentity? identity = null) =>
        Texts(ListExtendedAttributes(PathName.Encode(path), followSymbolicLink, identity));

    /// <summary>The names of all extended attributes that the identity may see, as bytes, in the order in which they were first set.</summary>
    /// <exception cref="CffsException">NotFound, AccessDenied, Loop, Corrupt.</exception>
    public IReadOnlyList<byte[]> ListExtendedAttributes(ReadOnlyMemory<byte> path, bool followSymbolicLink = true, CffsIdentity? identity = null) =>
        WithInodeAsync(path, followSymbolicLink, identity, IoMode.Sync, (inode, who, io) => ListAttributesAsync(Core, inode, who, io)).Take();

    /// <inheritdoc cref="ListExtendedAttributes(string, bool, CffsIdentity?)"/>
    public async ValueTask<IReadOnlyList<string>> ListExtendedAttributesAsync(
        string path, bool followSymbolicLink = true, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        Texts(await ListExtendedAttributesAsync(PathName.Encode(path), followSymbolicLink, identity, cancellationToken).ConfigureAwait(false));

    /// <inheritdoc cref="ListExtendedAttributes(ReadOnlyMemory{byte}, bool, CffsIdentity?)"/>
    public ValueTask<IReadOnlyList<byte[]>> ListExtendedAttributesAsync(
        ReadOnlyMemory<byte> path, bool followSymbolicLink = true, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return WithInodeAsync(path, followSymbolicLink, identity, IoMode.Async, (inode, who, io) => ListAttributesAsync(Core, inode, who, io));
    }

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

    /// <inheritdoc cref="SetExtendedAttribute(string, string, ReadOnlyMemory{byte}, CffsAttributeSet, bool, CffsIdentity?)"/>
    public void SetExtendedAttribute(
        ReadOnlyMemory<byte> path,
        ReadOnlyMemory<byte> name,
        ReadOnlyMemory<byte> value,
        CffsAttributeSet when = CffsAttributeSet.Always,
        bool followSymbolicLink = true,
        CffsIdentity? identity = null) => ChangeExtendedAttributeAsync(path, name, value, when, followSymbolicLink, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="SetExtendedAttribute(string, string, ReadOnlyMemory{byte}, CffsAttributeSet, bool, CffsIdentity?)"/>
    public ValueTask SetExtendedAttributeAsync(
        string path,
        string name,
        ReadOnlyMemory<byte> value,
        CffsAttributeSet when = CffsAttributeSet.Always,
        bool followSymbolicLink = true,
        CffsIdentity? identity = null,
        CancellationToken cancellationToken = default) =>
        SetExtendedAttributeAsync(PathName.Encode(path), Encoding.UTF8.GetBytes(name), value, when, followSymbolicLink, identity, cancellationToken);

    /// <inheritdoc cref="SetExtendedAttribute(string, string, ReadOnlyMemory{byte}, CffsAttributeSet, bool, CffsIdentity?)"/>
    public ValueTask SetExtendedAttributeAsync(
        ReadOnlyMemory<byte> path,
        ReadOnlyMemory<byte> name,
        ReadOnlyMemory<byte> value,
        CffsAttributeSet when = CffsAttributeSet.Always,
        bool followSymbolicLink = true,
        CffsIdentity? identity = null,
        CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return ChangeExtendedAttributeAsync(path, name, value, when, followSymbolicLink, identity, IoMode.Async);
    }

    /// <summary>Removes an extended attribute.</summary>
    /// <exception cref="CffsException">NoAttribute; NotPermitted, AccessDenied, NotSupported, NoSpace.</exception>
    public void RemoveExtendedAttribute(string path, string name, bool followSymbolicLink = true, CffsIdentity? identity = null) =>
        RemoveExtendedAttribute(PathName.Encode(path), Encoding.UTF8.GetBytes(name), followSymbolicLink, identity);

    /// <inheritdoc cref="RemoveExtendedAttribute(string, string, bool, CffsIdentity?)"/>
    public void RemoveExtendedAttribute(ReadOnlyMemory<byte> path, ReadOnlyMemory<byte> name, bool followSymbolicLink = true, CffsIdentity? identity = null) =>
        ChangeExtendedAttributeAsync(path, name, null, CffsAttributeSet.Replace, followSymbolicLink, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="RemoveExtendedAttribute(string, string, bool, CffsIdentity?)"/>
    public ValueTask RemoveExtendedAttributeAsync(
        string path, string name, bool followSymbolicLink = true, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        RemoveExtendedAttributeAsync(PathName.Encode(path), Encoding.UTF8.GetBytes(name), followSymbolicLink, identity, cancellationToken);

    /// <inheritdoc cref="RemoveExtendedAttribute(string, string, bool, CffsIdentity?)"/>
    public ValueTask RemoveExtendedAttributeAsync(
        ReadOnlyMemory<byte> path, ReadOnlyMemory<byte> name, bool followSymbolicLink = true, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return ChangeExtendedAttributeAsync(path, name, null, CffsAttributeSet.Replace, followSymbolicLink, identity, IoMode.Async);
    }

    /// <summary>Names as text.</summary>
    internal static IReadOnlyList<string> Texts(IReadOnlyList<byte[]> names) => [.. names.Select(Encoding.UTF8.GetString)];

    /// <summary>An attribute of an inode that the caller holds, as an identity may see it.</summary>
    internal static async ValueTask<byte[]?> GetAttributeAsync(VolumeCore core, Inode inode, ReadOnlyMemory<byte> name, CffsIdentity identity, IoMode io)
    {
        AttributeNames.Check(name.Span);
        if (!AttributeNames.IsVisible(name.Span, identity))
        {
            return null;
        }

        await inode.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            AttributeNames.RequireRead(inode, name.Span, identity);
            return await core.Attributes.GetAsync(inode, name, io).ConfigureAwait(false);
        }
        finally
        {
            inode.Lock.Exit();
        }
    }

    internal static async ValueTask<IReadOnlyList<byte[]>> ListAttributesAsync(VolumeCore core, Inode inode, CffsIdentity identity, IoMode io)
    {
        await inode.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            return [.. (await core.Attributes.ListAsync(inode, io).ConfigureAwait(false)).Where(name => AttributeNames.IsVisible(name, identity))];
        }
        finally
        {
            inode.Lock.Exit();
        }
    }

    /// <summary>Sets an attribute, or removes it where there is no value.</summary>
    internal static async ValueTask ChangeAttributeAsync(
        VolumeCore core, Inode inode, ReadOnlyMemory<byte> name, ReadOnlyMemory<byte>? value, CffsAttributeSet when, CffsIdentity identity, IoMode io)
    {
        AttributeNames.Check(name.Span);
        await core.BeginWritingAsync(io).ConfigureAwait(false);
        await inode.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            RequireThere(inode);
            inode.RequireThawed();
            AttributeNames.RequireWrite(inode, name.Span, identity);
            await core.Attributes.SetAnyAsync(inode, name, value, when, io).ConfigureAwait(false);
        }
        finally
        {
            inode.Lock.Exit();
        }
    }

    private async ValueTask ChangeExtendedAttributeAsync(
        ReadOnlyMemory<byte> path, ReadOnlyMemory<byte> name, ReadOnlyMemory<byte>? value, CffsAttributeSet when, bool followSymbolicLink, CffsIdentity? identity, IoMode io) =>
        _ = await WithInodeAsync(
            path, followSymbolicLink, identity, io,
            async (inode, who, mode) =>
            {
                await ChangeAttributeAsync(Core, inode, name, value, when, who, mode).ConfigureAwait(false);
                return true;
            }).ConfigureAwait(false);

    private ValueTask<T> WithInodeAsync<T>(
        ReadOnlyMemory<byte> path, bool followSymbolicLink, CffsIdentity? identity, IoMode io, Func<Inode, CffsIdentity, IoMode, ValueTask<T>> action) =>
        Refusal.At(path, WithInodeOrRefuseAsync(path, followSymbolicLink, identity, io, action));

    private async ValueTask<T> WithInodeOrRefuseAsync<T>(
        ReadOnlyMemory<byte> path, bool followSymbolicLink, CffsIdentity? identity, IoMode io, Func<Inode, CffsIdentity, IoMode, ValueTask<T>> action)
    {
        CheckOpen();
        identity ??= CffsIdentity.Superuser;
        Inode inode = await Core.Paths.ResolveAsync(path, followSymbolicLink, identity, io).ConfigureAwait(false);
        try
        {
            return await action(inode, identity, io).ConfigureAwait(false);
        }
        finally
        {
            Core.Inodes.Release(inode);
        }
    }
}
