// SPDX-License-Identifier: MIT
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

/// <summary>The bytes of a disk whose partition table is read. Reads whole aligned pages, as direct I/O wants them.</summary>
internal abstract class TableSource : IDisposable
{
    /// <summary>Bytes on the disk.</summary>
    public abstract long LengthBytes { get; }

    /// <summary>The disk's sector; 0 if it is an image, whose tables may count in another.</summary>
    public virtual int SectorBytes => 0;

    /// <summary>Fills <paramref name="bytes"/>; false if that leaves the disk or the disk fails.</summary>
    public bool TryRead(long offsetBytes, Span<byte> bytes)
    {
        if (offsetBytes < 0 || bytes.Length > LengthBytes || offsetBytes > LengthBytes - bytes.Length)
        {
            return false;
        }

        while (!bytes.IsEmpty)
        {
            int within = (int)(offsetBytes % FramePool.FrameBytes);
            if (!TryReadPage(offsetBytes - within, out ReadOnlySpan<byte> page) || page.Length <= within)
            {
                return false;
            }

            ReadOnlySpan<byte> piece = page[within..];
            piece = piece[..Math.Min(piece.Length, bytes.Length)];
            piece.CopyTo(bytes);
            bytes = bytes[piece.Length..];
            offsetBytes += piece.Length;
        }

        return true;
    }

    public abstract void Dispose();

    /// <summary>The page at a multiple of 4,096; shorter at the end of the disk.</summary>
    protected abstract bool TryReadPage(long offsetBytes, out ReadOnlySpan<byte> page);
}
