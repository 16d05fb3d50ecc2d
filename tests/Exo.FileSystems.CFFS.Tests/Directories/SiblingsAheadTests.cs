// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Directories;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Directories;

public sealed class SiblingsAheadTests
{
    [Fact]
    public void The_first_one_reads_none_then_twice_as_many_each_time_what_was_read_is_used_up()
    {
        SiblingsAhead ahead = new();
        Assert.Equal(0, ahead.Used(3));
        Assert.Equal(2, ahead.Used(4));
        ahead.Read(4, 7);
        Assert.Equal(0, ahead.Used(5));
        Assert.Equal(0, ahead.Used(6));
        Assert.Equal(4, ahead.Used(7));
        ahead.Read(7, 12);
        Assert.Equal(8, ahead.Used(12));
    }

    [Fact]
    public void Whoever_jumps_about_has_fewer_and_fewer_read()
    {
        SiblingsAhead ahead = new();
        _ = ahead.Used(0);
        for (uint address = 1; address < 100; address++)
        {
            int count = ahead.Used(address);
            Assert.InRange(count, 0, SiblingsAhead.Most);
            if (count > 0)
            {
                ahead.Read(address, address + 1 + (uint)count);
            }
        }

        Assert.Equal(SiblingsAhead.Most / 2, ahead.Used(5000));
        ahead.Read(5000, 5017);
        Assert.Equal(SiblingsAhead.Most / 4, ahead.Used(100));
        ahead.Read(100, 109);
        Assert.Equal(SiblingsAhead.Most / 8, ahead.Used(9000));
    }

    [Fact]
    public void Directories_used_one_after_the_other_are_read_by_few_calls_and_say_what_they_hold()
    {
        const int Folders = 30;
        const int Files = 100;
        using FramePool frames = FramePool.Create();
        using SimulatedBlockDevice memory = new(frames, DiskContents.Zeroes(8192));
        using (CffsVolume made = CffsVolume.Create(memory, new CffsCreateOptions { Seed = 1 }))
        {
            for (int folder = 0; folder < Folders; folder++)
            {
                made.CreateDirectory($"/d{folder:d2}");
                for (int file = 0; file < Files; file++)
                {
                    made.WriteAllBytes($"/d{folder:d2}/file{file:d3}", new byte[1000 + file]);
                }
            }
        }

        using CallCounter counted = new(memory);
        using CffsVolume volume = CffsVolume.Open(counted);
        int before = counted.Calls;
        for (int folder = 0; folder < Folders; folder++)
        {
            for (int file = 0; file < Files; file++)
            {
                Assert.Equal(1000 + file, volume.Stat($"/d{folder:d2}/file{file:d3}").Size);
            }
        }

        // Its own for the first two, then 2, 4, 8, 16 with one; each of those then claims its blocks without input.
        Assert.InRange(counted.Calls - before, 1, 10);
    }

    private sealed class CallCounter(BlockDevice inner) : BlockDevice(inner.Frames, inner.Geometry)
    {
        public int Calls { get; private set; }

        protected override void ExecuteCore(Span<BlockRequest> batch)
        {
            Calls++;
            inner.Execute(batch);
        }

        protected override ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch)
        {
            Calls++;
            return inner.ExecuteAsync(batch);
        }

        protected override void DisposeCore()
        {
        }
    }
}
