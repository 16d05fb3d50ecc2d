// SPDX-License-Identifier: MIT
using System.Text;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Paths;

namespace Exo.FileSystems.CFFS;

/// <content>
/// Attributes, extended attributes and names of the file that is open, whatever its names are by now. The handle says which file; what may be done with it is a question of the identity that asks, as with
/// fchmod(2) and fsetxattr(2), not of how it was opened.
/// </content>
public sealed partial class CffsFile
{
    /// <summary>The file's attributes. One whose last name is gone, or that never had one, has no links.</summary>
    /// <exception cref="CffsException">BadHandle, Corrupt.</exception>
    public CffsStat Stat()
    {
        ThrowIfClosed(CffsOpenMode.None);
        return CffsVolume.StatInodeAsync(_core, _inode, IoMode.Sync).Take();
    }

    /// <inheritdoc cref="Stat"/>
    public ValueTask<CffsStat> StatAsync(CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        ThrowIfClosed(CffsOpenMode.None);
        return CffsVolume.StatInodeAsync(_core, _inode, IoMode.Async);
    }

    /// <summary>Changes attributes, and the set-id bits with them, as <see cref="CffsVolume.SetAttributes(string, in CffsAttributeChange, bool, CffsIdentity?)"/> does. The owner may change permissions and times, the superuser everything.</summary>
    /// <param name="change">What; null leaves an attribute as it is.</param>
    /// <param name="identity">Who asks; null is the superuser.</param>
    /// <exception cref="CffsException">BadHandle, NotPermitted, AccessDenied, ReadOnly.</exception>
    public void SetAttributes(in CffsAttributeChange change, CffsIdentity? identity = null)
    {
        ThrowIfClosed(CffsOpenMode.None);
        CffsVolume.SetInodeAttributesAsync(_core, _inode, change, identity ?? CffsIdentity.Superuser, IoMode.Sync).Take();
    }

    /// <inheritdoc cref="SetAttributes"/>
    public ValueTask SetAttributesAsync(in CffsAttributeChange change, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        ThrowIfClosed(CffsOpenMode.None);
        return CffsVolume.SetInodeAttributesAsync(_core, _inode, change, identity ?? CffsIdentity.Superuser, IoMode.Async);
    }

    /// <summary>
    /// Gives the file one more name, or its first one where it has none (<see cref="CffsVolume.CreateUnnamedFile(string, ushort, CffsIdentity?)"/>). A file that has lost its last name gets none any more.
    /// </summary>
    /// <param name="path">The name; it is not there yet.</param>
    /// <param name="identity">Who asks, and may be confined: the path begins at its directory. Null is the superuser.</param>
    /// <exception cref="CffsException">BadHandle, NotFound (also a file that has lost its last name), Exists, NotDirectory, TooManyLinks, AccessDenied, NameTooLong, NoSpace, ReadOnly.</exception>
    public void CreateHardLink(string path, CffsIdentity? identity = null) => CreateHardLink(PathName.Encode(path), identity);

    /// <inheritdoc cref="CreateHardLink(string, CffsIdentity?)"/>
    public void CreateHardLink(ReadOnlyMemory<byte> path, CffsIdentity? identity = null)
    {
        ThrowIfClosed(CffsOpenMode.None);
        _volume.LinkInodeAsync(_inode, path, identity, IoMode.Sync).Take();
    }

