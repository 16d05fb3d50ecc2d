// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Files;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS;

/// <summary>
/// An open file. Thread-safe: reads and writes at offsets from many threads are each atomic with respect to one another. A file that is removed while open
/// stays readable and writable until its last handle is closed. Writing returns when the change is in the cache; <see cref="Sync"/> makes it durable.
/// <para>Whatever changes contents or length takes away what a program could do beyond its caller, as the kernel does: the extended attribute <c>security.capability</c>, and the set-user-id and set-group-id bits (the group's
/// only where the group may execute), these unless the identity that opened the file is the superuser (who is meant where none is given).</para>
/// </summary>
public sealed partial class CffsFile : IDisposable, IAsyncDisposable
{
    private readonly CffsVolume _volume;
    private readonly VolumeCore _core;
    private readonly Inode _inode;
    private readonly CffsOpenMode _mode;
    private readonly bool _keepsSetId;
    private int _closed;

    internal CffsFile(CffsVolume volume, Inode inode, CffsOpenMode mode, CffsIdentity identity)
    {
        _keepsSetId = identity.IsSuperuser;
        _volume = volume;
        _core = volume.Core;
        _inode = inode;
        _mode = mode;
    }

    /// <summary>Inode number.</summary>
    public ulong Inode => _inode.Number;

    /// <summary>What the handle is of; held until it is closed.</summary>
    internal Inode Node => _inode;

    /// <summary>Length in bytes.</summary>
    public long Length => (long)_inode.Record.Size;

    /// <summary>Changes with each change of contents while the volume stays open. Reading it costs nothing.</summary>
    public long Version => Volatile.Read(ref _inode.Version);

    /// <summary>How it was opened.</summary>
    public CffsOpenMode Mode => _mode;

    /// <summary>Reads at an offset into a span; returns the bytes read, fewer than asked for only at the end of the file. A read served from the cache allocates nothing.</summary>
    /// <exception cref="CffsException">BadHandle, Corrupt.</exception>
    public int Read(long offset, Span<byte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ThrowIfClosed(CffsOpenMode.Read);
        if (destination.Length > _core.Files.ApartBytesMax && TryReadInParts(offset, destination, out int all))
        {
            return all;
        }

        for (int apart = 0; ; apart++)
        {
            if (TryRead(offset, destination, mayFetch: apart >= FileStore.ApartMax, out int read))
            {
                return read;
            }

            if (!FetchApartAsync(offset, destination.Length, read, IoMode.Sync).Take())
            {
                apart = FileStore.ApartMax;
            }
        }
    }

    /// <summary>One read, under the lock throughout. False when something is missing behind what was read and is not to be fetched under the lock.</summary>
    private bool TryRead(long offset, Span<byte> destination, bool mayFetch, out int read)
    {
        read = 0;
        _inode.Lock.Enter();
        try
        {
            _core.Maps.EnsureAsync(_inode, IoMode.Sync).Take();
            int wanted = (int)Math.Min(destination.Length, Math.Max(0, (long)_inode.Record.Size - offset));
            while (true)
            {
                read += _core.Files.ReadCached(_inode, offset + read, destination[read..wanted]);
                if (read >= wanted)
                {
                    _core.Files.Accessed(_inode);
                    _core.Files.Follow(_inode, offset, read);
                    return true;
                }

                if (!mayFetch)
                {
                    return false;
                }

                _core.Files.FetchAsync(_inode, offset + read, wanted - read, IoMode.Sync).Take();
            }
        }
        finally
        {
            _inode.Lock.Exit();
        }
    }

    /// <summary>Reads at an offset. Completes synchronously when the bytes are in the cache.</summary>
    public async ValueTask<int> ReadAsync(long offset, Memory<byte> destination, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        cancellationToken.ThrowIfCancellationRequested();
        ThrowIfClosed(CffsOpenMode.Read);
        if (destination.Length > _core.Files.ApartBytesMax && await TryReadInPartsAsync(offset, [destination], IoMode.Async).ConfigureAwait(false) is { } all)
        {
            return (int)all;
        }

        _ = await FetchApartAsync(offset, destination.Length, cached: 0, IoMode.Async).ConfigureAwait(false);
        await _inode.Lock.EnterAsync(IoMode.Async).ConfigureAwait(false);
        try
        {
            int read = await _core.Files.ReadAsync(_inode, offset, destination, IoMode.Async).ConfigureAwait(false);
            _core.Files.Accessed(_inode);
            _core.Files.Follow(_inode, offset, read);
            return read;
        }
        finally
        {
            _inode.Lock.Exit();
        }
    }

