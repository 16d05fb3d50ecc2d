// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Core.Tests.Blocks;

/// <summary>Errors of a device reach its caller through both doors, named and complete.</summary>
public sealed class FaultTests : IDisposable
{
    private readonly FramePool _pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 16 });

    public void Dispose() => _pool.Dispose();

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public async Task The_first_failure_is_thrown_and_every_error_is_there(bool isAsync, bool completesLater)
    {
        await using var device = new FaultyDevice(_pool, badBlock: 7, completesLater);
        FrameNumber[] frames = [Allocate(), Allocate()];
        BlockRequest[] batch =
        [
            BlockRequest.Read(new BlockNumber(1), frames),
            BlockRequest.Write(new BlockNumber(6), frames),
            BlockRequest.Read(new BlockNumber(7), frames.AsMemory(0, 1)),
            BlockRequest.Flush(),
        ];
        BlockDeviceException failure = isAsync
            ? await Assert.ThrowsAsync<BlockDeviceException>(async () => await device.ExecuteAsync(batch))
            : Assert.Throws<BlockDeviceException>(() => device.Execute(batch));
        Assert.Equal((5, new BlockNumber(6), BlockOperation.Write, "faulty"), (failure.Errno, failure.Block, failure.Operation, failure.Path));
        Assert.Contains("faulty: Write at block 6 failed", failure.Message, StringComparison.Ordinal);
        Assert.Equal([0, 5, 5, 0], batch.Select(request => request.Error));
        Assert.Equal(2, device.Counters.Failures);
        Assert.All(frames, frame => Assert.Equal(1, _pool.ReferenceCount(frame)));

        // The next batch starts clean.
        batch = batch[..1];
        await device.ExecuteAsync(batch);
        Assert.Equal(0, batch[0].Error);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_defect_in_a_device_releases_the_frames_and_reaches_the_caller(bool isAsync)
    {
        await using var device = new FaultyDevice(_pool, badBlock: 7, completesLater: false) { Defect = new NotSupportedException("defect") };
        FrameNumber[] frames = [Allocate()];
        BlockRequest[] batch = [BlockRequest.Read(default, frames)];
        if (isAsync)
        {
            await Assert.ThrowsAsync<NotSupportedException>(async () => await device.ExecuteAsync(batch));
        }
        else
        {
            Assert.Throws<NotSupportedException>(() => device.Execute(batch));
        }

        Assert.Equal(1, _pool.ReferenceCount(frames[0]));
    }

    [Fact]
    public async Task A_frame_given_to_a_device_is_held_until_the_device_is_done()
    {
        await using var device = new FaultyDevice(_pool, badBlock: 99, completesLater: true) { Hold = new TaskCompletionSource() };
        FrameNumber[] frames = [Allocate()];
        FrameNumber frame = frames[0];
        using var cancel = new CancellationTokenSource();
        Task task = device.ExecuteAsync(new[] { BlockRequest.Read(default, frames) }, cancel.Token).AsTask();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => task);

        // The waiter is gone, its own hold too; the device's is what keeps the frame from being given to somebody else.
        frames[0] = new FrameNumber(12345);
        _pool.Release(frame);
        Assert.Equal(1, _pool.ReferenceCount(frame));
        device.Hold.SetResult();
        await device.DisposeAsync();
        Assert.Equal(0, _pool.ReferenceCount(frame));
    }

    [Fact]
    public async Task A_result_is_fetched_once_and_not_before_it_is_there()
    {
        await using var device = new FaultyDevice(_pool, badBlock: 99, completesLater: true) { Hold = new TaskCompletionSource() };
        var source = device.FlushAsync();
#pragma warning disable CA2012 // The misuse is what is tested.
        Assert.Throws<InvalidOperationException>(() => source.GetAwaiter().GetResult());
        device.Hold.SetResult();
        await source;
        Assert.Throws<InvalidOperationException>(() => source.GetAwaiter().GetResult());
#pragma warning restore CA2012
    }

    private FrameNumber Allocate()
    {
        Assert.True(_pool.TryAllocate(_pool.RootCredential, out FrameNumber frame));
        return frame;
    }

    /// <summary>Fails whatever touches one block; may complete on another thread, or when told to.</summary>
    private sealed class FaultyDevice(FramePool frames, ulong badBlock, bool completesLater)
        : BlockDevice(frames, new BlockGeometry { BlockCount = 16, Driver = "faulty", Path = "faulty" })
    {
        public Exception? Defect { get; init; }

        public TaskCompletionSource? Hold { get; init; }

        protected override void ExecuteCore(Span<BlockRequest> batch)
        {
            if (Defect is not null)
            {
                throw Defect;
            }

            foreach (ref BlockRequest request in batch)
            {
                ulong first = request.FirstBlock.Value;
                request.Error = first <= badBlock && badBlock < first + (ulong)request.BlockCount ? 5 : 0;
            }
        }

        protected override async ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch)
        {
            if (completesLater)
            {
                await (Hold?.Task ?? Task.Run(() => { }));
            }

            ExecuteCore(batch.Span);
        }

        protected override void DisposeCore()
        {
        }
    }
}
