// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

/// <summary>
/// Blocks through io_uring. The synchronous door uses a ring of the calling thread's own and is one call into the kernel per
/// batch; a queue is a ring of its owner's own; the asynchronous door posts to the device's reactor thread.
/// </summary>
internal sealed class IoUringBlockDevice : BlockDevice
{
    private readonly DiskFile _file;
    private readonly int _queueDepth;
    private readonly bool _registerFrames;
    private readonly Lock _starting = new();
    private readonly SynchronousDoor _door;
    private UringReactor? _reactor;

    private IoUringBlockDevice(FramePool frames, DiskFile file, BlockDeviceOptions options, UringQueue ring)
        : base(frames, PortableBlockDevice.GeometryOf(file, "io_uring"))
    {
        _file = file;
        _queueDepth = options.QueueDepth;
        _registerFrames = options.RegisterFrames;
        _door = new SynchronousDoor(file, frames, () => UringQueue.TryCreate(_file, Frames, _queueDepth, _registerFrames, registerFile: false, out _));
        _door.Keep(ring);
    }

    /// <summary>Rings of threads that are alive, or whose end has not been noticed yet.</summary>
    internal int ThreadRingCount => _door.RingCount;

    /// <summary>Makes the device if the kernel grants the calling thread a ring; else null and the error number.</summary>
    public static IoUringBlockDevice? TryCreate(FramePool frames, DiskFile file, BlockDeviceOptions options, out int errno) =>
        UringQueue.TryCreate(file, frames, options.QueueDepth, options.RegisterFrames, registerFile: false, out errno) is { } ring
            ? new IoUringBlockDevice(frames, file, options, ring)
            : null;

    /// <inheritdoc/>
    public override bool IsResizable => _file.IsWholeImage;

    private protected override ulong MeasureCore(ulong blockCount) => (ulong)_file.Measure() / FramePool.FrameBytes;

    private protected override void SetBlockCountCore(ulong blockCount) => _file.SetLength((long)blockCount * FramePool.FrameBytes);

    protected override void ExecuteCore(Span<BlockRequest> batch) => CountSystemCalls(_door.Execute(batch));

    protected override ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch) =>
        batch.IsEmpty ? ValueTask.CompletedTask : (Volatile.Read(ref _reactor) ?? StartReactor()).Post(batch);

    /// <summary>Where the system has run out of rings, the queue goes through the reactor's.</summary>
    private protected override QueueEngine? MakeQueueEngine(int depth) =>
        UringQueue.TryCreate(_file, Frames, depth, _registerFrames, registerFile: true, out _) is { } ring ? new RingEngine(ring, depth) : null;

    protected override void DisposeCore()
    {
        _reactor?.Dispose();
        _door.Dispose();
        _file.Dispose();
    }

    private UringReactor StartReactor()
    {
        lock (_starting)
        {
            return _reactor ??= new UringReactor(_file, Frames, _queueDepth, _registerFrames, CountSystemCalls);
        }
    }
}
