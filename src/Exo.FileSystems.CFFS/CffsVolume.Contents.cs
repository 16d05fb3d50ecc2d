// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Operations;
using Exo.FileSystems.CFFS.Paths;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS;

/// <content>Contents of files as a whole.</content>
public sealed partial class CffsVolume
{
    /// <summary>The whole contents of a file.</summary>
    /// <exception cref="CffsException">As of <see cref="OpenFile(string, CffsOpenMode, ushort, CffsIdentity?)"/>.</exception>
    public byte[] ReadAllBytes(string path, CffsIdentity? identity = null) => ReadAllBytes(PathName.Encode(path), identity);

    /// <inheritdoc cref="ReadAllBytes(string, CffsIdentity?)"/>
    public byte[] ReadAllBytes(ReadOnlyMemory<byte> path, CffsIdentity? identity = null)
    {
        using CffsFile file = OpenFile(path, CffsOpenMode.Read, 0, identity);
        byte[] bytes = new byte[file.Length];
        int read = file.Read(0, bytes);
        return read == bytes.Length ? bytes : bytes[..read];
    }

    /// <inheritdoc cref="ReadAllBytes(string, CffsIdentity?)"/>
    public ValueTask<byte[]> ReadAllBytesAsync(string path, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        ReadAllBytesAsync(PathName.Encode(path), identity, cancellationToken);

    /// <inheritdoc cref="ReadAllBytes(string, CffsIdentity?)"/>
    public async ValueTask<byte[]> ReadAllBytesAsync(ReadOnlyMemory<byte> path, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        CffsFile file = await OpenFileAsync(path, CffsOpenMode.Read, 0, identity, cancellationToken).ConfigureAwait(false);
        await using (file.ConfigureAwait(false))
        {
            byte[] bytes = new byte[file.Length];
            int read = await file.ReadAsync(0, bytes, cancellationToken).ConfigureAwait(false);
            return read == bytes.Length ? bytes : bytes[..read];
        }
    }

    /// <summary>
    /// Copies a file's contents, from its beginning, into a span: as many bytes as both have, which is returned. Costs less than opening and reading: of a file in the cache nothing is allocated and no
    /// handle is made.
    /// </summary>
    /// <exception cref="CffsException">As of <see cref="OpenFile(string, CffsOpenMode, ushort, CffsIdentity?)"/>.</exception>
    public int ReadAllBytes(string path, Span<byte> destination, CffsIdentity? identity = null) => ReadAllBytes(PathName.Encode(path), destination, identity);

    /// <inheritdoc cref="ReadAllBytes(string, Span{byte}, CffsIdentity?)"/>
    public int ReadAllBytes(ReadOnlyMemory<byte> path, Span<byte> destination, CffsIdentity? identity = null)
    {
        CheckOpen();
        Copying copying = new(destination);
        if (TryVisitInCore(path.Span, identity ?? CffsIdentity.Superuser, ref copying))
        {
            return copying.Length;
        }

        using CffsFile file = OpenFile(path, CffsOpenMode.Read, 0, identity);
        return file.Read(0, destination);
    }

    /// <inheritdoc cref="ReadAllBytes(string, Span{byte}, CffsIdentity?)"/>
    public ValueTask<int> ReadAllBytesAsync(string path, Memory<byte> destination, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        ReadAllBytesAsync(PathName.Encode(path), destination, identity, cancellationToken);

    /// <inheritdoc cref="ReadAllBytes(string, Span{byte}, CffsIdentity?)"/>
    public ValueTask<int> ReadAllBytesAsync(ReadOnlyMemory<byte> path, Memory<byte> destination, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        CheckOpen();
        Copying copying = new(destination.Span);
        return TryVisitInCore(path.Span, identity ?? CffsIdentity.Superuser, ref copying) ? new ValueTask<int>(copying.Length) : OpenAndReadAsync(path, destination, identity);
    }

    /// <summary>
    /// Lends the whole contents of a file as they lie in the cache, and brings them there first: nothing is copied, of a file in the cache nothing is allocated, and no handle is made. The bytes do not
    /// change while they are lent. False when they cannot be lent in one piece (an empty or tiny file, one with holes, one whose frames do not lie in a row, one of 2 GiB): then it is read.
    /// </summary>
    /// <remarks>A span cannot be waited for: without blocking, <see cref="CffsFile.LeaseAsync"/> lends the frames.</remarks>
    /// <exception cref="CffsException">As of <see cref="OpenFile(string, CffsOpenMode, ushort, CffsIdentity?)"/>.</exception>
    public bool TryLend(string path, out CffsSpanLease lease, CffsIdentity? identity = null) => TryLend(PathName.Encode(path), out lease, identity);

    /// <inheritdoc cref="TryLend(string, out CffsSpanLease, CffsIdentity?)"/>
    public bool TryLend(ReadOnlyMemory<byte> path, out CffsSpanLease lease, CffsIdentity? identity = null)
    {
        CheckOpen();
        Lending lending = default;
        if (TryVisitInCore(path.Span, identity ?? CffsIdentity.Superuser, ref lending))
        {
            lease = lending.Lease;
            return true;
        }

        using CffsFile file = OpenFile(path, CffsOpenMode.Read, 0, identity);
        return file.TryLend(out lease);
    }

    /// <summary>
    /// Creates a file with these contents, or replaces the contents of one in place. A new small file is one change: a crash leaves all of it or nothing. One that is replaced can be seen in between;
    /// see <see cref="ReplaceAllBytes(string, ReadOnlyMemory{byte}, ushort, CffsIdentity?, bool)"/>.
    /// </summary>
    public void WriteAllBytes(string path, ReadOnlyMemory<byte> contents, ushort permissions = 0x1A4, CffsIdentity? identity = null) =>
        WriteAllBytes(PathName.Encode(path), contents, permissions, identity);

    /// <inheritdoc cref="WriteAllBytes(string, ReadOnlyMemory{byte}, ushort, CffsIdentity?)"/>
    public void WriteAllBytes(ReadOnlyMemory<byte> path, ReadOnlyMemory<byte> contents, ushort permissions = 0x1A4, CffsIdentity? identity = null) =>
        WriteAllCoreAsync(path, contents, permissions, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="WriteAllBytes(string, ReadOnlyMemory{byte}, ushort, CffsIdentity?)"/>
    public ValueTask WriteAllBytesAsync(
        string path, ReadOnlyMemory<byte> contents, ushort permissions = 0x1A4, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        WriteAllBytesAsync(PathName.Encode(path), contents, permissions, identity, cancellationToken);

    /// <inheritdoc cref="WriteAllBytes(string, ReadOnlyMemory{byte}, ushort, CffsIdentity?)"/>
    public async ValueTask WriteAllBytesAsync(
        ReadOnlyMemory<byte> path, ReadOnlyMemory<byte> contents, ushort permissions = 0x1A4, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        _ = await WriteAllCoreAsync(path, contents, permissions, identity, IoMode.Async).ConfigureAwait(false);
    }

    /// <summary>
    /// Replaces a file's contents as a whole, or creates it: readers, and every crash, see the old contents or the new ones. The new ones are written to a file beside it, which is then renamed; a crash
    /// can leave that file (<c>.NUMBER.new</c>).
    /// </summary>
    /// <param name="path">The file; its directory must exist. A symbolic link is replaced, not followed.</param>
    /// <param name="contents">What the file is to hold.</param>
    /// <param name="permissions">Permission bits of the new file.</param>
    /// <param name="identity">Who asks; null is the superuser.</param>
    /// <param name="durable">The new contents are durable when it returns; otherwise after the next sync.</param>
    public void ReplaceAllBytes(string path, ReadOnlyMemory<byte> contents, ushort permissions = 0x1A4, CffsIdentity? identity = null, bool durable = false) =>
        ReplaceAllBytes(PathName.Encode(path), contents, permissions, identity, durable);

    /// <inheritdoc cref="ReplaceAllBytes(string, ReadOnlyMemory{byte}, ushort, CffsIdentity?, bool)"/>
    public void ReplaceAllBytes(
        ReadOnlyMemory<byte> path, ReadOnlyMemory<byte> contents, ushort permissions = 0x1A4, CffsIdentity? identity = null, bool durable = false) =>
        ReplaceAllCoreAsync(path, contents, permissions, identity, durable, IoMode.Sync).Take();

    /// <inheritdoc cref="ReplaceAllBytes(string, ReadOnlyMemory{byte}, ushort, CffsIdentity?, bool)"/>
    public ValueTask ReplaceAllBytesAsync(
        string path, ReadOnlyMemory<byte> contents, ushort permissions = 0x1A4, CffsIdentity? identity = null, bool durable = false, CancellationToken cancellationToken = default) =>
        ReplaceAllBytesAsync(PathName.Encode(path), contents, permissions, identity, durable, cancellationToken);

    /// <inheritdoc cref="ReplaceAllBytes(string, ReadOnlyMemory{byte}, ushort, CffsIdentity?, bool)"/>
    public ValueTask ReplaceAllBytesAsync(
        ReadOnlyMemory<byte> path,
        ReadOnlyMemory<byte> contents,
        ushort permissions = 0x1A4,
        CffsIdentity? identity = null,
        bool durable = false,
        CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return ReplaceAllCoreAsync(path, contents, permissions, identity, durable, IoMode.Async);
    }

    /// <summary>Sets a run of neighbouring free blocks aside for files that will be read together (<see cref="CffsPlacement"/>). It may be shorter than asked for, or empty.</summary>
    /// <param name="lengthBytes">For contents of so many bytes; each file's are counted in whole blocks of 4096.</param>
    public CffsPlacement SetAside(long lengthBytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(lengthBytes);
        CheckOpen();
        return new CffsPlacement(Core, (uint)Math.Min((lengthBytes + CffsSpace.BlockBytes - 1) / CffsSpace.BlockBytes, uint.MaxValue));
    }

    private async ValueTask<int> OpenAndReadAsync(ReadOnlyMemory<byte> path, Memory<byte> destination, CffsIdentity? identity)
    {
        CffsFile file = await OpenFileCoreAsync(path, CffsOpenMode.Read, 0, identity, IoMode.Async).ConfigureAwait(false);
        await using (file.ConfigureAwait(false))
        {
            return await file.ReadAsync(0, destination).ConfigureAwait(false);
        }
    }

    private ValueTask ReplaceAllCoreAsync(ReadOnlyMemory<byte> target, ReadOnlyMemory<byte> contents, ushort permissions, CffsIdentity? identity, bool durable, IoMode io) =>
        Refusal.At(target, ReplaceAllOrRefuseAsync(target, contents, permissions, identity, durable, io));

    private async ValueTask ReplaceAllOrRefuseAsync(ReadOnlyMemory<byte> target, ReadOnlyMemory<byte> contents, ushort permissions, CffsIdentity? identity, bool durable, IoMode io)
    {
        int cut = target.Span.TrimEnd((byte)'/').LastIndexOf((byte)'/') + 1;
        ulong number = BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong)));
        byte[] beside = [.. target.Span[..cut], .. Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $".{number:x16}.new"))];
        bool isOneChange = await WriteAllCoreAsync(beside, contents, permissions, identity, io).ConfigureAwait(false);
        try
        {
            if (!isOneChange)
            {
                // Its contents hang on several blocks, and the name must not be durable before all of them are.
                await Core.Committer.SyncAsync(io).ConfigureAwait(false);
            }

            await RenameCoreAsync(beside, target, replace: true, identity, io).ConfigureAwait(false);
        }
        catch
        {
            await RemoveCoreAsync(beside, isDirectory: false, identity, io).ConfigureAwait(false);
            throw;
        }