    /// <inheritdoc cref="CreateHardLink(string, CffsIdentity?)"/>
    public ValueTask CreateHardLinkAsync(string path, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        CreateHardLinkAsync(PathName.Encode(path), identity, cancellationToken);

    /// <inheritdoc cref="CreateHardLink(string, CffsIdentity?)"/>
    public ValueTask CreateHardLinkAsync(ReadOnlyMemory<byte> path, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        ThrowIfClosed(CffsOpenMode.None);
        return _volume.LinkInodeAsync(_inode, path, identity, IoMode.Async);
    }

    /// <summary>The value of an extended attribute, or null where the file has none of that name.</summary>
    /// <param name="name">With its namespace: <c>user.mime_type</c>.</param>
    /// <param name="identity">Who asks; null is the superuser.</param>
    /// <exception cref="CffsException">NotSupported: another namespace; BadHandle, AccessDenied, Corrupt.</exception>
    public byte[]? GetExtendedAttribute(string name, CffsIdentity? identity = null) => GetExtendedAttribute(Encoding.UTF8.GetBytes(name), identity);

    /// <inheritdoc cref="GetExtendedAttribute(string, CffsIdentity?)"/>
    public byte[]? GetExtendedAttribute(ReadOnlyMemory<byte> name, CffsIdentity? identity = null)
    {
        ThrowIfClosed(CffsOpenMode.None);
        return CffsVolume.GetAttributeAsync(_core, _inode, name, identity ?? CffsIdentity.Superuser, IoMode.Sync).Take();
    }

    /// <inheritdoc cref="GetExtendedAttribute(string, CffsIdentity?)"/>
    public ValueTask<byte[]?> GetExtendedAttributeAsync(string name, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        GetExtendedAttributeAsync(Encoding.UTF8.GetBytes(name), identity, cancellationToken);

    /// <inheritdoc cref="GetExtendedAttribute(string, CffsIdentity?)"/>
    public ValueTask<byte[]?> GetExtendedAttributeAsync(ReadOnlyMemory<byte> name, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        ThrowIfClosed(CffsOpenMode.None);
        return CffsVolume.GetAttributeAsync(_core, _inode, name, identity ?? CffsIdentity.Superuser, IoMode.Async);
    }

    /// <summary>The names of all extended attributes that the identity may see, in the order in which they were first set; names are bytes.</summary>
    /// <exception cref="CffsException">BadHandle, Corrupt.</exception>
    public IReadOnlyList<byte[]> ListExtendedAttributes(CffsIdentity? identity = null)
    {
        ThrowIfClosed(CffsOpenMode.None);
        return CffsVolume.ListAttributesAsync(_core, _inode, identity ?? CffsIdentity.Superuser, IoMode.Sync).Take();
    }

    /// <inheritdoc cref="ListExtendedAttributes"/>
    public ValueTask<IReadOnlyList<byte[]>> ListExtendedAttributesAsync(CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        ThrowIfClosed(CffsOpenMode.None);
        return CffsVolume.ListAttributesAsync(_core, _inode, identity ?? CffsIdentity.Superuser, IoMode.Async);
    }

    /// <summary>Sets an extended attribute.</summary>
    /// <param name="name">With its namespace: <c>user.mime_type</c>.</param>
    /// <param name="value">Any bytes, also none.</param>
    /// <param name="when">Whether it may or must be there already.</param>
    /// <param name="identity">Who asks; null is the superuser.</param>
    /// <exception cref="CffsException">Exists, NoAttribute: as <paramref name="when"/> says; NoSpace: more than fits a block, or the volume is full; BadHandle, NotPermitted, AccessDenied, NotSupported, ReadOnly.</exception>
    public void SetExtendedAttribute(string name, ReadOnlyMemory<byte> value, CffsAttributeSet when = CffsAttributeSet.Always, CffsIdentity? identity = null) =>
        SetExtendedAttribute(Encoding.UTF8.GetBytes(name), value, when, identity);

    /// <inheritdoc cref="SetExtendedAttribute(string, ReadOnlyMemory{byte}, CffsAttributeSet, CffsIdentity?)"/>
    public void SetExtendedAttribute(ReadOnlyMemory<byte> name, ReadOnlyMemory<byte> value, CffsAttributeSet when = CffsAttributeSet.Always, CffsIdentity? identity = null) =>
        ChangeAttributeAsync(name, value, when, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="SetExtendedAttribute(string, ReadOnlyMemory{byte}, CffsAttributeSet, CffsIdentity?)"/>
    public ValueTask SetExtendedAttributeAsync(
        string name, ReadOnlyMemory<byte> value, CffsAttributeSet when = CffsAttributeSet.Always, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        SetExtendedAttributeAsync(Encoding.UTF8.GetBytes(name), value, when, identity, cancellationToken);

    /// <inheritdoc cref="SetExtendedAttribute(string, ReadOnlyMemory{byte}, CffsAttributeSet, CffsIdentity?)"/>
    public ValueTask SetExtendedAttributeAsync(
        ReadOnlyMemory<byte> name,
        ReadOnlyMemory<byte> value,
        CffsAttributeSet when = CffsAttributeSet.Always,
        CffsIdentity? identity = null,
        CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return ChangeAttributeAsync(name, value, when, identity, IoMode.Async);
    }

    /// <summary>Removes an extended attribute.</summary>
    /// <exception cref="CffsException">NoAttribute; BadHandle, NotPermitted, AccessDenied, NotSupported, NoSpace, ReadOnly.</exception>
    public void RemoveExtendedAttribute(string name, CffsIdentity? identity = null) => RemoveExtendedAttribute(Encoding.UTF8.GetBytes(name), identity);

    /// <inheritdoc cref="RemoveExtendedAttribute(string, CffsIdentity?)"/>
    public void RemoveExtendedAttribute(ReadOnlyMemory<byte> name, CffsIdentity? identity = null) =>
        ChangeAttributeAsync(name, null, CffsAttributeSet.Replace, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="RemoveExtendedAttribute(string, CffsIdentity?)"/>
    public ValueTask RemoveExtendedAttributeAsync(string name, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        RemoveExtendedAttributeAsync(Encoding.UTF8.GetBytes(name), identity, cancellationToken);

    /// <inheritdoc cref="RemoveExtendedAttribute(string, CffsIdentity?)"/>
    public ValueTask RemoveExtendedAttributeAsync(ReadOnlyMemory<byte> name, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return ChangeAttributeAsync(name, null, CffsAttributeSet.Replace, identity, IoMode.Async);
    }

    private ValueTask ChangeAttributeAsync(ReadOnlyMemory<byte> name, ReadOnlyMemory<byte>? value, CffsAttributeSet when, CffsIdentity? identity, IoMode mode)
    {
        ThrowIfClosed(CffsOpenMode.None);
        return CffsVolume.ChangeAttributeAsync(_core, _inode, name, value, when, identity ?? CffsIdentity.Superuser, mode);
    }
}
