// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Reading;

/// <summary>Blocks read before their owner is known, and blocks entered without being read.</summary>
public sealed class ReadAheadTests : IDisposable
{
    private readonly StampedDisk _disk;
    private LateDevice? _late;
    private readonly StampedTree.Item _data;
    private readonly XnReadRequest _request;

    public ReadAheadTests()
    {
        _disk = new StampedDisk("owner-01", through: device => _late = new LateDevice(device));
        _data = _disk.AddData(_disk.A, 5, 3);
        _request = new XnReadRequest(_disk.A.Block, 5, _data.Extent);
        _disk.Tree.Sync();
        for (uint i = 0; i < 3; i++)
        {
            Assert.Equal(XnStatus.Ok, Disk.Unbind(Key, _data.Block + i));
        }
    }

    private XnVolume Disk => _disk.Disk;

    private Credential Key => _disk.Tree.Key;

    public void Dispose() => _disk.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_was_read_ahead_is_there_when_its_owner_is_proved(bool isAsync)
    {
        Assert.Equal(3, isAsync ? await Disk.ReadAheadAsync(new[] { _data.Extent }) : Disk.ReadAhead([_data.Extent]));
        long read = Disk.Counters.BlocksRead;
        FrameNumber[] frames = [_disk.Frame(), _disk.Frame(), _disk.Frame()];
        Disk.Read(Key, [_request], frames, out int unused);
        Assert.Equal((3, read, 0), (unused, Disk.Counters.BlocksRead, Disk.BlocksReadAhead));
        Assert.True(Disk.TryGetFrame(Key, _data.Block + 2, out FrameNumber frame));
        Assert.Equal((_data.Serial, 2UL), (Word(frame, 0), Word(frame, 8)));
        _disk.Frames.Release(frame);
    }

    [Fact]
    public void What_was_read_ahead_is_nobodys_to_see()
    {
        Assert.Equal(3, Disk.ReadAhead([_data.Extent]));
        Assert.False(Disk.TryGetEntry(_data.Block, out _));
        Assert.False(Disk.TryGetFrame(Key, _data.Block, out _));
        Capability root = _disk.Frames.RootCredential.Capabilities[0];
        Credential stranger = Credential.Of(root.Forge(CapabilityName.Create("somebody"u8), Rights.All));
        FrameNumber[] frames = [_disk.Frame(), _disk.Frame(), _disk.Frame()];
        Assert.Equal(XnStatus.AccessDenied, Assert.Throws<XnException>(() => Disk.Read(stranger, [_request], frames, out _)).Status);
    }

    [Fact]
    public void What_is_in_the_registry_or_outside_the_data_is_not_read()
    {
        Assert.Equal(0, Disk.ReadAhead([_disk.A.Extent, new BlockExtent(default, 2), new BlockExtent(new(Disk.BlockCount), 1)]));
        Assert.Equal(3, Disk.ReadAhead([_data.Extent]));
        Assert.Equal(0, Disk.ReadAhead([_data.Extent]));
    }

    [Fact]
    public void Overwritten_blocks_are_never_seen_as_they_were_before()
    {
        Assert.Equal(3, Disk.ReadAhead([_data.Extent]));
        FrameNumber[] frames = [_disk.Frame(), _disk.Frame(), _disk.Frame()];
        foreach (FrameNumber frame in frames)
        {
            _disk.Frames.Bytes(frame).Fill(7);
        }

        Assert.Equal(XnStatus.Ok, Disk.BindOverwrite(Key, _request, frames));
        Assert.Equal(0, Disk.BlocksReadAhead);
        _disk.Tree.Sync();
        Assert.Equal(XnStatus.Ok, Disk.Unbind(Key, _data.Block));
        FrameNumber[] again = [_disk.Frame(), _disk.Frame(), _disk.Frame()];
        Disk.Read(Key, [_request], again, out int unused);
        Assert.Equal(2, unused);
        Assert.True(Disk.TryGetFrame(Key, _data.Block, out FrameNumber now));
        Assert.Equal(0x0707070707070707UL, Word(now, 0));
    }

