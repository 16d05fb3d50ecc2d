// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.FileSystems.CFFS.Tests.Space;

/// <summary>Files of several directories in one run of blocks.</summary>
public sealed class PlacementTests : IDisposable
{
    private const int BlockBytes = 4096;

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 24 << 20 });
    private readonly MemoryBlockDevice _disk;
    private readonly CffsVolume _volume;

    public PlacementTests()
    {
        _disk = new MemoryBlockDevice(_frames, blockCount: 4096);
        _volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
    }

    public void Dispose()
    {
        _volume.Dispose();
        _disk.Dispose();
        _frames.Dispose();
    }

    /// <summary>Makes a file; where it lies, all in one run.</summary>
    private (ulong First, ulong End) Put(string path, int lengthBytes, CffsPlacement? placement)
    {
        using CffsFile file = _volume.OpenFile(path, CffsOpenMode.Write | CffsOpenMode.Read | CffsOpenMode.CreateNew);
        if (placement is not null)
        {
            file.PlaceIn(placement);
        }

        byte[] contents = new byte[lengthBytes];
        new Random(lengthBytes).NextBytes(contents);
        file.Write(0, contents);
        return RunOf(file);
    }

    private static (ulong First, ulong End) RunOf(CffsFile file)
    {
        if (file.ReadExtents() is not [{ Block: { } first } extent])
        {
            return default;
        }

        return (first.Value, first.Value + (ulong)((extent.LengthBytes + BlockBytes - 1) / BlockBytes));
    }

    [Fact]
    public void Files_of_several_directories_lie_in_the_order_in_which_they_are_written()
    {
        // A page, what can share a block with others, what is longer than a directory's window takes, and others' files between them.
        (string Path, int LengthBytes)[] files = [("/page", 9000), ("/css/sheet", 700), ("/js/script", 100_000), ("/img/one", 2048), ("/img/two", 5000)];
        foreach (string directory in new[] { "/css", "/js", "/img" })
        {
            _volume.CreateDirectory(directory);
            _ = Put($"{directory}/before", 3000, null);
        }

        using (CffsPlacement placement = _volume.SetAside(files.Sum(file => (long)(file.LengthBytes + BlockBytes - 1) / BlockBytes * BlockBytes)))
        {
            ulong next = 0;
            foreach ((string path, int lengthBytes) in files)
            {
                (ulong first, ulong end) = Put(path, lengthBytes, placement);
                Assert.True(first > 0 && (next == 0 || first == next), $"{path} begins at {first}, the last one ended at {next}");
                next = end;
                _ = Put($"{path}-not-placed", 3000, null);
            }

            // It is used up: what comes now goes where it would have gone.
            Assert.NotEqual(next, Put("/late", 5000, placement).First);
        }

        foreach ((string path, int lengthBytes) in files)
        {
            byte[] expected = new byte[lengthBytes];
            new Random(lengthBytes).NextBytes(expected);
            Assert.Equal(expected, _volume.ReadAllBytes(path));
        }

        _volume.Sync();
        Assert.True(Verified.Check(_disk).IsClean);
    }

    [Fact]
    public void What_is_not_used_is_given_back_and_a_file_that_is_closed_is_placed_no_more()
    {
        CffsPlacement placement = _volume.SetAside(64 * BlockBytes);
        ulong first = Put("/one", BlockBytes, placement).First;
        using (CffsFile again = _volume.OpenFile("/one", CffsOpenMode.Write | CffsOpenMode.Read))
        {
            again.SetLength(0);
            again.Write(0, new byte[3000]);
            Assert.NotEqual(first + 1, RunOf(again).First);
        }

        placement.Dispose();
        placement.Dispose();
        using CffsPlacement next = _volume.SetAside(4 * BlockBytes);
        Assert.InRange(Put("/two", BlockBytes, next).First, first, ulong.MaxValue);
    }

    [Fact]
    public void A_run_that_is_set_aside_keeps_nobody_from_filling_the_disk()
    {
        using CffsPlacement placement = _volume.SetAside(4096L * BlockBytes);
        _ = Put("/placed", BlockBytes, placement);
        int files = 0;
        void Fill()
        {
            for (; ; files++)
            {
                _ = Put($"/{files}", 16 * BlockBytes, null);
            }
        }

        Assert.Equal(CffsError.NoSpace, Assert.Throws<CffsException>(Fill).Error);
        Assert.InRange(files, 200, 256);
        Assert.Equal(CffsError.NoSpace, Assert.Throws<CffsException>(() => _ = Put("/last", 32 * BlockBytes, placement)).Error);
        _volume.Sync();
        Assert.True(Verified.Check(_disk).IsClean);
    }
}
