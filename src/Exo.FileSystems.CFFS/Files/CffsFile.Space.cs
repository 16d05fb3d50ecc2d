// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;

namespace Exo.FileSystems.CFFS;

/// <content>Blocks ahead of their use, and holes (fallocate(2), lseek(2)).</content>
public sealed partial class CffsFile
{
    /// <summary>Gives the holes of a range blocks of zeros, so that writing there later needs no space. What the range holds stays; the file grows to the range's end, unless its length is kept.</summary>
    /// <param name="offset">Where the range begins.</param>
    /// <param name="lengthBytes">How long it is; at least 1.</param>
    /// <param name="keepLength">Blocks beyond the end are allocated, and the length stays (<c>FALLOC_FL_KEEP_SIZE</c>).</param>
    /// <exception cref="CffsException">BadHandle, NoSpace (nothing has changed then), FileTooLarge, ReadOnly.</exception>
    public void Allocate(long offset, long lengthBytes, bool keepLength = false) => AllocateCoreAsync(offset, lengthBytes, keepLength, IoMode.Sync).Take();

    /// <inheritdoc cref="Allocate"/>
    public ValueTask AllocateAsync(long offset, long lengthBytes, bool keepLength = false, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return AllocateCoreAsync(offset, lengthBytes, keepLength, IoMode.Async);
    }

    /// <summary>Makes a range read as zeros and gives back the blocks that lie in it as a whole (<c>FALLOC_FL_PUNCH_HOLE</c>). The length stays.</summary>
    /// <param name="offset">Where the range begins.</param>
    /// <param name="lengthBytes">How long it is; at least 1. It may end beyond the file.</param>
    /// <exception cref="CffsException">BadHandle, NoSpace, FileTooLarge, ReadOnly.</exception>
    public void PunchHole(long offset, long lengthBytes) => PunchHoleCoreAsync(offset, lengthBytes, IoMode.Sync).Take();

    /// <inheritdoc cref="PunchHole"/>
    public ValueTask PunchHoleAsync(long offset, long lengthBytes, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return PunchHoleCoreAsync(offset, lengthBytes, IoMode.Async);
    }

    /// <summary>Makes a range read as zeros and gives all of it blocks (<c>FALLOC_FL_ZERO_RANGE</c>). The file grows to the range's end, unless its length is kept.</summary>
    /// <param name="offset">Where the range begins.</param>
    /// <param name="lengthBytes">How long it is; at least 1.</param>
    /// <param name="keepLength">The length stays.</param>
    /// <exception cref="CffsException">BadHandle, NoSpace (nothing has changed then), FileTooLarge, ReadOnly.</exception>
    public void ZeroRange(long offset, long lengthBytes, bool keepLength = false) => ZeroRangeCoreAsync(offset, lengthBytes, keepLength, IoMode.Sync).Take();

    /// <inheritdoc cref="ZeroRange"/>
    public ValueTask ZeroRangeAsync(long offset, long lengthBytes, bool keepLength = false, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return ZeroRangeCoreAsync(offset, lengthBytes, keepLength, IoMode.Async);
    }

    /// <summary>The first offset, from one on, at which the file has data (<c>SEEK_DATA</c>); -1 when none follows. Contents that lie in the file's record, and blocks of zeros, are data.</summary>
    /// <exception cref="CffsException">BadHandle, Corrupt.</exception>
    public long SeekData(long offset) => SeekCoreAsync(offset, data: true, IoMode.Sync).Take();

    /// <inheritdoc cref="SeekData"/>
    public ValueTask<long> SeekDataAsync(long offset, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return SeekCoreAsync(offset, data: true, IoMode.Async);
    }

    /// <summary>The first offset, from one on, at which the file has a hole (<c>SEEK_HOLE</c>); its end counts as one. -1 when the offset is at the end or beyond.</summary>
    /// <exception cref="CffsException">BadHandle, Corrupt.</exception>
    public long SeekHole(long offset) => SeekCoreAsync(offset, data: false, IoMode.Sync).Take();

    /// <inheritdoc cref="SeekHole"/>
    public ValueTask<long> SeekHoleAsync(long offset, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return SeekCoreAsync(offset, data: false, IoMode.Async);
    }

    private async ValueTask AllocateCoreAsync(long offset, long lengthBytes, bool keepLength, IoMode mode)
    {
        await EnterForRangeAsync(offset, lengthBytes, mode).ConfigureAwait(false);
        try
        {
            await _core.Attributes.DropPrivilegesAsync(_inode, _keepsSetId, mode).ConfigureAwait(false);
            await _core.Files.AllocateAsync(_inode, offset, lengthBytes, keepLength, mode).ConfigureAwait(false);
        }
        finally
        {
            _inode.Lock.Exit();
        }
    }

    private async ValueTask PunchHoleCoreAsync(long offset, long lengthBytes, IoMode mode)
    {
        await EnterForRangeAsync(offset, lengthBytes, mode).ConfigureAwait(false);
        try
        {
            await _core.Attributes.DropPrivilegesAsync(_inode, _keepsSetId, mode).ConfigureAwait(false);
            await _core.Files.PunchAsync(_inode, offset, lengthBytes, mode).ConfigureAwait(false);
        }
        finally
        {
            _inode.Lock.Exit();
        }
    }

    private async ValueTask ZeroRangeCoreAsync(long offset, long lengthBytes, bool keepLength, IoMode mode)
    {
        await EnterForRangeAsync(offset, lengthBytes, mode).ConfigureAwait(false);
        try
        {
            await _core.Attributes.DropPrivilegesAsync(_inode, _keepsSetId, mode).ConfigureAwait(false);
            await _core.Files.ZeroAsync(_inode, offset, lengthBytes, keepLength, mode).ConfigureAwait(false);
        }
        finally
        {
            _inode.Lock.Exit();
        }
    }

    private async ValueTask EnterForRangeAsync(long offset, long lengthBytes, IoMode mode)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(lengthBytes);
        ThrowIfClosed(CffsOpenMode.Write);
        await _core.BeginWritingAsync(mode).ConfigureAwait(false);
        await _inode.Lock.EnterAsync(mode).ConfigureAwait(false);
    }

    private async ValueTask<long> SeekCoreAsync(long offset, bool data, IoMode mode)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ThrowIfClosed(CffsOpenMode.None);
        await _inode.Lock.EnterAsync(mode).ConfigureAwait(false);
        try
        {
            return await _core.Files.SeekAsync(_inode, offset, data, mode).ConfigureAwait(false);
        }
        finally
        {
            _inode.Lock.Exit();
        }
    }
}