    /// <summary>
    /// From now on, and as long as some handle of it is open, blocks that the file gets come from a run that was set aside, while it has any. Contents get one block at least, unless they lie in the
    /// file's record: none is shared with other small files of the directory.
    /// </summary>
    /// <param name="placement">The run, of the same volume.</param>
    /// <exception cref="CffsException">BadHandle.</exception>
    public void PlaceIn(CffsPlacement placement)
    {
        ArgumentNullException.ThrowIfNull(placement);
        ThrowIfClosed(CffsOpenMode.Write);
        lock (_core.Metadata)
        {
            _inode.Placement = placement;
        }
    }

    /// <summary>Writes at an offset; the file grows as needed.</summary>
    /// <exception cref="CffsException">BadHandle, ReadOnly, NoSpace, FileTooLarge.</exception>
    public void Write(long offset, ReadOnlySpan<byte> source)
    {
        byte[] copy = System.Buffers.ArrayPool<byte>.Shared.Rent(Math.Min(source.Length, 1 << 20));
        try
        {
            while (true)
            {
                int take = Math.Min(source.Length, 1 << 20);
                source[..take].CopyTo(copy);
                WriteCoreAsync(offset, copy.AsMemory(0, take), append: false, IoMode.Sync).Take();
                source = source[take..];
                offset += take;
                if (source.IsEmpty)
                {
                    return;
                }
            }
        }
        finally
        {
            System.Buffers.ArrayPool<byte>.Shared.Return(copy);
        }
    }

    /// <summary>Writes at an offset from memory, without a copy on the way to the cache.</summary>
    public void Write(long offset, ReadOnlyMemory<byte> source) => WriteCoreAsync(offset, source, append: false, IoMode.Sync).Take();

    /// <summary>Writes at an offset.</summary>
    public async ValueTask WriteAsync(long offset, ReadOnlyMemory<byte> source, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        await WriteCoreAsync(offset, source, append: false, IoMode.Async).ConfigureAwait(false);
    }

    /// <summary>Writes at the end and returns the offset written at. Appends of several threads do not overlap.</summary>
    public long Append(ReadOnlyMemory<byte> source) => WriteCoreAsync(0, source, append: true, IoMode.Sync).Take();

    /// <summary>Writes at the end and returns the offset written at.</summary>
    public async ValueTask<long> AppendAsync(ReadOnlyMemory<byte> source, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return await WriteCoreAsync(0, source, append: true, IoMode.Async).ConfigureAwait(false);
    }

    /// <summary>Reads at an offset into several buffers, one after the other, as one read; returns the bytes read.</summary>
    /// <exception cref="CffsException">BadHandle, Corrupt.</exception>
    public long Read(long offset, IReadOnlyList<Memory<byte>> destinations) => ReadCoreAsync(offset, destinations, IoMode.Sync).Take();

    /// <inheritdoc cref="Read(long, IReadOnlyList{Memory{byte}})"/>
    public ValueTask<long> ReadAsync(long offset, IReadOnlyList<Memory<byte>> destinations, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return ReadCoreAsync(offset, destinations, IoMode.Async);
    }

    /// <summary>Writes several buffers, one after the other, at an offset, as one write.</summary>
    /// <exception cref="CffsException">BadHandle, ReadOnly, NoSpace, FileTooLarge.</exception>
    public void Write(long offset, IReadOnlyList<ReadOnlyMemory<byte>> sources) => WriteCoreAsync(offset, sources, IoMode.Sync).Take();

    /// <inheritdoc cref="Write(long, IReadOnlyList{ReadOnlyMemory{byte}})"/>
    public ValueTask WriteAsync(long offset, IReadOnlyList<ReadOnlyMemory<byte>> sources, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return WriteCoreAsync(offset, sources, IoMode.Async);
    }

