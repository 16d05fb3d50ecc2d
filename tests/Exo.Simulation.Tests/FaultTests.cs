// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Simulation.Faults;

namespace Exo.Simulation.Tests;

/// <summary>Each fault does what it says, and nothing when it is switched off.</summary>
public sealed class FaultTests : IDisposable
{
    private const int Eio = 5;

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
    private readonly SimulatedBlockDevice _inner;
    private readonly FrameNumber[] _frame = new FrameNumber[1];

    public FaultTests()
    {
        _inner = new SimulatedBlockDevice(_frames, DiskContents.Zeroes(64));
        Assert.True(_frames.TryAllocate(_frames.RootCredential, out _frame[0]));
        _frames.Bytes(_frame[0]).Fill(7);
    }

    public void Dispose()
    {
        _inner.Dispose();
        _frames.Dispose();
    }

    [Fact]
    public void A_write_that_fails_may_be_torn()
    {
        using FaultyBlockDevice disk = new(_inner, new FaultOptions { WriteError = 1 });
        Assert.Equal(Eio, Assert.Throws<BlockDeviceException>(() => Write(disk, 3)).Errno);
        int written = Enumerable.Range(0, 8).Count(sector => _inner.Snapshot()[3][sector * 512] == 7);
        Assert.InRange(written, 1, 7);
    }

    [Fact]
    public void A_lost_write_reports_success()
    {
        using FaultyBlockDevice disk = new(_inner, new FaultOptions { LostWrite = 1 });
        Write(disk, 3);
        Assert.Equal(0, _inner.Snapshot()[3][0]);
    }

    [Fact]
    public void A_torn_write_reports_success_and_has_written_some_of_its_sectors()
    {
        using FaultyBlockDevice disk = new(_inner, new FaultOptions { TornWrite = 1, Seed = 3 });
        Write(disk, 3);
        Assert.Equal(1, disk.Faults);
        Assert.InRange(Enumerable.Range(0, 8).Count(sector => _inner.Snapshot()[3][sector * 512] == 7), 1, 7);
    }

    [Fact]
    public void A_misdirected_write_is_elsewhere()
    {
        using FaultyBlockDevice disk = new(_inner, new FaultOptions { MisdirectedWrite = 1, Seed = 5 });
        Write(disk, 3);
        DiskContents contents = _inner.Snapshot();
        Assert.Equal(0, contents[3][0]);
        Assert.Single(Enumerable.Range(0, 64), block => contents[(ulong)block][0] == 7);
    }

    [Fact]
    public void Rot_is_one_bit_and_stays()
    {
        using FaultyBlockDevice disk = new(_inner, new FaultOptions { BitRot = 1 });
        BlockRequest[] read = [BlockRequest.Read(new BlockNumber(9), _frame)];
        disk.Execute(read);
        int bits = 0;
        foreach (byte b in _inner.Snapshot()[9])
        {
            bits += int.PopCount(b);
        }

        Assert.Equal(1, bits);
    }

    [Fact]
    public void Reads_and_flushes_fail()
    {
        using FaultyBlockDevice disk = new(_inner, new FaultOptions { ReadError = 1, FlushError = 1 });
        Assert.Equal(Eio, Assert.Throws<BlockDeviceException>(disk.Flush).Errno);
        Assert.Equal(Eio, Assert.Throws<BlockDeviceException>(() => disk.Execute([BlockRequest.Read(new BlockNumber(3), _frame)])).Errno);
        Assert.Equal(7, _frames.Bytes(_frame[0])[0]);
        Assert.Equal(2, disk.Faults);
        disk.IsFailing = false;
        disk.Flush();
        Assert.Equal(2, disk.Faults);
    }

    private void Write(BlockDevice disk, ulong block) => disk.Execute([BlockRequest.Write(new BlockNumber(block), _frame)]);
}
