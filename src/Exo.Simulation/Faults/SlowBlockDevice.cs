// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.Simulation.Faults;

/// <summary>
/// A disk over another one that takes its time, by a clock and a seed of the test's choice: slow disks, disks that stall, completions out of
/// order, writes that are still under way when something else happens. A batch takes effect on the disk below at the moment at which its last
/// request is through, and completes then. Put it over a <see cref="FaultyBlockDevice"/> rather than under it: that one knows no waiting.
/// </summary>
/// <remarks>
/// With a <see cref="Timing.VirtualTime"/> nothing completes until somebody moves the clock: the synchronous door blocks its thread so long, and so
/// does the disposal of a device with requests under way. Work through the asynchronous door or a <see cref="BlockQueue"/>.
/// </remarks>
public sealed class SlowBlockDevice : BlockDevice
{
    private readonly BlockDevice _inner;
    private readonly LatencyOptions _options;
    private readonly Random _random;
    private readonly Lock _lock = new();
    private readonly long _origin;
    private readonly long[] _freeTicks;

    /// <summary>A disk over <paramref name="inner"/>, which stays the caller's.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A time is negative, a probability none, or nothing would be served.</exception>
    public SlowBlockDevice(BlockDevice inner, LatencyOptions options)
        : base((inner ?? throw new ArgumentNullException(nameof(inner))).Frames, inner.Geometry)
    {
        ArgumentNullException.ThrowIfNull(options);
        foreach (TimeSpan time in (ReadOnlySpan<TimeSpan>)[options.PerRequest, options.PerBlock, options.Jitter, options.Stall])
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(time, TimeSpan.Zero, nameof(options));
        }

        ArgumentOutOfRangeException.ThrowIfLessThan(options.Parallelism, 1, nameof(options));
        ArgumentOutOfRangeException.ThrowIfNegative(options.StallProbability, nameof(options));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.StallProbability, 1, nameof(options));
        _inner = inner;
        _options = options;
        _random = new Random(options.Seed);
        _origin = options.Time.GetTimestamp();
        _freeTicks = new long[options.Parallelism];
    }

    private long NowTicks => _options.Time.GetElapsedTime(_origin).Ticks;

    /// <inheritdoc/>
    protected override void ExecuteCore(Span<BlockRequest> batch)
    {
        long due = Plan(batch);
        using ManualResetEventSlim isDue = new();
        while (due - NowTicks is > 0 and long rest)
        {
            isDue.Reset();
            using ITimer timer = _options.Time.CreateTimer(static state => ((ManualResetEventSlim)state!).Set(), isDue, TimeSpan.FromTicks(rest), Timeout.InfiniteTimeSpan);
            isDue.Wait();
        }

        try
        {
            _inner.Execute(batch);
        }
        catch (BlockDeviceException)
        {
            // The requests say what went wrong.
        }
    }

    /// <inheritdoc/>
    protected override async ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch)
    {
        long due = Plan(batch.Span);
        while (due - NowTicks is > 0 and long rest)
        {
            // What follows runs inside the timer, so that under a virtual clock the moves of the clock alone say what has happened.
            TaskCompletionSource isDue = new();
            using ITimer timer = _options.Time.CreateTimer(
                static state => ((TaskCompletionSource)state!).SetResult(), isDue, TimeSpan.FromTicks(rest), Timeout.InfiniteTimeSpan);
            await isDue.Task.ConfigureAwait(false);
        }

        try
        {
            await _inner.ExecuteAsync(batch).ConfigureAwait(false);
        }
        catch (BlockDeviceException)
        {
            // The requests say what went wrong.
        }
    }

    /// <inheritdoc/>
    protected override void DisposeCore()
    {
    }

    /// <summary>When the last request of a batch is through: each takes the server that is free first.</summary>
    private long Plan(ReadOnlySpan<BlockRequest> batch)
    {
        lock (_lock)
        {
            long now = NowTicks;
            long due = now;
            foreach (ref readonly BlockRequest request in batch)
            {
                int server = Array.IndexOf(_freeTicks, _freeTicks.Min());
                _freeTicks[server] = Math.Max(now, _freeTicks[server]) + LatencyTicks(in request);
                due = Math.Max(due, _freeTicks[server]);
            }

            return due;
        }
    }

    private long LatencyTicks(in BlockRequest request)
    {
        bool moves = request.Operation is BlockOperation.Read or BlockOperation.Write;
        bool stalls = _random.NextDouble() < _options.StallProbability;
        return _options.PerRequest.Ticks
            + (moves ? request.BlockCount * _options.PerBlock.Ticks : 0)
            + _random.NextInt64(_options.Jitter.Ticks + 1)
            + (stalls ? _options.Stall.Ticks : 0);
    }
}
