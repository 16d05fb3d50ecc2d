// SPDX-License-Identifier: MIT
using System.Numerics;

namespace Exo.Storage.XN;

/// <summary>The free map: one bit a block, 1 = free. Changed under the volume's lock, read by anyone.</summary>
internal sealed class DiskFreeMap(ulong blockCount)
{
    private ulong[] _words = new ulong[(blockCount + 63) / 64];
    private ulong _blockCount = blockCount;

    public ReadOnlySpan<ulong> Words => _words;

    public ulong FreeBlocks { get; private set; }

    public bool IsFree(ulong block) => (_words[block >> 6] >> (int)(block & 63) & 1) != 0;

    public bool AreFree(in BlockExtent extent)
    {
        ulong end = extent.First.Value + extent.Count;
        for (ulong block = extent.First.Value; block < end; block++)
        {
            if ((block & 63) == 0 && end - block >= 64)
            {
                if (_words[block >> 6] != ulong.MaxValue)
                {
                    return false;
                }

                block += 63;
            }
            else if (!IsFree(block))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>The first block from one on that is in use; <see cref="ulong.MaxValue"/> when all are free.</summary>
    public ulong FirstUsed(ulong first)
    {
        for (ulong block = first; block < _blockCount; block++)
        {
            if ((block & 63) == 0 && _blockCount - block >= 64 && _words[block >> 6] == ulong.MaxValue)
            {
                block += 63;
            }
            else if (!IsFree(block))
            {
                return block;
            }
        }

        return ulong.MaxValue;
    }

    /// <summary>Another size: blocks that come are free; those that go are free too. Readers keep the words that they have.</summary>
    public void Resize(ulong blockCount)
    {
        Invariant.Check(FirstUsed(blockCount) == ulong.MaxValue);
        ulong[] words = new ulong[(blockCount + 63) / 64];
        _words.AsSpan(0, Math.Min(words.Length, _words.Length)).CopyTo(words);
        for (ulong block = _blockCount; block < blockCount; block++)
        {
            words[block >> 6] |= 1UL << (int)(block & 63);
        }

        _words = words;
        _blockCount = blockCount;
        Recount();
    }

    public void Take(in BlockExtent extent)
    {
        for (ulong block = extent.First.Value; block < extent.First.Value + extent.Count; block++)
        {
            Invariant.Check(IsFree(block));
            _words[block >> 6] &= ~(1UL << (int)(block & 63));
        }

        FreeBlocks -= extent.Count;
    }

    public void Give(in BlockExtent extent)
    {
        for (ulong block = extent.First.Value; block < extent.First.Value + extent.Count; block++)
        {
            Invariant.Check(!IsFree(block));
            _words[block >> 6] |= 1UL << (int)(block & 63);
        }

        FreeBlocks += extent.Count;
    }

    /// <summary>Fills the map from a snapshot's words.</summary>
    public void Load(ulong firstWord, ReadOnlySpan<ulong> words)
    {
        words.CopyTo(_words.AsSpan((int)firstWord));
        FreeBlocks = 0;
    }

    /// <summary>Counts the free blocks after <see cref="Load"/>, and clears bits beyond the disk.</summary>
    public void Recount()
    {
        if ((_blockCount & 63) != 0)
        {
            _words[^1] &= (1UL << (int)(_blockCount & 63)) - 1;
        }

        ulong free = 0;
        foreach (ulong word in _words)
        {
            free += (ulong)BitOperations.PopCount(word);
        }

        FreeBlocks = free;
    }
}