    [Fact]
    public async Task A_request_that_is_late_does_not_deliver_for_the_next_one()
    {
        // The old contents have been read, and are on their way.
        TaskCompletionSource delivery = _late!.HoldNext();
        Task<int> late = Disk.ReadAheadAsync(new[] { _data.Extent }).AsTask();

        // Meanwhile the blocks come in, change, become durable, go, and are read ahead anew.
        FrameNumber[] frames = [_disk.Frame(), _disk.Frame(), _disk.Frame()];
        foreach (FrameNumber frame in frames)
        {
            _disk.Frames.Bytes(frame).Fill(7);
        }

        Assert.Equal(XnStatus.Ok, Disk.BindOverwrite(Key, _request, frames));
        _disk.Tree.Sync();
        for (uint i = 0; i < 3; i++)
        {
            Assert.Equal(XnStatus.Ok, Disk.Unbind(Key, _data.Block + i));
        }

        TaskCompletionSource second = _late.HoldNext();
        Task<int> anew = Disk.ReadAheadAsync(new[] { _data.Extent }).AsTask();
        delivery.SetResult();
        Assert.Equal(3, await late);
        Assert.Equal(0, Disk.BlocksReadAhead);
        second.SetResult();
        Assert.Equal(3, await anew);
        FrameNumber[] again = [_disk.Frame(), _disk.Frame(), _disk.Frame()];
        Disk.Read(Key, [_request], again, out int unused);
        Assert.Equal(3, unused);
        Assert.True(Disk.TryGetFrame(Key, _data.Block, out FrameNumber now));
        Assert.Equal(0x0707070707070707UL, Word(now, 0));
    }

    [Fact]
    public void A_freed_block_that_is_allocated_again_is_new()
    {
        Assert.Equal(XnStatus.Ok, _disk.Tree.Remove(_data));
        _disk.Tree.Sync();
        Assert.Equal(3, Disk.ReadAhead([_data.Extent]));
        Assert.Equal(XnStatus.Ok, _disk.Tree.AddData(_disk.B, 5, _data.Extent, out StampedTree.Item? item));
        Assert.Equal(0, Disk.BlocksReadAhead);
        Assert.True(Disk.TryGetFrame(Key, item!.Block, out FrameNumber frame));
        Assert.Equal(item.Serial, Word(frame, 0));
    }

    [Fact]
    public void It_takes_a_sixteenth_of_the_frames_and_gives_them_back()
    {
        int free = _disk.Frames.FreeCount;
        Assert.Equal(Disk.BlocksReadAheadMax, Disk.ReadAhead([new BlockExtent(Disk.DataStart, (uint)(Disk.BlockCount - Disk.DataStart.Value))]));
        Assert.Equal(free - Disk.BlocksReadAheadMax, _disk.Frames.FreeCount);
        Disk.DropReadAhead();
        Assert.Equal((0, free), (Disk.BlocksReadAhead, _disk.Frames.FreeCount));
    }

    [Fact]
    public void Entries_come_and_go_without_their_blocks()
    {
        Assert.Equal(XnStatus.NotOwned, Disk.Insert(Key, _request with { Partition = 6 }));
        long read = Disk.Counters.BlocksRead;
        Assert.Equal(XnStatus.Ok, Disk.Insert(Key, _request));
        Assert.Equal(read, Disk.Counters.BlocksRead);
        Assert.True(Disk.TryGetEntry(_data.Block, out RegistryEntryInfo entry));
        Assert.Equal((false, false, true, _disk.A.Block, 5), (entry.HasFrame, entry.IsDirty, entry.IsInitialised, entry.Parent, entry.ParentPartition));
        Assert.False(Disk.TryGetFrame(Key, _data.Block, out _));

        // What is on the disk is not to be replaced by the way for new blocks.
        Assert.Equal(XnStatus.NotOwned, Disk.Bind(Key, _data.Block, [_disk.Frame()], BindMode.Zero));
        Assert.Equal(XnStatus.Ok, Disk.Unbind(Key, _data.Block));
        Assert.False(Disk.TryGetEntry(_data.Block, out _));
        FrameNumber[] frames = [_disk.Frame(), _disk.Frame(), _disk.Frame()];
        Disk.Read(Key, [_request], frames, out int unused);
        Assert.Equal(0, unused);
        Assert.True(Disk.TryGetFrame(Key, _data.Block + 1, out FrameNumber frame));
        Assert.Equal(_data.Serial, Word(frame, 0));
    }

    private ulong Word(FrameNumber frame, int offset) => BinaryPrimitives.ReadUInt64LittleEndian(_disk.Frames.Bytes(frame)[offset..]);

    /// <summary>A disk whose next request is carried out at once and reported late.</summary>
    private sealed class LateDevice(BlockDevice inner) : BlockDevice(inner.Frames, inner.Geometry)
    {
        private TaskCompletionSource? _held;

        public TaskCompletionSource HoldNext() => _held = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

        protected override void ExecuteCore(Span<BlockRequest> batch) => inner.Execute(batch);

        protected override async ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch)
        {
            await inner.ExecuteAsync(batch);
            if (Interlocked.Exchange(ref _held, null) is { } held)
            {
                await held.Task;
            }
        }

        protected override void DisposeCore()
        {
        }
    }
}
