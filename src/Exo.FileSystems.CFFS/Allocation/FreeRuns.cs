// SPDX-License-Identifier: MIT
using System.Numerics;
using Exo.Core.Blocks;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Allocation;

/// <summary>
/// The free blocks of a disk as runs: XN's exported free map without what has been set aside, and without what is closed. Looks at words of 64 blocks. Guarded by the volume's metadata lock.
/// </summary>
internal sealed class FreeRuns(XnVolume disk)
{
    private ulong[] _setAside = new ulong[(disk.BlockCount + 63) / 64];

    /// <summary>Blocks set aside.</summary>
    public ulong SetAsideBlocks { get; private set; }

    /// <summary>Blocks that are not found.</summary>
    public ClosedBlocks Closed { get; set; } = ClosedBlocks.None;

    /// <summary>The end of what can be found.</summary>
    public ulong End => Math.Min(disk.BlockCount, Closed.From);

    /// <summary>How long the run is that begins at a block; at most <paramref name="most"/>, 0 when the block is not free.</summary>
    public uint LengthAt(ulong start, uint most)
    {
        ulong end = End;
        ulong length = 0;
        while (length < most && start + length < end)
        {
            int bit = (int)((start + length) & 63);
            int run = Math.Min(64 - bit, BitOperations.TrailingZeroCount(~Word((start + length) >> 6) >> bit));
            length += (uint)run;
            if (run < 64 - bit)
            {
                break;
            }
        }

        return (uint)Math.Min(Math.Min(length, most), start < end ? end - start : 0);
    }

    /// <summary>How many free blocks lie right before a block; at most <paramref name="most"/>.</summary>
    public uint LengthBefore(ulong end, uint most)
    {
        uint length = 0;
        while (length < most && length < end && end - length - 1 < End && IsFree(end - length - 1))
        {
            length++;
        }

        return length;
    }

    public bool IsFree(ulong block) => block < End && (Word(block >> 6) >> (int)(block & 63) & 1) != 0;

    /// <summary>
    /// Goes over the runs that begin in a range, in order, until one has <paramref name="wanted"/> blocks. The longest one seen replaces <paramref name="best"/> if it is longer.
    /// At most <paramref name="words"/> words of the map are looked at, and what is left of that allowance is given back.
    /// </summary>
    public bool TryFirst(ulong from, ulong to, uint wanted, ref BlockExtent best, ref long words)
    {
        to = Math.Min(to, End);
        for (ulong block = from; block < to && words > 0;)
        {
            ulong word = Word(block >> 6) >> (int)(block & 63);
            if (word == 0)
            {
                block = (block | 63) + 1;
                words--;
                continue;
            }

            block += (uint)BitOperations.TrailingZeroCount(word);
            if (block >= to)
            {
                break;
            }

            uint length = LengthAt(block, wanted);
            if (length > best.Count)
            {
                best = new BlockExtent(new BlockNumber(block), length);
                if (length == wanted)
                {
                    return true;
                }
            }

            words -= length >> 6;
            block += Math.Max(length, 1);
            words -= (block & 63) < length ? 1 : 0;
        }

        return false;
    }

    /// <summary>The shortest hole in a range that has <paramref name="wanted"/> blocks and is shorter than <paramref name="below"/>: longer runs are no holes.</summary>
    public bool TryHole(ulong from, ulong to, uint wanted, uint below, out BlockExtent hole)
    {
        hole = default;
        uint shortest = below;
        to = Math.Min(to, End);
        for (ulong block = from; block < to;)
        {
            ulong word = Word(block >> 6) >> (int)(block & 63);
            if (word == 0)
            {
                block = (block | 63) + 1;
                continue;
            }

            block += (uint)BitOperations.TrailingZeroCount(word);
            uint length = LengthAt(block, below);
            if (length >= wanted && length < shortest && (block > from || LengthBefore(block, 1) == 0))
            {
                shortest = length;
                hole = new BlockExtent(new BlockNumber(block), wanted);
            }

            block += Math.Max(length, 1);
        }

        return hole.Count > 0;
    }

    /// <summary>Sets blocks aside, or gives them back.</summary>
    public void Set(in BlockExtent extent, bool aside)
    {
        ulong block = extent.First.Value;
        ulong end = block + extent.Count;
        if ((end + 63) / 64 > (ulong)_setAside.Length)
        {
            Array.Resize(ref _setAside, (int)((Math.Max(end, disk.BlockCount) + 63) / 64));
        }

        while (block < end)
        {
            int bit = (int)(block & 63);
            int count = (int)Math.Min((ulong)(64 - bit), end - block);
            ulong mask = (count == 64 ? ulong.MaxValue : (1UL << count) - 1) << bit;
            _setAside[block >> 6] = aside ? _setAside[block >> 6] | mask : _setAside[block >> 6] & ~mask;
            block += (uint)count;
        }

        SetAsideBlocks = aside ? SetAsideBlocks + extent.Count : SetAsideBlocks - extent.Count;
    }

    /// <summary>Gives everything back that has been set aside.</summary>
    public void Clear()
    {
        Array.Clear(_setAside);
        SetAsideBlocks = 0;
    }

    private ulong Word(ulong word)
    {
        ulong free = word < (ulong)_setAside.Length ? disk.FreeMap[(int)word] & ~_setAside[word] : disk.FreeMap[(int)word];
        return Closed.HasWord(word) ? 0 : free;
    }
}
