// SPDX-License-Identifier: MIT
using System.IO.MemoryMappedFiles;
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>Writes to a mount of a volume that becomes full.</summary>
public sealed class FullVolumeTests
{
    private const int O_RDWR = 2, O_CREAT = 0x40;
    private const int PageBytes = 4096;

    [Fact]
    public void A_write_gets_what_there_is_room_for()
    {
        using Mounted at = new(sizeBytes: 64 << 20);
        int fd = Posix.Open(at["fill"], O_RDWR | O_CREAT);
        Assert.True(fd >= 0);
        (long length, int last) = Fill(fd);
        Assert.InRange(last, 1, Chunk.Length - 1);
        Assert.Equal(-Posix.ENOSPC, Posix.Write(fd, Chunk, length));
        Assert.Equal(length, Posix.Stat(at["fill"]).Size);
        Assert.Equal(0, Posix.Close(fd));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_page_of_a_map_that_has_its_block_is_not_lost_with_one_that_has_none(bool writeback)
    {
        using Mounted at = new(new FuseMountOptions { WritebackCache = writeback }, sizeBytes: 64 << 20);
        int fd = Posix.Open(at["mapped"], O_RDWR | O_CREAT);
        Assert.True(fd >= 0);
        Assert.Equal(4 * PageBytes, Posix.Write(fd, Chunk[..(4 * PageBytes)], 0));
        Assert.Equal(4 * PageBytes, Posix.Write(fd, Chunk[..(4 * PageBytes)], 12 * PageBytes));
        Assert.Equal(0, Posix.Fsync(fd));
        int fill = Posix.Open(at["fill"], O_RDWR | O_CREAT);
        Assert.True(fill >= 0);
        _ = Posix.Fallocate(fill, 0, 0, (long)at.Volume.GetSpace().AvailableBlocks * PageBytes * 9 / 10);
        long length = Posix.Stat(at["fill"]).Size;
        while (Posix.Fallocate(fill, 0, length, PageBytes) == 0)
        {
            length += PageBytes;
        }

        using (MemoryMappedFile map = MemoryMappedFile.CreateFromFile(at["mapped"], FileMode.Open))
        {
            MemoryMappedViewAccessor view = map.CreateViewAccessor(0, 16 * PageBytes);
            view.WriteArray(0, [.. Enumerable.Range(0, 16 * PageBytes).Select(i => (byte)(1 + (i / PageBytes)))], 0, 16 * PageBytes);

            // msync says so, once.
            _ = Assert.ThrowsAny<IOException>(view.Flush);
            view.Dispose();
        }

        // What the volume has, not what the kernel remembers.
        byte[] there = at.Volume.ReadAllBytes("/mapped");
        Assert.Equal([1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 13, 14, 15, 16], Enumerable.Range(0, 16).Select(page => (int)there[page * PageBytes]));
        Assert.Equal(0, Posix.Close(fill));
        _ = Posix.Close(fd);
    }

    private static byte[] Chunk { get; } = [.. Enumerable.Range(0, 1 << 20).Select(i => (byte)(i % 251))];

    /// <summary>Writes until a write is not whole. Returns what was written, and by the last one.</summary>
    private static (long Length, int Last) Fill(int fd)
    {
        long length = 0;
        while (true)
        {
            int written = Posix.Write(fd, Chunk, length);
            if (written < Chunk.Length)
            {
                return (length + Math.Max(written, 0), written);
            }

            length += written;
        }
    }
}
