// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Threading.Tasks.Sources;
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

/// <summary>
/// The device for wherever io_uring is refused: preadv and pwritev on the calling thread. With direct I/O the requests of a batch and of a
/// queue are under way together, through the kernel's older asynchronous calls; those of a queue without it go through the asynchronous
/// door. That one hands batches to threads of the device, made when batches wait and none is free.
/// </summary>
internal sealed class PortableBlockDevice : BlockDevice
{
    /// <summary>So many transfers are under way together at most; more gave a disk of 80,000 reads a second nothing (docs/benchmarks.md).</summary>
    private const int ThreadCountMax = 16;

    private readonly DiskFile _file;
    private readonly SynchronousDoor _door;
    private readonly Lock _starting = new();
    private readonly ConcurrentQueue<Errand> _waiting = new();
    private readonly ConcurrentQueue<Errand> _idle = new();
    private readonly SemaphoreSlim _signal = new(0);
    private readonly List<Thread> _threads = [];
    private int _underWay;

    public PortableBlockDevice(FramePool frames, DiskFile file, BlockDeviceOptions options, string driverNote)
        : base(frames, GeometryOf(file, "pread") with { DriverNote = driverNote })
    {
        _file = file;
        _door = new SynchronousDoor(file, frames, file.IsDirect ? () => UringQueue.TryCreateWithoutRing(file, frames, options.QueueDepth) : null);
    }

    /// <summary>What an opened file says about itself, as geometry.</summary>
    public static BlockGeometry GeometryOf(DiskFile file, string driver) => new()
    {
        BlockCount = (ulong)file.LengthBytes / FramePool.FrameBytes,
        LogicalSectorBytes = file.LogicalSectorBytes,
        PhysicalSectorBytes = file.PhysicalSectorBytes,
        IsReadOnly = file.IsReadOnly,
        HasVolatileCache = file.HasVolatileCache,
        SupportsDiscard = file.DiscardGranularityBytes > 0,
        DiscardGranularityBytes = file.DiscardGranularityBytes,
        Path = file.Path,
        Driver = driver,
        IsDirect = file.IsDirect,
    };

    /// <inheritdoc/>
    public override bool IsResizable => _file.IsWholeImage;

    private protected override ulong MeasureCore(ulong blockCount) => (ulong)_file.Measure() / FramePool.FrameBytes;

    private protected override void SetBlockCountCore(ulong blockCount) => _file.SetLength((long)blockCount * FramePool.FrameBytes);

    protected override void ExecuteCore(Span<BlockRequest> batch) => CountSystemCalls(_door.Execute(batch));

    private protected override QueueEngine? MakeQueueEngine(int depth) =>
        _file.IsDirect && UringQueue.TryCreateWithoutRing(_file, Frames, depth) is { } calls ? new RingEngine(calls, depth) : null;

    protected override ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch)
    {
        // Read without the lock: at worst a thread is started one batch later, or the lock finds that it is there already.
        int underWay = Interlocked.Increment(ref _underWay);
        if (underWay > _threads.Count && _threads.Count < ThreadCountMax)
        {
            StartThread(underWay);
        }

        Errand errand = _idle.TryDequeue(out Errand? idle) ? idle : new Errand(this);
        ValueTask task = errand.Begin(batch);
        _waiting.Enqueue(errand);
        _signal.Release();
        return task;
    }

    protected override void DisposeCore()
    {
        // An empty queue under a signal is the word to stop; the gate above made sure that the queue is empty.
        if (_threads.Count > 0)
        {
            _signal.Release(_threads.Count);
            _threads.ForEach(static thread => thread.Join());
        }

        _signal.Dispose();
        _door.Dispose();
        _file.Dispose();
    }

    private void StartThread(int underWay)
    {
        lock (_starting)
        {
            if (underWay > _threads.Count && _threads.Count < ThreadCountMax)
            {
                var thread = new Thread(Serve) { IsBackground = true, Name = $"exo disk {Path.GetFileName(_file.Path)} {_threads.Count}" };
                thread.UnsafeStart();
                _threads.Add(thread);
            }
        }
    }

    private void Serve()
    {
        while (true)
        {
            _signal.Wait();
            if (!_waiting.TryDequeue(out Errand? errand))
            {
                return;
            }

            ExecuteCore(errand.Batch.Span);
            Interlocked.Decrement(ref _underWay);
            errand.Complete();
        }
    }

    /// <summary>A batch on its way to a thread and back; its awaiter is <see cref="BlockDevice"/> itself, which never blocks in it.</summary>
    private sealed class Errand(PortableBlockDevice device) : IValueTaskSource
    {
        private ManualResetValueTaskSourceCore<bool> _source;

        public Memory<BlockRequest> Batch { get; private set; }

        public ValueTask Begin(Memory<BlockRequest> batch)
        {
            Batch = batch;
            return new ValueTask(this, _source.Version);
        }

        public void Complete() => _source.SetResult(true);

        public ValueTaskSourceStatus GetStatus(short token) => _source.GetStatus(token);

        public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
            _source.OnCompleted(continuation, state, token, flags);

        public void GetResult(short token)
        {
            _source.GetResult(token);
            Batch = default;
            _source.Reset();
            device._idle.Enqueue(this);
        }
    }
}