    /// <summary>Changes the length: cuts off the end, or adds zeros that take no blocks.</summary>
    public void SetLength(long lengthBytes) => SetLengthCoreAsync(lengthBytes, IoMode.Sync).Take();

    /// <summary>Changes the length.</summary>
    public ValueTask SetLengthAsync(long lengthBytes, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return SetLengthCoreAsync(lengthBytes, IoMode.Async);
    }

    /// <summary>
    /// Replaces a range of this file by one of another (or of this one, elsewhere), whose blocks both share from then on, as the FICLONERANGE ioctl does. Both offsets are multiples of 4096, and so
    /// is the length, unless the range ends with both files. This file grows as needed.
    /// </summary>
    /// <param name="offset">Where in this file.</param>
    /// <param name="source">The other file, open for reading, of the same volume.</param>
    /// <param name="sourceOffset">Where in it.</param>
    /// <param name="lengthBytes">How much; the range lies within the source.</param>
    /// <exception cref="CffsException">NotSupported (<see cref="CffsVolume.SharesContents"/>), Invalid, BadHandle, NotFound (a file was removed), NoSpace, FileTooLarge, ReadOnly.</exception>
    public void CloneRange(long offset, CffsFile source, long sourceOffset, long lengthBytes) => CloneRangeCoreAsync(offset, source, sourceOffset, lengthBytes, IoMode.Sync).Take();

    /// <inheritdoc cref="CloneRange"/>
    public ValueTask CloneRangeAsync(long offset, CffsFile source, long sourceOffset, long lengthBytes, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return CloneRangeCoreAsync(offset, source, sourceOffset, lengthBytes, IoMode.Async);
    }

    /// <summary>Where the contents lie on the disk, in the order of the file, and which of it others own too.</summary>
    /// <exception cref="CffsException">BadHandle, Corrupt.</exception>
    public IReadOnlyList<CffsExtent> ReadExtents() => ReadExtentsCoreAsync(IoMode.Sync).Take();

    /// <inheritdoc cref="ReadExtents"/>
    public ValueTask<IReadOnlyList<CffsExtent>> ReadExtentsAsync(CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return ReadExtentsCoreAsync(IoMode.Async);
    }

    /// <summary>Makes everything written to this file, and its name, durable (fsync). Callers share flushes.</summary>
    /// <exception cref="BlockDeviceException">The device failed; what was not written stays dirty and is tried again by the next call.</exception>
    public void Sync()
    {
        ThrowIfClosed(CffsOpenMode.None);
        _core.Committer.SyncAsync(IoMode.Sync).Take();
    }

    /// <summary>Makes everything written to this file, and its name, durable.</summary>
    public ValueTask SyncAsync(CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        ThrowIfClosed(CffsOpenMode.None);
        return _core.Committer.SyncAsync(IoMode.Async);
    }

    /// <summary>
    /// Lends the frames that hold a range of the file: the cache's own, so that they can be sent without a copy. They do not change while they are lent;
    /// a write to the file meanwhile goes to new frames. Contents that lie inside a directory sector are copied once (<see cref="CffsLease.IsCopy"/>); holes are frames of zeros.
    /// </summary>
    public CffsLease Lease(long offset, int lengthBytes) => LeaseCoreAsync(offset, lengthBytes, IoMode.Sync).Take();

    /// <summary>Lends the frames that hold a range of the file.</summary>
    public ValueTask<CffsLease> LeaseAsync(long offset, int lengthBytes, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return LeaseCoreAsync(offset, lengthBytes, IoMode.Async);
    }

    /// <summary>
    /// Lends a range as one span, if it is in the cache and lies there in a row, as ranges within a block and small files do. Otherwise false: <see cref="Read(long, Span{byte})"/> brings it in,
    /// <see cref="Lease"/> lends it in pieces. Contents that lie inside a directory's sector, and holes, are not lent.
    /// </summary>
    /// <exception cref="CffsException">BadHandle.</exception>
    public bool TryLease(long offset, int lengthBytes, out CffsSpanLease lease)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(lengthBytes);
        ThrowIfClosed(CffsOpenMode.Read);
        lease = default;
        if (!_inode.Lock.TryEnter())
        {
            return false;
        }

