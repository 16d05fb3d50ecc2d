// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah;

/// <summary>How many hold something that goes with the last of them; one at first. For any thread, and to be a field: a copy counts by itself.</summary>
internal struct HoldCount()
{
    private int count = 1;

    /// <summary>Holders, at that moment.</summary>
    public int Value => Volatile.Read(ref count);

    /// <summary>Adds a holder unless the last has gone.</summary>
    public bool TryAdd()
    {
        int seen = Volatile.Read(ref count);
        while (seen > 0)
        {
            int before = Interlocked.CompareExchange(ref count, seen + 1, seen);
            if (before == seen)
            {
                return true;
            }

            seen = before;
        }

        return false;
    }

    /// <summary>Takes a holder away; true when it was the last.</summary>
    public bool Remove()
    {
        int left = Interlocked.Decrement(ref count);
        Invariant.Check(left >= 0);
        return left == 0;
    }
}
