// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Threading.Tasks.Sources;
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

/// <summary>
/// The device for wherever io_uring is refused: preadv and pwritev on the calling thread; the asynchronous door hands
/// batches to a few threads of the device, made at the first asynchronous call.
/// </summary>
internal sealed class PortableBlockDevice : BlockDevice
{
    private const int ThreadCount = 4;

    private readonly DiskFile _file;
    private readonly Lock _starting = new();
    private readonly ConcurrentQueue<Errand> _waiting = new();
    private readonly ConcurrentQueue<Errand> _idle = new();
    private readonly SemaphoreSlim _signal = new(0);
    private Thread[]? _threads;

    public PortableBlockDevice(FramePool frames, DiskFile file)
        : base(frames, GeometryOf(file, "pread")) => _file = file;

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

    protected override void ExecuteCore(Span<BlockRequest> batch)
    {
        long systemCalls = 0;
        foreach (ref BlockRequest request in batch)
        {
            request.Error = DirectTransfer.Run(_file, Frames, in request, ref systemCalls);
        }

        CountSystemCalls(systemCalls);
    }

    protected override ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch)
    {
        if (_threads is null)
        {
            StartThreads();
        }

        Errand errand = _idle.TryDequeue(out Errand? idle) ? idle : new Errand(this);
        ValueTask task = errand.Begin(batch);
        _waiting.Enqueue(errand);
        _signal.Release();
        return task;
    }

    protected override void DisposeCore()
    {
        if (_threads is { } threads)
        {
            // An empty queue under a signal is the word to stop; the gate above made sure that the queue is empty.
            _signal.Release(threads.Length);
            foreach (Thread thread in threads)
            {
                thread.Join();
            }
        }

        _signal.Dispose();
        _file.Dispose();
    }

    private void StartThreads()
    {
        lock (_starting)
        {
            if (_threads is not null)
            {
                return;
            }

            var threads = new Thread[ThreadCount];
            for (int i = 0; i < threads.Length; i++)
            {
                threads[i] = new Thread(Serve) { IsBackground = true, Name = $"exo disk {Path.GetFileName(_file.Path)} {i}" };
                threads[i].UnsafeStart();
            }

            _threads = threads;
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
