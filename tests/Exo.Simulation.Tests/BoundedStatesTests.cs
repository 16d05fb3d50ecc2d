// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;

namespace Exo.Simulation.Tests;

/// <summary>The states within a bound, counted by hand; their fingerprints tell them apart.</summary>
public sealed class BoundedStatesTests : IDisposable
{
    private const int Blocks = 6;

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
    private readonly SimulatedBlockDevice _disk;
    private readonly FrameNumber[] _frame = new FrameNumber[1];

    public BoundedStatesTests()
    {
        _disk = new SimulatedBlockDevice(_frames, DiskContents.Zeroes(Blocks), recorded: true);
        Assert.True(_frames.TryAllocate(_frames.RootCredential, out _frame[0]));
    }

    public void Dispose()
    {
        _disk.Dispose();
        _frames.Dispose();
    }

    [Fact]
    public void Of_three_writes_every_set_may_be_there()
    {
        Write(1, 0x01);
        Write(2, 0x01);
        Write(3, 0x01);
        Assert.Equal(["000", "001", "010", "011", "100", "101", "110", "111"], Contents(block => block is 1 or 2 or 3 ? [0] : []));
    }

    [Fact]
    public void Of_five_writes_at_most_two_are_lost_before_the_last_one_there()
    {
        for (ulong block = 1; block <= 5; block++)
        {
            Write(block, 0x01);
        }

        string[] contents = Contents(block => block > 0 ? [0] : []);
        Assert.Equal(
            [.. Enumerable.Range(0, 32).Select(set => set.ToString("b5", null)).Where(set => set.LastIndexOf('1') is var last && set[..(last + 1)].Count(c => c == '0') <= 2)],
            contents);
    }

    [Fact]
    public void A_write_is_torn_at_sectors()
    {
        Write(1, 0b0001_0110);
        Assert.Equal(["000", "001", "011", "100", "110", "111"], Contents(block => block == 1 ? [1, 2, 4] : []));
    }

    [Fact]
    public void What_a_flush_covered_is_there_and_what_follows_is_not_there_without_it()
    {
        Write(1, 0x01);
        _disk.Flush();
        Write(2, 0x01);
        Assert.Equal(["00", "10", "11"], Contents(block => block is 1 or 2 ? [0] : []));
    }

    [Fact]
    public void A_mark_is_looked_at_with_all_that_may_be_lost_at_it()
    {
        Write(1, 0x01);
        Write(2, 0x01);
        _disk.Recording!.Mark("promised");
        Assert.Contains(States(), state => state.Marks.Count == 1 && state.Contents[1][0] == 0 && state.Contents[2][0] != 0);
        Assert.Contains(States(), state => state.Marks.Count == 1 && state.Contents[1][0] != 0 && state.Contents[2][0] == 0);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Equal_fingerprints_are_equal_contents(int seed)
    {
        Random random = new(seed);
        for (int i = 0; i < 14; i++)
        {
            Write((ulong)random.Next(1, 4), random.Next(1, 256), (byte)random.Next(1, 4), forced: random.Next(6) == 0);
            if (random.Next(5) == 0)
            {
                _disk.Flush();
            }
        }

        CrashState[] states = States();
        Assert.Equal(states.Select(Print).Distinct().Count(), states.Select(state => state.Fingerprint).Distinct().Count());
        Assert.Equal(states.Select(Print).Distinct().Count(), states.Select(state => (state.Fingerprint, Print(state))).Distinct().Count());

        // Whatever the thorough exploration finds at the end is the same disk by the same hash.
        Assert.Contains(states, state => Print(state) == Print(_disk.Snapshot()));
    }

    private static string Print(CrashState state) => Print(state.Contents);

    private static string Print(DiskContents contents) =>
        string.Concat(Enumerable.Range(0, Blocks * 8).Select(i => contents[(ulong)i / 8][i % 8 * 512]));

    private CrashState[] States() => [.. CrashStates.EnumerateBounded(_disk.Recording!)];

    /// <summary>Of some sectors, whether they were written, in each state, without repetition.</summary>
    private string[] Contents(Func<ulong, int[]> sectors) =>
        [.. States().Select(state => string.Concat(Enumerable.Range(0, Blocks).SelectMany(block => sectors((ulong)block).Select(s => state.Contents[(ulong)block][s * 512] == 0 ? '0' : '1')))).Distinct().Order(StringComparer.Ordinal)];

    private void Write(ulong block, int sectors, byte value = 7, bool forced = false)
    {
        Span<byte> bytes = _frames.Bytes(_frame[0]);
        _disk.Snapshot()[block].CopyTo(bytes);
        for (int s = 0; s < 8; s++)
        {
            if ((sectors >> s & 1) != 0)
            {
                bytes.Slice(s * 512, 512).Fill(value);
            }
        }

        _disk.Execute([BlockRequest.Write(new BlockNumber(block), _frame, forced)]);
    }
}
