// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>Ranges of files: allocated, punched out, zeroed, copied, beyond the largest size.</summary>
public sealed class RangeTests
{
    private const int O_RDWR = 2, O_CREAT = 0x40;
    private const int KeepSize = 1, PunchHole = 2, CollapseRange = 8, ZeroRange = 0x10;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_file_is_what_a_model_of_it_is(bool writeback)
    {
        const int SizeMax = 200_000;
        using Mounted at = new(new FuseMountOptions { WritebackCache = writeback }, sizeBytes: 64 << 20);
        int number = 0;
        Gen<(int What, int Offset, int Length)> step = Gen.Select(Gen.Int[0, 8], Gen.Int[0, SizeMax / 2], Gen.OneOf(Gen.Int[1, SizeMax / 2], Gen.Int[1, 5000]));
        step.Array[1, 40].Sample(
            steps =>
            {
                string path = at[$"f{number++}"];
                int fd = Posix.Open(path, O_RDWR | O_CREAT);
                Assert.True(fd >= 0);
                byte[] model = [];
                byte letter = 0;
                foreach ((int what, int offset, int length) in steps)
                {
                    int end = offset + length;
                    switch (what)
                    {
                        case 0 or 1 or 2:
                            byte[] bytes = [.. Enumerable.Repeat(++letter, length)];
                            Assert.Equal(length, Posix.Write(fd, bytes, offset));
                            Array.Resize(ref model, Math.Max(model.Length, end));
                            bytes.CopyTo(model, offset);
                            break;
                        case 3:
                            Assert.Equal(0, Posix.Ftruncate(fd, offset));
                            Array.Resize(ref model, offset);
                            break;
                        case 4 or 5:
                            Assert.Equal(0, Posix.Fallocate(fd, PunchHole | KeepSize, offset, length));
                            model.AsSpan(Math.Min(offset, model.Length), Math.Clamp(model.Length - offset, 0, length)).Clear();
                            break;
                        case 6:
                            Assert.Equal(0, Posix.Fallocate(fd, KeepSize, offset, length));
                            break;
                        case 7:
                            Assert.Equal(0, Posix.Fallocate(fd, 0, offset, length));
                            Array.Resize(ref model, Math.Max(model.Length, end));
                            break;
                        default:
                            Assert.Equal(0, Posix.Fallocate(fd, ZeroRange, offset, length));
                            Array.Resize(ref model, Math.Max(model.Length, end));
                            model.AsSpan(offset, length).Clear();
                            break;
                    }
                }

                Assert.Equal(model.Length, Posix.Stat(path).Size);
                Assert.True(model.AsSpan().SequenceEqual(Posix.Read(fd, 0, SizeMax + 1)));
                Assert.Equal(0, Posix.Fsync(fd));
                Assert.Equal(0, Posix.Close(fd));
                Assert.True(model.AsSpan().SequenceEqual(File.ReadAllBytes(path)));
                if (number % 3 != 0)
                {
                    Assert.Equal(0, Posix.Unlink(path));
                }
            },
            iter: 60,
            threads: 1);
    }

