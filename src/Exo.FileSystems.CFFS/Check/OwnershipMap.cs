// SPDX-License-Identifier: MIT
using System.Numerics;

namespace Exo.FileSystems.CFFS.Check;

/// <summary>
/// Which blocks of a disk are claimed, and which of them by two that cannot both be right. Blocks of contents may have several owners when <paramref name="sharesContents"/> says so
/// (the template flag Counted of <c>cffs.data</c>); a block that is contents to one and metadata to another may never.
/// </summary>
internal sealed class OwnershipMap(ulong blockCount, bool sharesContents)
{
    private readonly ulong[] _owned = new ulong[(blockCount + 63) / 64];
    private readonly ulong[] _contents = new ulong[sharesContents ? (blockCount + 63) / 64 : 0];

    public ulong BlockCount => blockCount;

    /// <summary>Blocks claimed at least once.</summary>
    public long Count { get; private set; }

    /// <summary>One bit for each block: claimed.</summary>
    public ReadOnlySpan<ulong> Words => _owned;

    public bool IsOwned(ulong block) => (_owned[block >> 6] >> (int)(block & 63) & 1) != 0;

    /// <summary>Whether any block of a range is claimed.</summary>
    public bool IsAnyOwned(ulong start, ulong count)
    {
        for (ulong at = start; at < start + count;)
        {
            ulong mask = MaskOf(at, start + count, out ulong next);
            if ((_owned[at >> 6] & mask) != 0)
            {
                return true;
            }

            at = next;
        }

        return false;
    }

    public bool TryOwn(ulong block, bool isContents) => TryOwn(block, 1, isContents, [], out _);

    /// <summary>
    /// Claims blocks. False when one of them is claimed already and may not have this second owner; then <paramref name="second"/> is the first of these,
    /// and all of them are marked in <paramref name="disputed"/>, unless that is empty.
    /// </summary>
    public bool TryOwn(ulong start, ulong count, bool isContents, Span<ulong> disputed, out ulong second)
    {
        second = 0;
        bool isFresh = true;
        for (ulong at = start; at < start + count;)
        {
            int word = (int)(at >> 6);
            ulong mask = MaskOf(at, start + count, out ulong next);
            ulong taken = _owned[word] & mask;
            if (sharesContents && isContents)
            {
                taken &= ~_contents[word];
                _contents[word] |= mask & ~_owned[word];
            }

            if (taken != 0)
            {
                second = isFresh ? ((ulong)word << 6) + (ulong)BitOperations.TrailingZeroCount(taken) : second;
                isFresh = false;
                if (!disputed.IsEmpty)
                {
                    disputed[word] |= taken;
                }
            }

            Count += BitOperations.PopCount(mask & ~_owned[word]);
            _owned[word] |= mask;
            at = next;
        }

        return isFresh;
    }

    /// <summary>The bits of the word of <paramref name="at"/> that lie in at..end; <paramref name="next"/> is where the next word begins.</summary>
    private static ulong MaskOf(ulong at, ulong end, out ulong next)
    {
        next = Math.Min(end, (at | 63) + 1);
        ulong mask = ulong.MaxValue << (int)(at & 63);
        return (next & 63) == 0 ? mask : mask & ((1UL << (int)(next & 63)) - 1);
    }
}