        try
        {
            return _core.Files.TryLease(_inode, offset, lengthBytes, out lease);
        }
        finally
        {
            _inode.Lock.Exit();
        }
    }

    /// <summary>Lends all of the file in one piece, brought in first. False when it cannot be had so.</summary>
    internal bool TryLend(out CffsSpanLease lease)
    {
        lease = default;
        _ = FetchApartAsync(0, int.MaxValue, cached: 0, IoMode.Sync).Take();
        _inode.Lock.Enter();
        try
        {
            _core.Maps.EnsureAsync(_inode, IoMode.Sync).Take();
            long length = Length;
            if (length is 0 or > int.MaxValue || _inode.Record.InlineLength > 0)
            {
                return false;
            }

            if (!_core.Files.TryLease(_inode, 0, (int)length, out lease))
            {
                if (length > _core.Files.ApartBytesMax)
                {
                    // It would drive out its own beginning.
                    return false;
                }

                const int Step = FileStore.StepBlocks * FramePool.FrameBytes;
                for (long at = 0; at < length; at += Step)
                {
                    _core.Files.FetchAsync(_inode, at, Math.Min(Step, length - at), IoMode.Sync).Take();
                }

                if (!_core.Files.TryLease(_inode, 0, (int)length, out lease))
                {
                    return false;
                }
            }

            _core.Files.Accessed(_inode);
            return true;
        }
        finally
        {
            _inode.Lock.Exit();
        }
    }

    /// <summary>
    /// A stream over the file, at position 0. Disposing of it closes this handle when <paramref name="ownsFile"/> is set. It refuses as streams do (<see cref="NotSupportedException"/>,
    /// <see cref="ObjectDisposedException"/>); all else is a <see cref="CffsException"/>, which is an <see cref="IOException"/>.
    /// </summary>
    public Stream AsStream(bool ownsFile = true) => new CffsFileStream(this, ownsFile);

    /// <summary>Closes the handle. Nothing becomes durable by it.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _closed, 1) == 0)
        {
            _volume.CloseAsync(_inode, IoMode.Sync).Take();
        }
    }

    /// <summary>Closes the handle.</summary>
    public ValueTask DisposeAsync() => Interlocked.Exchange(ref _closed, 1) == 0 ? _volume.CloseAsync(_inode, IoMode.Async) : default;

    private async ValueTask<long> WriteCoreAsync(long offset, ReadOnlyMemory<byte> source, bool append, IoMode mode)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ThrowIfClosed(CffsOpenMode.Write);
        await _core.BeginWritingAsync(mode).ConfigureAwait(false);
        append |= (_mode & CffsOpenMode.Append) != 0;
        await _core.Files.EnterForWriteAsync(_inode, append ? null : offset, source.Length, mode).ConfigureAwait(false);
        try
        {
            if (append)
            {
                offset = (long)_inode.Record.Size;
            }

            if (source.Length > 0)
            {
                await _core.Attributes.DropPrivilegesAsync(_inode, _keepsSetId, mode).ConfigureAwait(false);
            }

            await _core.Files.WriteAsync(_inode, offset, source, mode).ConfigureAwait(false);
        }
        finally
        {
            _inode.Lock.Exit();
        }

        return offset;
    }

    /// <summary>
    /// Brings into core what is missing of a range, step by step, without the lock while the disk works: whoever finds what he wants in the cache goes on meanwhile. Of a range that fills more than half of the
    /// cache only so much: more would drive out its own beginning. False when something could not be read.
    /// </summary>
    private async ValueTask<bool> FetchApartAsync(long offset, long lengthBytes, long cached, IoMode mode)
    {
        long aheadEnd = 0;
        for (int vain = 0; vain < FileStore.ApartMax;)
        {
            await _inode.Lock.EnterAsync(mode).ConfigureAwait(false);
            Missing missing;
            try
            {
                await _core.Maps.EnsureAsync(_inode, mode).ConfigureAwait(false);
                long wanted = Math.Min(Math.Min(lengthBytes, _core.Files.ApartBytesMax), Math.Max(0, (long)_inode.Record.Size - offset));
                long further = cached < wanted ? _core.Files.CachedBytes(_inode, offset + cached, wanted - cached) : 0;
                vain = further > 0 ? 0 : vain + 1;
                cached += further;
                if (cached >= wanted)
                {
                    return true;
                }

                _core.Files.LookAhead(_inode, offset + cached, wanted - cached, ref aheadEnd);
                missing = _core.Files.Collect(_inode, offset + cached, wanted - cached);
            }
            finally
            {
                _inode.Lock.Exit();
            }

            if (!await _core.Files.TryReadApartAsync(missing, mode).ConfigureAwait(false))
            {
                return false;
            }
        }

        return true;
    }

    private async ValueTask<long> ReadCoreAsync(long offset, IReadOnlyList<Memory<byte>> destinations, IoMode mode)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentNullException.ThrowIfNull(destinations);
        ThrowIfClosed(CffsOpenMode.Read);
        long wanted = destinations.Sum(destination => (long)destination.Length);
        if (wanted > _core.Files.ApartBytesMax && await TryReadInPartsAsync(offset, destinations, mode).ConfigureAwait(false) is { } all)
        {
            return all;
        }

        _ = await FetchApartAsync(offset, wanted, cached: 0, mode).ConfigureAwait(false);
        await _inode.Lock.EnterAsync(mode).ConfigureAwait(false);
        try
        {
            long done = 0;
            foreach (Memory<byte> destination in destinations)
            {
                int read = await _core.Files.ReadAsync(_inode, offset + done, destination, mode).ConfigureAwait(false);
                done += read;
                if (read < destination.Length)
                {
                    break;
                }
            }

            _core.Files.Accessed(_inode);
            _core.Files.Follow(_inode, offset, done);
            return done;
        }
        finally
        {
            _inode.Lock.Exit();
        }
    }

    private async ValueTask WriteCoreAsync(long offset, IReadOnlyList<ReadOnlyMemory<byte>> sources, IoMode mode)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentNullException.ThrowIfNull(sources);
        ThrowIfClosed(CffsOpenMode.Write);
        await _core.BeginWritingAsync(mode).ConfigureAwait(false);
        bool append = (_mode & CffsOpenMode.Append) != 0;
        await _core.Files.EnterForWriteAsync(_inode, append ? null : offset, sources.Sum(source => (long)source.Length), mode).ConfigureAwait(false);
        try
        {
            offset = append ? (long)_inode.Record.Size : offset;
            if (sources.Any(source => source.Length > 0))
            {
                await _core.Attributes.DropPrivilegesAsync(_inode, _keepsSetId, mode).ConfigureAwait(false);
            }

            foreach (ReadOnlyMemory<byte> source in sources)
            {
                await _core.Files.WriteAsync(_inode, offset, source, mode).ConfigureAwait(false);
                offset += source.Length;
            }
        }
        finally
        {
            _inode.Lock.Exit();
        }
    }

    private async ValueTask CloneRangeCoreAsync(long offset, CffsFile source, long sourceOffset, long lengthBytes, IoMode mode)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(sourceOffset);
        ArgumentOutOfRangeException.ThrowIfNegative(lengthBytes);
        ThrowIfClosed(CffsOpenMode.Write);
        source.ThrowIfClosed(CffsOpenMode.Read);
        if (source._core != _core)
        {
            throw new CffsException(CffsError.Invalid, "the files lie on different volumes");
        }

        CffsVolume.RequireSharing(_core);
        await _core.BeginWritingAsync(mode).ConfigureAwait(false);
        _ = await CffsVolume.CloneAsync(_core, source._inode, sourceOffset, _inode, offset, Math.Min(lengthBytes, long.MaxValue - 1), _keepsSetId, mode).ConfigureAwait(false);
    }

    private async ValueTask<IReadOnlyList<CffsExtent>> ReadExtentsCoreAsync(IoMode mode)
    {
        ThrowIfClosed(CffsOpenMode.None);
        await _inode.Lock.EnterAsync(mode).ConfigureAwait(false);
        try
        {
            return await _core.Files.ExtentsAsync(_inode, mode).ConfigureAwait(false);
        }
        finally
        {
            _inode.Lock.Exit();
        }
    }

    private async ValueTask SetLengthCoreAsync(long lengthBytes, IoMode mode)
    {
        ThrowIfClosed(CffsOpenMode.Write);
        await _core.BeginWritingAsync(mode).ConfigureAwait(false);
        await _inode.Lock.EnterAsync(mode).ConfigureAwait(false);
        try
        {
            await _core.Attributes.DropPrivilegesAsync(_inode, _keepsSetId, mode).ConfigureAwait(false);
            await _core.Files.SetLengthAsync(_inode, lengthBytes, mode).ConfigureAwait(false);
        }
        finally
        {
            _inode.Lock.Exit();
        }
    }

    private async ValueTask<CffsLease> LeaseCoreAsync(long offset, int lengthBytes, IoMode mode)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(lengthBytes);
        ThrowIfClosed(CffsOpenMode.Read);
        _ = await FetchApartAsync(offset, lengthBytes, cached: 0, mode).ConfigureAwait(false);
        await _inode.Lock.EnterAsync(mode).ConfigureAwait(false);
        List<FrameNumber> frames = [];
        try
        {
            await _core.Maps.EnsureAsync(_inode, mode).ConfigureAwait(false);
            int length = (int)Math.Min(lengthBytes, Math.Max(0, (long)_inode.Record.Size - offset));
            bool isCopy = _inode.Record.InlineLength > 0;
            if (_inode.Record.IsPacked && length > 0)
            {
                FrameNumber pack;
                while (!_core.Files.TryGetPack(_inode, out pack))
                {
                    await _core.Files.FetchAsync(_inode, offset, length, mode).ConfigureAwait(false);
                }

                frames.Add(pack);
                _core.Files.Accessed(_inode);
                return new CffsLease(
                    _core.Cache.Frames, frames, ((int)_inode.Record.Start * Sector.SizeBytes) + (int)offset, length, isCopy, Volatile.Read(ref _inode.Version));
            }

            ulong first = (ulong)offset / FramePool.FrameBytes;
            ulong end = length == 0 ? first : ((ulong)(offset + length - 1) / FramePool.FrameBytes) + 1;
            for (ulong logical = first; logical < end; logical++)
            {
                if (!isCopy && _inode.Map.TryFind(logical, out MappedExtent extent) && extent.Kind == TreeEntryKind.Contents)
                {
                    FrameNumber frame;
                    while (!_core.Cache.TryGet(new BlockNumber(extent.Start + (logical - extent.Logical)), out frame))
                    {
                        await _core.Files.FetchAsync(
                            _inode, (long)logical * FramePool.FrameBytes, (long)(end - logical) * FramePool.FrameBytes, mode).ConfigureAwait(false);
                    }

                    frames.Add(frame);
                    continue;
                }

                FrameNumber own = await _core.Cache.TakeFrameAsync(mode).ConfigureAwait(false);
                frames.Add(own);
                _core.Cache.Frames.Bytes(own).Clear();
                if (isCopy)
                {
                    _core.Files.ReadInline(_inode, 0, _core.Cache.Frames.Bytes(own)[..(int)_inode.Record.Size]);
                }
            }

            _core.Files.Accessed(_inode);
            _core.Files.Follow(_inode, offset, length);
            return new CffsLease(_core.Cache.Frames, frames, (int)(offset % FramePool.FrameBytes), length, isCopy, Volatile.Read(ref _inode.Version));
        }
        catch
        {
            foreach (FrameNumber frame in frames)
            {
                _core.Cache.Release(frame);
            }

            throw;
        }
        finally
        {
            _inode.Lock.Exit();
        }
    }

    private void ThrowIfClosed(CffsOpenMode needed)
    {
        ObjectDisposedException.ThrowIf(_closed != 0, this);
        ObjectDisposedException.ThrowIf(_volume.IsClosed, _volume);
        if ((_mode & needed) != needed)
        {
            CffsException.Throw(CffsError.BadHandle, $"the file was not opened for {needed}");
        }
    }
}
