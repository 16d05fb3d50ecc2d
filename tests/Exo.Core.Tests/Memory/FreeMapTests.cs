// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.Memory;

namespace Exo.Core.Tests.Memory;

public sealed class FreeMapTests
{
    // More than two groups of 64 words, and the last one is not whole.
    private const int Frames = 9_001;

    [Fact]
    public void A_run_is_the_lowest_one_that_fits_however_much_is_taken()
    {
        Gen<(int At, int Length)> hole = Gen.Select(Gen.Int[0, Frames - 1], Gen.Int[1, 200]);
        Gen.Select(hole.Array[0, 6], Gen.Int[1, 250].Array[1, 12]).Sample(
            (holes, runs) =>
            {
                FreeMap map = new(Frames);
                bool[] isFree = new bool[Frames];
                Assert.True(map.TryTakeRun(Frames, out uint all));
                Assert.Equal(0u, all);
                Assert.False(map.TryTakeRun(1, out _));
                foreach ((int at, int length) in holes)
                {
                    for (int i = at; i < Math.Min(at + length, Frames); i++)
                    {
                        if (!isFree[i])
                        {
                            map.Give((uint)i);
                            isFree[i] = true;
                        }
                    }
                }

                foreach (int run in runs)
                {
                    int expected = Lowest(isFree, run);
                    Assert.Equal(expected >= 0, map.TryTakeRun(run, out uint first));
                    if (expected >= 0)
                    {
                        Assert.Equal((uint)expected, first);
                        Array.Fill(isFree, false, expected, run);
                    }
                }

                Assert.Equal(isFree.Count(free => free), map.FreeCount);
            },
            iter: 400);
    }

    [Fact]
    public void What_is_given_back_while_others_search_is_found_afterwards()
    {
        FreeMap map = new(Frames);
        Parallel.For(0, 4, new ParallelOptions { MaxDegreeOfParallelism = 4 }, thread =>
        {
            Random random = new(thread);
            Queue<(uint First, int Count)> held = new();
            for (int i = 0; i < 10_000; i++)
            {
                // Hardly anything is free, so that words become empty and not empty all the time.
                int count = random.Next(1, 100);
                if (map.TryTakeRun(count, out uint first))
                {
                    held.Enqueue((first, count));
                }

                if (held.Count > 0 && (random.Next(3) == 0 || map.FreeCount < 100))
                {
                    GiveBack(held.Dequeue());
                }
            }

            foreach ((uint First, int Count) run in held)
            {
                GiveBack(run);
            }

            void GiveBack((uint First, int Count) run)
            {
                for (uint frame = run.First; frame < run.First + run.Count; frame++)
                {
                    map.Give(frame);
                }
            }
        });
        Assert.True(map.TryTakeRun(Frames, out _));
    }

    private static int Lowest(bool[] isFree, int count)
    {
        int run = 0;
        for (int i = 0; i < isFree.Length; i++)
        {
            run = isFree[i] ? run + 1 : 0;
            if (run == count)
            {
                return i - count + 1;
            }
        }

        return -1;
    }
}
