// SPDX-License-Identifier: MIT
namespace Exo.Tests;

/// <summary>What a piece of code allocates on the managed heap, by itself.</summary>
internal static class Allocations
{
    /// <summary>
    /// The bytes that every pass allocates on this thread: the least of several. What the runtime allocates once, when it compiles a loop anew, is not the code's; and a collection that some other thread brings about in the
    /// middle of a pass counts what was left of this thread's allocation area.
    /// </summary>
    public static long Least(Action pass)
    {
        const int PassesMax = 20;
        long least = long.MaxValue;
        for (int i = 0; i < PassesMax && least > 0; i++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            pass();
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        return least;
    }
}
