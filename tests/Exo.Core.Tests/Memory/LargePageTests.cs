// SPDX-License-Identifier: MIT
using Exo.Core.Memory;

namespace Exo.Core.Tests.Memory;

public sealed class LargePageTests
{
    private const int FrameCount = 2048;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Frames_keep_what_is_written_while_their_neighbours_are_taken_for_the_first_time(bool largePages)
    {
        using FramePool pool = FramePool.Create(new FramePoolOptions { CapacityBytes = (long)FrameCount * FramePool.FrameBytes, LargePages = largePages });

        // Four threads take all frames at once, so that first frames of a chunk are taken while others of it are being written.
        Thread[] threads = [.. Enumerable.Range(0, 4).Select(_ => new Thread(Take))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
        for (uint i = 0; i < FrameCount; i++)
        {
            Assert.Equal(-1, pool.Bytes(new FrameNumber(i)).IndexOfAnyExcept((byte)(i * 37 / 11)));
        }

        void Take()
        {
            while (pool.TryAllocate(pool.RootCredential, out FrameNumber frame))
            {
                pool.Bytes(frame).Fill((byte)(frame.Value * 37 / 11));
            }
        }
    }

    [Fact]
    public void A_pool_begins_at_a_large_page_whatever_its_size()
    {
        foreach (int frames in (int[])[1, 7, 511, 512, 513, 1025])
        {
            using FramePool pool = FramePool.Create(new FramePoolOptions { CapacityBytes = (long)frames * FramePool.FrameBytes });
            Assert.True(pool.TryAllocate(pool.RootCredential, new FrameNumber((uint)frames - 1), zero: true));
            Assert.Equal(0, pool.Address(new FrameNumber(0)) % (2 << 20));
            Assert.Equal(0, pool.Bytes(new FrameNumber((uint)frames - 1))[^1]);
        }
    }
}