        if (durable)
        {
            await Core.Committer.SyncAsync(io).ConfigureAwait(false);
        }
    }

    /// <summary>True when the file was made, whole, by one change of one sector.</summary>
    private ValueTask<bool> WriteAllCoreAsync(ReadOnlyMemory<byte> path, ReadOnlyMemory<byte> contents, ushort permissions, CffsIdentity? identity, IoMode io) =>
        Refusal.At(path, WriteAllOrRefuseAsync(path, contents, permissions, identity, io));

    private async ValueTask<bool> WriteAllOrRefuseAsync(ReadOnlyMemory<byte> path, ReadOnlyMemory<byte> contents, ushort permissions, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        identity ??= CffsIdentity.Superuser;
        (Inode parent, ReadOnlyMemory<byte> name) = await Core.Paths.ResolveParentAsync(path, identity, io).ConfigureAwait(false);
        try
        {
            if (!name.IsEmpty)
            {
                Permissions.Require(parent, identity, Permissions.Execute);
                if (contents.Length <= NameOperations.WholeBytesMax
                    && await Core.Names.TryCreateWholeAsync(parent, name, permissions, contents, identity, io).ConfigureAwait(false))
                {
                    return true;
                }

                (Inode inode, bool created) = await Core.Names.CreateWithContentsAsync(
                    parent, name, (ushort)(ModeBits.File | (permissions & ModeBits.PermissionMask)), 0, contents, exclusive: false, identity, io, umask: 0).ConfigureAwait(false);
                Core.Inodes.Release(inode);
                if (created)
                {
                    return false;
                }
            }
        }
        finally
        {
            Core.Inodes.Release(parent);
        }

        CffsFile file = await OpenFileCoreAsync(path, CffsOpenMode.Write | CffsOpenMode.Create | CffsOpenMode.Truncate, permissions, identity, io).ConfigureAwait(false);
        try
        {
            if (io == IoMode.Sync)
            {
                file.Write(0, contents);
            }
            else
            {
                await file.WriteAsync(0, contents).ConfigureAwait(false);
            }
        }
        finally
        {
            if (io == IoMode.Sync)
            {
                file.Dispose();
            }
            else
            {
                await file.DisposeAsync().ConfigureAwait(false);
            }
        }

        return false;
    }
}
