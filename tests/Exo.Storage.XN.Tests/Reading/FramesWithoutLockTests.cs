// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Storage.XN.Tests.Statuses;

namespace Exo.Storage.XN.Tests.Reading;

/// <summary>A block's frame is found and retained without the volume's lock: it must be the block's, whoever takes it away meanwhile.</summary>
public sealed class FramesWithoutLockTests : IDisposable
{
    private const int Rounds = 200_000;
    private const byte Foreign = 0xEE;

    private readonly Scene _scene = new();
    private volatile bool _isOver;

    public void Dispose() => _scene.Dispose();

    [Fact]
    public async Task A_frame_is_the_blocks_while_it_leaves_core_and_becomes_somebody_elses()
    {
        FramePool frames = _scene.Frames;
        int free = frames.FreeCount;
        Task<int> reading = Task.Factory.StartNew(Read, TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        try
        {
            for (int round = 0; round < Rounds && !reading.IsCompleted; round++)
            {
                Assert.True(_scene.Disk.TryGetFrame(_scene.Key, _scene.Data.Block, out FrameNumber frame));
                frames.Release(frame);
                Assert.Equal(XnStatus.Ok, _scene.Disk.Unbind(_scene.Key, _scene.Data.Block));
                if (frames.TryAllocate(frames.RootCredential, frame))
                {
                    frames.Bytes(frame)[0] = Foreign;
                    frames.Release(frame);
                }

                _scene.Disk.Read(_scene.Key, [_scene.DataRequest], _scene.FrameArray(1), out int unused);
                Assert.Equal(0, unused);
            }
        }
        finally
        {
            _isOver = true;
        }

        Assert.NotEqual(0, await reading);
        Assert.Equal(free, frames.FreeCount);
    }

    [Fact]
    public void What_is_looked_at_without_holding_it_is_to_be_believed_when_nothing_has_changed()
    {
        XnVolume disk = _scene.Disk;
        Assert.True(disk.TryGetFrame(_scene.Key, _scene.Data.Block, out FrameNumber held));
        uint peek = disk.BeginPeek();
        Assert.True(disk.TryPeek(_scene.Key, _scene.Data.Block, 0, out FrameNumber frame));
        Assert.Equal(held, frame);
        Assert.True(disk.IsUnchanged(peek));
        Assert.Equal(2, _scene.Frames.ReferenceCount(frame));
        Assert.False(disk.TryPeek(_scene.Stranger, _scene.Data.Block, 0, out _));
        Assert.False(disk.TryPeek(_scene.Key, Scene.Nowhere, 0, out _));

        Assert.Equal(XnStatus.Ok, disk.Apply(_scene.Key, _scene.Writing(_scene.A.Block)));
        Assert.False(disk.IsUnchanged(peek));
        peek = disk.BeginPeek();
        Assert.Equal(XnStatus.Ok, disk.Unbind(_scene.Key, _scene.Data.Block));
        Assert.False(disk.IsUnchanged(peek));
        Assert.False(disk.TryPeek(_scene.Key, _scene.Data.Block, 0, out _));
        _scene.Frames.Release(held);
    }

    private int Read()
    {
        int found = 0;
        while (!_isOver)
        {
            if (_scene.Disk.TryGetFrame(_scene.Key, _scene.Data.Block, out FrameNumber frame))
            {
                Assert.NotEqual(Foreign, _scene.Frames.Bytes(frame)[0]);
                _scene.Frames.Release(frame);
                found++;
            }
        }

        return found;
    }
}
