// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;

namespace Exo.Simulation.Tests;

/// <summary>The states that a power cut may leave, counted by hand where that is possible.</summary>
public sealed class CrashStatesTests : IDisposable
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
    private readonly SimulatedBlockDevice _disk;
    private readonly FrameNumber[] _frame = new FrameNumber[1];

    public CrashStatesTests()
    {
        _disk = new SimulatedBlockDevice(_frames, DiskContents.Zeroes(16), recorded: true);
        Assert.True(_frames.TryAllocate(_frames.RootCredential, out _frame[0]));
    }

    public void Dispose()
    {
        _disk.Dispose();
        _frames.Dispose();
    }

    [Fact]
    public void What_a_flush_covered_is_in_every_later_state()
    {
        Write(3, sectors: 1, value: 7);
        _disk.Flush();
        _disk.Recording!.Mark("durable");
        Write(4, sectors: 1, value: 8);
        CrashState[] after = [.. CrashStates.Enumerate(_disk.Recording!).Where(state => state.Marks.Count > 0)];
        Assert.NotEmpty(after);
        Assert.All(after, state => Assert.Equal(7, state.Contents[3][0]));
        Assert.Equal([0, 8], after.Select(state => (int)state.Contents[4][0]).Distinct().Order());
    }

    [Fact]
    public void Unflushed_sectors_are_there_or_not_each_on_its_own()
    {
        Write(3, sectors: 2, value: 7);
        CrashState[] end = AtTheEnd();
        Assert.Equal(["0 0", "0 7", "7 0", "7 7"], end.Select(state => $"{state.Contents[3][0]} {state.Contents[3][512]}").Order());
    }

    [Fact]
    public void A_larger_atomic_unit_is_not_torn()
    {
        Write(3, sectors: 2, value: 7);
        CrashState[] end = AtTheEnd(new CrashExplorationOptions { AtomicBytes = 4096 });
        Assert.Equal(["0 0", "7 7"], end.Select(state => $"{state.Contents[3][0]} {state.Contents[3][512]}").Order());
    }

    [Fact]
    public void Of_several_writes_to_a_sector_any_may_be_the_last_one_there()
    {
        Write(3, sectors: 1, value: 7);
        Write(3, sectors: 1, value: 8);
        Assert.Equal([0, 7, 8], AtTheEnd().Select(state => (int)state.Contents[3][0]).Order());
    }

    [Fact]
    public void A_forced_write_is_durable_and_settles_what_was_there_before()
    {
        Write(3, sectors: 1, value: 7);
        Write(4, sectors: 1, value: 9);
        Write(3, sectors: 1, value: 8, forced: true);
        CrashState[] end = AtTheEnd();
        Assert.All(end, state => Assert.Equal(8, state.Contents[3][0]));
        Assert.Equal([0, 9], end.Select(state => (int)state.Contents[4][0]).Order());
    }

    [Fact]
    public void A_flush_covers_no_write_of_its_own_batch()
    {
        _frames.Bytes(_frame[0]).Fill(7);
        _disk.Execute([BlockRequest.Write(new BlockNumber(3), _frame), BlockRequest.Flush()]);
        Assert.Contains(AtTheEnd(), state => state.Contents[3][0] == 0);
    }

    [Fact]
    public void One_seed_gives_the_same_states()
    {
        for (ulong block = 0; block < 12; block++)
        {
            Write(block, sectors: 8, value: 5);
        }

        CrashExplorationOptions options = new() { Seed = 3, StatesPerCutMax = 5, CutsMax = 9 };
        string[] once = [.. CrashStates.Enumerate(_disk.Recording!, options).Select(Print)];
        Assert.Equal(once, CrashStates.Enumerate(_disk.Recording!, options).Select(Print));
        Assert.NotEqual(once, CrashStates.Enumerate(_disk.Recording!, new CrashExplorationOptions { Seed = 4, StatesPerCutMax = 5, CutsMax = 9 }).Select(Print));
    }

    [Fact]
    public void Contents_come_back_from_an_image()
    {
        Write(3, sectors: 8, value: 7);
        using MemoryStream image = new();
        _disk.Snapshot().Save(image);
        image.Position = 0;
        DiskContents loaded = DiskContents.Load(image);
        Assert.Equal(16, loaded.BlockCount);
        Assert.Equal(7, loaded[3][4095]);
        Assert.Equal(0, loaded[4][0]);
    }

    private static string Print(CrashState state) => state.Description + string.Concat(Enumerable.Range(0, 16 * 8).Select(i => state.Contents[(ulong)i / 8][i % 8 * 512]));

    private CrashState[] AtTheEnd(CrashExplorationOptions? options = null) =>
        [.. CrashStates.Enumerate(_disk.Recording!, options).Where(state => state.Tick == _disk.Recording!.LastTick)];

    private void Write(ulong block, int sectors, byte value, bool forced = false)
    {
        _frames.Bytes(_frame[0]).Clear();
        _frames.Bytes(_frame[0])[..(sectors * 512)].Fill(value);
        _disk.Execute([BlockRequest.Write(new BlockNumber(block), _frame, forced)]);
    }
}
