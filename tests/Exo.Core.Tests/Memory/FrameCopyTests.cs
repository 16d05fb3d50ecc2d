// SPDX-License-Identifier: MIT
using Exo.Core.Memory;

namespace Exo.Core.Tests.Memory;

/// <summary>Copies of whole frames.</summary>
public sealed class FrameCopyTests
{
    [Fact]
    public void A_frames_bytes_are_copied_and_no_others_wherever_they_lie()
    {
        byte[] from = new byte[FramePool.FrameBytes + 200];
        new Random(1).NextBytes(from);
        for (int offset = 0; offset < 100; offset++)
        {
            byte[] to = new byte[FramePool.FrameBytes + 200];
            FrameCopy.Copy(from.AsSpan(100 - offset), to.AsSpan(offset));
            Assert.True(to.AsSpan(offset, FramePool.FrameBytes).SequenceEqual(from.AsSpan(100 - offset, FramePool.FrameBytes)));
            Assert.Equal(-1, to.AsSpan(0, offset).IndexOfAnyExcept((byte)0));
            Assert.Equal(-1, to.AsSpan(offset + FramePool.FrameBytes).IndexOfAnyExcept((byte)0));
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => FrameCopy.Copy(from, new byte[FramePool.FrameBytes - 1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => FrameCopy.Copy(from.AsSpan(201), from));
    }
}