    [Fact]
    public void Holes_give_their_blocks_back_and_are_found()
    {
        const int SeekData = 3, SeekHole = 4;
        using Mounted at = new();
        int fd = Posix.Open(at["f"], O_RDWR | O_CREAT);
        Assert.Equal(1 << 20, Posix.Write(fd, new byte[1 << 20], 0));

        // The kernel asks for the number of blocks again when a file is closed.
        Assert.Equal(0, Posix.Close(fd));
        Assert.Equal("2048\n", at.Shell("stat -c %b f"));
        fd = Posix.Open(at["f"], O_RDWR);
        Assert.Equal(0, Posix.Fallocate(fd, PunchHole | KeepSize, 256 << 10, 512 << 10));
        Assert.Equal(("1024\n", 1L << 20), (at.Shell("stat -c %b f"), Posix.Stat(at["f"]).Size));
        Assert.Equal((256L << 10, 768L << 10), (Posix.Seek(fd, 0, SeekHole), Posix.Seek(fd, 300 << 10, SeekData)));
        Assert.Equal(0, Posix.Fallocate(fd, 0, 256 << 10, 512 << 10));
        Assert.Equal("2048\n", at.Shell("stat -c %b f"));
        Assert.Equal(0, Posix.Fallocate(fd, KeepSize, 1 << 20, 1 << 20));
        Assert.Equal(("4096\n", 1L << 20), (at.Shell("stat -c %b f"), Posix.Stat(at["f"]).Size));
        Assert.Equal(-Posix.EOPNOTSUPP, Posix.Fallocate(fd, CollapseRange, 0, 4096));
        Assert.Equal(-Posix.EOPNOTSUPP, Posix.Fallocate(fd, PunchHole, 0, 4096));
        Assert.Equal(-Posix.EINVAL, Posix.Fallocate(fd, 0, 0, 0));
        Assert.Equal(-Posix.EFBIG, Posix.Fallocate(fd, 0, 1L << 46, 4096));
        Assert.Equal(-Posix.ENOSPC, Posix.Fallocate(fd, 0, 0, 1L << 40));
        Assert.Equal(1L << 20, Posix.Stat(at["f"]).Size);
        Assert.Equal(0, Posix.Close(fd));
    }

    [Fact]
    public void No_file_grows_beyond_the_largest_size()
    {
        // With the writeback cache the kernel takes the write, and says so with the error of a later fsync.
        using Mounted at = new(new FuseMountOptions { WritebackCache = false });
        int fd = Posix.Open(at["f"], O_RDWR | O_CREAT);
        Assert.Equal(-Posix.EFBIG, Posix.Write(fd, new byte[4096], 1L << 62));
        Assert.Equal(-Posix.EFBIG, Posix.Ftruncate(fd, 1L << 62));
        Assert.Equal(0, Posix.Stat(at["f"]).Size);
        Assert.Equal(0, Posix.Close(fd));
    }

    [Fact]
    public void Ranges_are_copied_by_the_file_system()
    {
        using Mounted at = new();
        byte[] bytes = new byte[3_000_000];
        new Random(1).NextBytes(bytes);
        File.WriteAllBytes(at["from"], bytes);
        int from = Posix.Open(at["from"], O_RDWR);
        int to = Posix.Open(at["to"], O_RDWR | O_CREAT);
        Assert.Equal(2_999_000, Posix.CopyFileRange(from, 1000, to, 7, 10_000_000));
        Assert.True(bytes.AsSpan(1000).SequenceEqual(Posix.Read(to, 7, bytes.Length)));
        Assert.Equal(5000, Posix.CopyFileRange(to, 7, to, 2_000_000, 5000));
        Assert.True(bytes.AsSpan(1000, 5000).SequenceEqual(Posix.Read(to, 2_000_000, 5000)));
        Assert.Equal(0, Posix.CopyFileRange(from, bytes.Length, to, 0, 10));
        Assert.Equal(0, Posix.Close(from));
        Assert.Equal(0, Posix.Close(to));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_full_volume_says_so_and_has_room_again_when_files_go(bool writeback)
    {
        using Mounted at = new(new FuseMountOptions { WritebackCache = writeback }, sizeBytes: 16 << 20);
        Assert.Equal("full\n", at.Shell("said=$(LC_ALL=C dd if=/dev/zero of=f bs=64k count=1000 conv=fsync 2>&1) || true; case $said in *'No space left'*) echo full;; esac"));
        Assert.Equal("", at.Shell("rm -f f; sync; dd if=/dev/zero of=g bs=64k count=100 conv=fsync 2>/dev/null"));
        Assert.Equal(6_553_600, Posix.Stat(at["g"]).Size);
    }
}
