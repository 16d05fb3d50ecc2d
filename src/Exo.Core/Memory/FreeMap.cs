// SPDX-License-Identifier: MIT
using System.Numerics;

namespace Exo.Core.Memory;

/// <summary>
/// One bit per frame, set = free, in an array that everybody may read. A frame belongs to whoever clears its bit, so taking
/// and giving back are one atomic instruction each; only searches for a run exclude one another.
/// </summary>
/// <remarks>
/// <see cref="FreeCount"/> is raised before a bit is set and lowered after it is cleared: it is never below the number of
/// set bits, hence zero means that there is none.
/// A second map has a bit for each word in which a search for a run might find something, so that what is taken throughout is passed by 4,096 frames at a time: a cache is full as a rule. Only such searches clear it; whoever
/// gives something back looks whether it is set after that, and a search looks at the word once more after clearing, so that no word with a set bit stays without one.
/// </remarks>
internal sealed class FreeMap
{
    private readonly ulong[] _words;
    private readonly ulong[] _hasFree;
    private readonly Lock _runs = new();
    private readonly int _count;
    private int _freeCount;
    private int _hint;

    public FreeMap(int count)
    {
        _count = count;
        _freeCount = count;
        _words = new ulong[(count + 63) / 64];
        Array.Fill(_words, ulong.MaxValue);
        if (count % 64 != 0)
        {
            _words[^1] = (1UL << (count % 64)) - 1;
        }

        _hasFree = new ulong[(_words.Length + 63) / 64];
        Array.Fill(_hasFree, ulong.MaxValue);
    }

    public ReadOnlySpan<ulong> Words => _words;

    public int FreeCount => Volatile.Read(ref _freeCount);

    /// <summary>Takes any. Starts where something was last given back, which is memory still in the cache.</summary>
    public bool TryTakeAny(out uint index)
    {
        // A frame given back behind the search would be overlooked: look again while the count says that there is one.
        for (int attempt = 0; attempt < 3 && FreeCount > 0; attempt++)
        {
            int start = Volatile.Read(ref _hint);
            for (int i = 0, w = start; i < _words.Length; i++, w = w + 1 == _words.Length ? 0 : w + 1)
            {
                ulong word = Volatile.Read(ref _words[w]);
                while (word != 0)
                {
                    int bit = BitOperations.TrailingZeroCount(word);
                    ulong before = Interlocked.And(ref _words[w], ~(1UL << bit));
                    if ((before >> bit & 1) != 0)
                    {
                        Interlocked.Decrement(ref _freeCount);
                        if (w != start)
                        {
                            Volatile.Write(ref _hint, w);
                        }

                        index = (uint)(w * 64 + bit);
                        return true;
                    }

                    word = Volatile.Read(ref _words[w]);
                }
            }
        }

        index = 0;
        return false;
    }

    /// <summary>Takes exactly this one.</summary>
    public bool TryTake(uint index)
    {
        ulong bit = 1UL << (int)(index % 64);
        if ((Interlocked.And(ref _words[index / 64], ~bit) & bit) == 0)
        {
            return false;
        }

        Interlocked.Decrement(ref _freeCount);
        return true;
    }

    /// <summary>Takes <paramref name="count"/> that follow one another, the lowest that fit.</summary>
    public bool TryTakeRun(int count, out uint first)
    {
        lock (_runs)
        {
            long start = 0;
            while (FindRun(start, count) is long found and >= 0)
            {
                long taken = found;
                while (taken < found + count && TryTake((uint)taken))
                {
                    taken++;
                }

                if (taken == found + count)
                {
                    first = (uint)found;
                    return true;
                }

                // Somebody was quicker in the middle: give back the beginning and go on behind that frame.
                for (long i = found; i < taken; i++)
                {
                    Give((uint)i);
                }

                start = taken + 1;
            }
        }

        first = 0;
        return false;
    }

    /// <summary>Gives one back. The caller has made sure that it was taken.</summary>
    public void Give(uint index)
    {
        Interlocked.Increment(ref _freeCount);
        ulong bit = 1UL << (int)(index % 64);
        ulong before = Interlocked.Or(ref _words[index / 64], bit);
        Invariant.Check((before & bit) == 0);
        MarkFree((int)(index / 64));
        Volatile.Write(ref _hint, (int)(index / 64));
    }

    /// <summary>The first of <paramref name="count"/> set bits in a row at or behind <paramref name="start"/>; -1 if there is none.</summary>
    private long FindRun(long start, int count)
    {
        long runStart = start;
        long at = start;
        while (at < _count)
        {
            if (at % 64 == 0 && NextWithFree((int)(at / 64)) is int next && next * 64L != at)
            {
                at = runStart = next * 64L;
                continue;
            }

            ulong word = Volatile.Read(ref _words[at / 64]) >> (int)(at % 64);
            int inWord = 64 - (int)(at % 64);
            int ones = Math.Min(BitOperations.TrailingZeroCount(~word), inWord);
            at += ones;
            if (at - runStart >= count)
            {
                return runStart;
            }

            if (ones < inWord)
            {
                // A taken frame ends the run; skip all taken ones of this word. (ones < 64: the shift is defined.)
                ulong rest = word >> ones;
                at += Math.Min(BitOperations.TrailingZeroCount(rest), inWord - ones);
                runStart = at;
            }
        }

        return -1;
    }

    /// <summary>The first word from one on in which something may be free; the number of words if there is none.</summary>
    private int NextWithFree(int word)
    {
        while (word < _words.Length)
        {
            ulong group = Volatile.Read(ref _hasFree[word / 64]) >> (word % 64);
            if (group == 0)
            {
                word = (word / 64 + 1) * 64;
                continue;
            }

            word += BitOperations.TrailingZeroCount(group);
            if (word >= _words.Length || Volatile.Read(ref _words[word]) != 0)
            {
                break;
            }

            Interlocked.And(ref _hasFree[word / 64], ~(1UL << (word % 64)));
            if (Volatile.Read(ref _words[word]) != 0)
            {
                MarkFree(word);
            }
        }

        return Math.Min(word, _words.Length);
    }

    private void MarkFree(int word)
    {
        ulong bit = 1UL << (word % 64);
        if ((Volatile.Read(ref _hasFree[word / 64]) & bit) == 0)
        {
            Interlocked.Or(ref _hasFree[word / 64], bit);
        }
    }
}
