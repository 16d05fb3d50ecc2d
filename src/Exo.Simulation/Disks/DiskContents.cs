// SPDX-License-Identifier: MIT
using Exo.Core.Memory;

namespace Exo.Simulation.Disks;

/// <summary>
/// What a disk holds at one moment: a value that never changes. Blocks that were never written hold zeroes and take no memory;
/// contents made from one another share the blocks in which they do not differ.
/// </summary>
public sealed class DiskContents
{
    private static readonly byte[] s_zeroes = new byte[FramePool.FrameBytes];

    // Invariant: no element of _blocks is written after it has been put there. Null is a block of zeroes.
    private readonly byte[]?[] _blocks;

    private DiskContents(byte[]?[] blocks) => _blocks = blocks;

    /// <summary>Blocks of 4 KiB on the disk.</summary>
    public long BlockCount => _blocks.LongLength;

    /// <summary>The 4,096 bytes of a block.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The disk has no such block.</exception>
    public ReadOnlySpan<byte> this[ulong block]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(block, (ulong)_blocks.LongLength);
            return _blocks[block] ?? s_zeroes;
        }
    }

    /// <summary>A disk of zeroes.</summary>
    /// <exception cref="ArgumentOutOfRangeException">No block, or more than an array holds.</exception>
    public static DiskContents Zeroes(long blockCount)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(blockCount, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(blockCount, Array.MaxLength);
        return new DiskContents(new byte[]?[blockCount]);
    }

    /// <summary>The contents of an image; a rest that is no whole block is left out.</summary>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static DiskContents Load(Stream image)
    {
        ArgumentNullException.ThrowIfNull(image);
        List<byte[]?> blocks = [];
        byte[] block = new byte[FramePool.FrameBytes];
        while (image.ReadAtLeast(block, block.Length, throwOnEndOfStream: false) == block.Length)
        {
            bool isZero = block.AsSpan().IndexOfAnyExcept((byte)0) < 0;
            blocks.Add(isZero ? null : block);
            block = isZero ? block : new byte[FramePool.FrameBytes];
        }

        return new DiskContents([.. blocks]);
    }

    /// <summary>Writes the contents as an image, from the stream's position on.</summary>
    public void Save(Stream image)
    {
        ArgumentNullException.ThrowIfNull(image);
        foreach (byte[]? block in _blocks)
        {
            image.Write(block ?? s_zeroes);
        }
    }

    /// <summary>These contents, to be changed.</summary>
    internal Builder ToBuilder() => new(_blocks);

    /// <summary>Contents under change. Replaces blocks, never writes into one.</summary>
    internal sealed class Builder
    {
        private byte[]?[] _blocks;
        private bool _isShared = true;

        public Builder(byte[]?[] blocks) => _blocks = blocks;

        public ReadOnlySpan<byte> this[ulong block] => _blocks[block] ?? s_zeroes;

        /// <summary>The bytes become the builder's; the caller changes them no more.</summary>
        public void Replace(ulong block, byte[]? bytes)
        {
            if (_isShared)
            {
                _blocks = (byte[]?[])_blocks.Clone();
                _isShared = false;
            }

            _blocks[block] = bytes;
        }

        /// <summary>Replaces a part of a block.</summary>
        public void Patch(ulong block, int offsetBytes, ReadOnlySpan<byte> bytes)
        {
            byte[] patched = this[block].ToArray();
            bytes.CopyTo(patched.AsSpan(offsetBytes));
            Replace(block, patched);
        }

        public DiskContents ToContents()
        {
            _isShared = true;
            return new DiskContents(_blocks);
        }
    }
}
