// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Storage.XN.Tests.Statuses;

namespace Exo.Storage.XN.Tests.Reading;

/// <summary>Frames of blocks in a row, by one call, and reading with no more frames than there is need for.</summary>
public sealed class FramesOfRunTests : IDisposable
{
    private readonly Scene _scene = new();
    private readonly FrameNumber[] _frames = new FrameNumber[4];

    public void Dispose() => _scene.Dispose();

    [Fact]
    public void A_run_ends_at_the_first_block_that_is_not_in_core()
    {
        Assert.Equal(3, _scene.Disk.GetFrames(_scene.Key, _scene.Data.Block, _frames));
        for (uint i = 0; i < 3; i++)
        {
            Assert.True(_scene.Disk.TryGetFrame(_scene.Key, _scene.Data.Block + i, out FrameNumber alone));
            Assert.Equal(alone, _frames[i]);
            Assert.Equal(3, _scene.Frames.ReferenceCount(alone));
            _scene.Frames.Release(alone);
            _scene.Frames.Release(alone);
        }

        // Its entry goes to the next block that comes: the one behind the first one's is another's.
        Assert.Equal(XnStatus.Ok, _scene.Disk.Unbind(_scene.Key, _scene.Data.Block + 1));
        _scene.Stamped.AddData(_scene.A, 7);
        Assert.Equal(1, _scene.Disk.GetFrames(_scene.Key, _scene.Data.Block, _frames));
        Assert.Equal(2, _scene.Frames.ReferenceCount(_frames[0]));
        _scene.Frames.Release(_frames[0]);
        Assert.Equal(0, _scene.Disk.GetFrames(_scene.Key, _scene.Data.Block + 1, _frames));
        Assert.Equal(0, _scene.Disk.GetFrames(_scene.Stranger, _scene.Data.Block, _frames));
    }

    [Fact]
    public void A_read_takes_frames_for_what_is_not_in_core_and_no_others()
    {
        Assert.Equal(XnStatus.Ok, _scene.Disk.Unbind(_scene.Key, _scene.Data.Block + 1));
        _scene.Disk.Read(_scene.Key, [_scene.DataRequest], _scene.FrameArray(1), out int unused);
        Assert.Equal(0, unused);
        Assert.Equal(3, _scene.Disk.GetFrames(_scene.Key, _scene.Data.Block, _frames));
        for (int i = 0; i < 3; i++)
        {
            _scene.Frames.Release(_frames[i]);
        }

        _scene.Disk.Read(_scene.Key, [_scene.DataRequest], [], out unused);
        Assert.Equal(0, unused);
    }
}
