// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS;

/// <summary>
/// The entries of a directory one after another, in the order of their positions, as readdir(3) gives them: an entry that is there from the first <see cref="Next"/> to the last is seen once; one that comes,
/// goes or gets another name meanwhile may be seen or not. Reads ahead; holds one block of the directory; allocates nothing for an entry. Not thread-safe; others may change the directory.
/// <code>
/// using CffsDirectory directory = volume.OpenDirectory("/mail");
/// using CffsDirectoryReader entries = directory.Read();
/// while (entries.Next())
/// {
///     total += entries.Stat().Size; // entries.Name is the name as bytes
/// }
/// </code>
/// </summary>
public sealed class CffsDirectoryReader : IDisposable
{
    private readonly VolumeCore _core;
    private readonly Inode _directory;
    private readonly byte[] _block = new byte[4096];
    private readonly byte[] _name = new byte[Slot.NameBytesMax];
    private ulong _logical;
    private bool _isRead;
    private int _index;
    private Record _record;
    private int _closed;

    internal CffsDirectoryReader(VolumeCore core, Inode directory, long afterPosition)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(afterPosition, -1);
        _core = core;
        _directory = directory;
        _core.Inodes.Hold(directory);
        _logical = (ulong)(afterPosition + 1) / Slot.PerBlock;
        _index = (int)((ulong)(afterPosition + 1) % Slot.PerBlock) - 1;
    }

    /// <summary>The name's bytes, until the next <see cref="Next"/>.</summary>
    public ReadOnlySpan<byte> Name => _name.AsSpan(0, _record.NameLength);

    /// <summary>Inode number.</summary>
    public ulong Inode => _record.Inode;

    /// <summary>What it is.</summary>
    public CffsKind Kind => ModeBits.KindOf(_record.Mode);

    /// <summary>Where in the directory: enumeration can go on after it, also in a later mount.</summary>
    public long Position { get; private set; } = -1;

    /// <summary>Goes to the next entry, reading blocks on the calling thread. False when there is none.</summary>
    /// <exception cref="CffsException">Corrupt.</exception>
    /// <exception cref="IOException">The device failed.</exception>
    public bool Next()
    {
        while (true)
        {
            if (_isRead && Advance())
            {
                return true;
            }

            if (!ReadAsync(IoMode.Sync).Take())
            {
                return false;
            }
        }
    }

    /// <summary>Goes to the next entry. False when there is none.</summary>
    /// <exception cref="CffsException">Corrupt.</exception>
    /// <exception cref="IOException">The device failed.</exception>
    public ValueTask<bool> NextAsync(CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return _isRead && Advance() ? new ValueTask<bool>(true) : ReadOnAsync();
    }

    /// <summary>
    /// The attributes of the entry. Those of a file that nobody uses come from the block that is being read; those of one with several names, of a fragmented file and of a directory may need input.
    /// </summary>
    /// <exception cref="CffsException">NotFound: it has just gone; Corrupt.</exception>
    public CffsStat Stat() => StatCoreAsync(IoMode.Sync).Take();

    /// <summary>As <see cref="Stat"/>.</summary>
    public ValueTask<CffsStat> StatAsync(CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return StatCoreAsync(IoMode.Async);
    }

    /// <summary>Ends the enumeration.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _closed, 1) == 0)
        {
            _core.Inodes.Release(_directory);
        }
    }

    private bool Advance()
    {
        while (++_index < Slot.PerBlock)
        {
            ReadOnlySpan<byte> sector = _block.AsSpan((_index >> 2) * Sector.SizeBytes, Sector.SizeBytes);
            if (Slot.IsHead(sector[((_index & 3) * Slot.SizeBytes)..]) && Record.TryParse(sector, _index & 3, out _record))
            {
                Record.ReadContents(sector, _index & 3, 0, _name.AsSpan(0, _record.NameLength));
                Position = (long)(_logical * Slot.PerBlock) + _index;
                return true;
            }
        }

        _isRead = false;
        _logical++;
        _index = -1;
        return false;
    }

    private async ValueTask<bool> ReadOnAsync()
    {
        while (await ReadAsync(IoMode.Async).ConfigureAwait(false))
        {
            if (Advance())
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>The next block, as it is now, without what has lost its name.</summary>
    private async ValueTask<bool> ReadAsync(IoMode mode)
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _closed) != 0, this);
        await _directory.Lock.EnterAsync(mode).ConfigureAwait(false);
        try
        {
            if (_directory.IsRemoved || await _core.Directories.CopyBlockAsync(_directory, _logical, _block, mode).ConfigureAwait(false) is not { } found)
            {
                return false;
            }

            _index = found == _logical ? _index : -1;
            _logical = found;
            _isRead = true;
            return true;
        }
        finally
        {
            _directory.Lock.Exit();
        }
    }

    private ValueTask<CffsStat> StatCoreAsync(IoMode mode)
    {
        if (Position < 0)
        {
            throw new InvalidOperationException("there is no entry yet");
        }

        return _record.Kind is SlotKind.File or SlotKind.Special or SlotKind.SymbolicLink && !_record.HasTree && !_core.Inodes.Contains(_record.Inode)
            ? new ValueTask<CffsStat>(CffsVolume.StatOf(_record, _record.Links))
            : StatSlowlyAsync(mode);
    }

    private async ValueTask<CffsStat> StatSlowlyAsync(IoMode mode)
    {
        Inode? inode = _core.Inodes.TryHold(_record.Inode);
        if (inode is null)
        {
            await _directory.Lock.EnterAsync(mode).ConfigureAwait(false);
            try
            {
                inode = await FindAsync(mode).ConfigureAwait(false);
            }
            finally
            {
                _directory.Lock.Exit();
            }
        }

        try
        {
            return await CffsVolume.StatInodeAsync(_core, inode, mode).ConfigureAwait(false);
        }
        finally
        {
            _core.Inodes.Release(inode);
        }
    }

    private async ValueTask<Inode> FindAsync(IoMode mode)
    {
        DirectoryState state = await _core.Directories.EnsureLoadedAsync(_directory, mode).ConfigureAwait(false);
        SlotPlace place = await _core.Directories.PlaceAsync(_directory, (uint)Position, mode).ConfigureAwait(false);
        if (state.Dead.Contains(place.Address) || !Record.TryParse(_core.Directories.SectorOf(place), place.InSector, out Record record) || record.Inode != _record.Inode)
        {
            _core.Cache.Release(place.Frame);
            throw new CffsException(CffsError.NotFound, $"the entry at {Position} has gone");
        }

        return await _core.GetInodeAsync(_directory, place, mode).ConfigureAwait(false);
    }
}
