// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Files;
using Exo.FileSystems.CFFS.Inodes;

namespace Exo.FileSystems.CFFS;

/// <content>
/// Reads that are longer than what is brought in without the lock (<see cref="FileStore.ApartBytesMax"/>) go part by part: the disk works without the lock, and what is in core then is copied under it. Such a read is one read all the
/// same: when the contents have changed since its first part it begins anew. What is always changed, or cannot be read, is read under the lock.
/// </content>
public sealed partial class CffsFile
{
    private enum PartOutcome
    {
        More,
        Over,
        Changed,
    }

    /// <summary>How far a read has come, of what version of the contents.</summary>
    private struct PartialRead
    {
        public long Done;
        public long Version;
        public bool HasBegun;
    }

    private bool TryReadInParts(long offset, Span<byte> destination, out int read)
    {
        int vain = 0;
        PartialRead parts = default;
        while (vain < FileStore.ApartMax && FetchApartAsync(offset + parts.Done, destination.Length - parts.Done, cached: 0, IoMode.Sync).Take())
        {
            long before = parts.Done;
            _inode.Lock.Enter();
            try
            {
                if (CopyPart(offset, destination[(int)before..], isLast: true, ref parts) == PartOutcome.Over)
                {
                    read = (int)parts.Done;
                    return true;
                }
            }
            finally
            {
                _inode.Lock.Exit();
            }

            vain += parts.Done <= before ? 1 : 0;
        }

        read = 0;
        return false;
    }

    /// <summary>As <see cref="TryReadInParts"/>, into several buffers; null is false.</summary>
    private async ValueTask<long?> TryReadInPartsAsync(long offset, IReadOnlyList<Memory<byte>> destinations, IoMode mode)
    {
        long wanted = destinations.Sum(destination => (long)destination.Length);
        int vain = 0;
        PartialRead parts = default;
        int index = 0;
        long begin = 0;
        while (vain < FileStore.ApartMax && await FetchApartAsync(offset + parts.Done, wanted - parts.Done, cached: 0, mode).ConfigureAwait(false))
        {
            for (; index + 1 < destinations.Count && parts.Done == begin + destinations[index].Length; index++)
            {
                begin += destinations[index].Length;
            }

            long before = parts.Done;
            await _inode.Lock.EnterAsync(mode).ConfigureAwait(false);
            PartOutcome outcome;
            try
            {
                outcome = CopyPart(offset, destinations[index].Span[(int)(before - begin)..], isLast: index == destinations.Count - 1, ref parts);
            }
            finally
            {
                _inode.Lock.Exit();
            }

            if (outcome == PartOutcome.Over)
            {
                return parts.Done;
            }

            vain += parts.Done <= before ? 1 : 0;
            (index, begin) = outcome == PartOutcome.Changed ? (0, 0) : (index, begin);
        }

        return null;
    }

    /// <summary>Copies what of the rest is in core; over when that was all, or reached the end of the file. Under the lock.</summary>
    private PartOutcome CopyPart(long offset, Span<byte> rest, bool isLast, ref PartialRead parts)
    {
        if (parts.HasBegun && parts.Version != _inode.Version)
        {
            parts = default;
            return PartOutcome.Changed;
        }

        (parts.HasBegun, parts.Version) = (true, _inode.Version);
        int wanted = (int)Math.Min(rest.Length, Math.Max(0, (long)_inode.Record.Size - offset - parts.Done));
        int copied = _core.Files.ReadCached(_inode, offset + parts.Done, rest[..wanted]);
        parts.Done += copied;
        if (copied < wanted || (!isLast && wanted == rest.Length))
        {
            return PartOutcome.More;
        }

        _core.Files.Accessed(_inode);
        _core.Files.Follow(_inode, offset, parts.Done);
        return PartOutcome.Over;
    }
}
