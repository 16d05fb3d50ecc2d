// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using Exo.Core.Environments;
using Exo.Core.Observation;

namespace Exo.Core.Scheduling;

/// <summary>
/// Shares processors among environments by a vector of time slices that everybody can read (Xok; SOSP'95, section 4.1): an environment owns positions in it; how many is its share, where they are is how long it
/// waits. What the scheduler decides is only whose turn it is; what an environment does with its turn is its own affair.
/// <para>
/// Its threads are its own: one for each processor and one that keeps the time, all asleep when nothing is runnable. No processor sleeps for longer than a tick of a millisecond while something is: a woken environment
/// that its waker's processor is about to run is left to it for that long, unless the waker went on the last time. Without processors (<see cref="SchedulerOptions.Processors"/>) there is no thread, and <see cref="RunUntilIdle"/> runs everything.
/// </para>
/// Thread-safe. Whoever has the scheduler may put environments on it: hand it out with care.
/// </summary>
public sealed class Scheduler : IDisposable
{
    private const int TickMs = 1;
    private const int HeldTickMs = 20;

    // Guards the wheel, the lists, and what environments say is guarded by it. A leaf.
    private readonly object _lock = new();
    private readonly SliceWheel _wheel;
    private readonly List<Processor> _processors = [];
    private readonly List<Thread> _threads = [];
    private readonly ConcurrentDictionary<int, ScheduledEnvironment> _admitted = new();
    private readonly SchedulerOptions _options;
    private readonly Processor? _driven;
    private readonly Random? _choice;
    private readonly long _sliceTicks;
    private readonly AutoResetEvent _work = new(false);
    private int _numbers;
    private int _parked;
    private int _held;
    private int _replaced;
    private volatile bool _isStopping;

    /// <summary>Makes a scheduler and starts its threads.</summary>
    /// <exception cref="ArgumentException">An option is out of its range, or a seed was given to one with processors.</exception>
    public Scheduler(SchedulerOptions? options = null)
    {
        _options = options ?? new SchedulerOptions();
        _options.Check();
        TimeProvider = _options.TimeProvider;
        _sliceTicks = Ticks(_options.SliceLength);
        SoonTicks = Ticks(TimeSpan.FromMicroseconds(100));
        _wheel = new SliceWheel(_options.SliceCount, _sliceTicks);
        _choice = _options.Seed is { } seed ? new Random(seed) : null;
        if (_options.Processors == 0)
        {
            _driven = new Processor(this, isDriven: true);
            return;
        }

        lock (_lock)
        {
            for (int i = 0; i < _options.Processors; i++)
            {
                AddProcessor();
            }
        }

        StartThread(KeepTime, "exo-clock");
    }

    /// <summary>The clock that slices are measured by.</summary>
    public TimeProvider TimeProvider { get; }

    /// <summary>How long a slice lasts.</summary>
    public TimeSpan SliceLength => _options.SliceLength;

    /// <summary>The exported vector of time slices: by position, the number of the environment that owns it; 0: free. Changes under the reader.</summary>
    public ReadOnlySpan<int> Slices => _wheel.Numbers;

    /// <summary>Times that a thread took the place of one that was held up in a step beyond <see cref="SchedulerOptions.ReplaceAfter"/>.</summary>
    public int Replacements => Volatile.Read(ref _replaced);

    internal long Now => TimeProvider.GetTimestamp();

    /// <summary>Who wakes somebody and sleeps within this has not gone on: much less than the tick that being wrong costs, and more than a hand-over to another processor.</summary>
    internal long SoonTicks { get; }

    /// <summary>Puts an environment on the scheduler and gives it positions in the vector.</summary>
    /// <param name="environment">One that is on no scheduler.</param>
    /// <param name="slices">How many positions, the first free ones; 1 or more.</param>
    /// <exception cref="InvalidOperationException">The environment is on a scheduler, or not so many positions are free.</exception>
    /// <exception cref="ObjectDisposedException">The environment has ended, or the scheduler is disposed.</exception>
    public ScheduledEnvironment Admit(ExoEnvironment environment, int slices = 1)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(slices, 1);
        return Admit(environment, slices, []);
    }

    /// <summary>Puts an environment on the scheduler, with positions of its choice.</summary>
    /// <inheritdoc cref="Admit(ExoEnvironment, int)"/>
    /// <param name="environment">One that is on no scheduler.</param>
    /// <param name="positions">Which positions, all free.</param>
    public ScheduledEnvironment Admit(ExoEnvironment environment, ReadOnlySpan<int> positions)
    {
        ArgumentOutOfRangeException.ThrowIfZero(positions.Length, nameof(positions));
        return Admit(environment, positions.Length, positions);
    }

    /// <summary>
    /// Runs environments on the calling thread until none is runnable. For schedulers without processors: with time, devices and code that are deterministic, what happens depends on the seed alone.
    /// </summary>
    /// <returns>How many slices were run.</returns>
    /// <exception cref="InvalidOperationException">The scheduler has processors of its own, or the caller is an environment's code.</exception>
    public int RunUntilIdle() =>
        (_driven ?? throw new InvalidOperationException("This scheduler has processors of its own; give it none to drive it.")).Drive();

    /// <summary>What it is doing now. Takes the scheduler's lock for as long as it takes to look at each processor.</summary>
    public SchedulerSnapshot Observe()
    {
        int taken = Slices.Length - Slices.Count(0);
        lock (_lock)
        {
            int busy = _processors.Count(processor => processor.Running is not null);
            return new SchedulerSnapshot(_options.Processors, busy, _wheel.RunnableCount, _options.SliceCount, taken, (long)_options.SliceLength.TotalMicroseconds, _replaced);
        }
    }

    /// <summary>Stops the threads, when the steps that are being run have come to their next await. What is runnable stays so, and never runs.</summary>
    public void Dispose()
    {
        Thread[] threads;
        lock (_lock)
        {
            _isStopping = true;
            Monitor.PulseAll(_lock);
            threads = [.. _threads];
        }

        _work.Set();
        foreach (Thread thread in threads)
        {
            if (thread != Thread.CurrentThread)
            {
                thread.Join();
            }
        }

        _work.Dispose();
    }

    /// <inheritdoc/>
    public override string ToString() => $"a scheduler of {_options.Processors} processors";

    internal TimeSpan Duration(long ticks) => TimeProvider.GetElapsedTime(0, ticks);

    /// <summary>How long an environment may run now.</summary>
    internal long SliceOf(ScheduledEnvironment environment) => Math.Clamp(environment.Credit, 1, _sliceTicks);

    /// <summary>Whether the environment of that number is on the scheduler and has not ended.</summary>
    internal bool IsAlive(int number) => _admitted.ContainsKey(number);

    /// <summary>Its positions are free again.</summary>
    internal void Remove(ScheduledEnvironment environment)
    {
        _admitted.TryRemove(environment.Number, out _);
        lock (_lock)
        {
            _wheel.GiveBack(environment);
            WakeProcessor();
        }
    }

    /// <summary>An environment that slept has something to do; or could not be entered, and can now.</summary>
    internal void MakeRunnable(ScheduledEnvironment environment)
    {
        if (Processor.Current is { } here && here.Scheduler == this && here.Running is not null && here.TryKeep(environment))
        {
            return;
        }

        lock (_lock)
        {
            _wheel.Add(environment);
            WakeProcessor();
        }
    }

    /// <summary>What a processor has kept goes to the wheel.</summary>
    internal void Share(Processor processor)
    {
        lock (_lock)
        {
            if (processor.TakeKept() is { } kept)
            {
                _wheel.Add(kept);
                WakeProcessor();
            }
        }
    }

    /// <summary>
    /// Takes back what a processor ran and gives it the next to run; waits until there is one. Null: the processor retires. When what ran sleeps and has woken somebody, that one is next, and no lock is taken: nothing of the wheel's changes.
    /// </summary>
    internal ScheduledEnvironment? Take(Processor processor, ScheduledEnvironment? ran, ScheduledEnvironment? target)
    {
        bool isRunnable = ran is not null && Stop(ran);
        if (!isRunnable && target is null && !_isStopping && !processor.IsReplaced && processor.TakeKept() is { } kept)
        {
            return kept;
        }

        bool wakeClock = false;
        ScheduledEnvironment? next;
        lock (_lock)
        {
            next = Choose(processor, ran, isRunnable, target);
            while (next is null && !_isStopping && !processor.IsReplaced)
            {
                processor.HasRested = true;
                _parked++;
                Monitor.Wait(_lock);
                wakeClock = _parked-- == _processors.Count - _held;
                next = _wheel.Next();
            }

            if (_isStopping || processor.IsReplaced)
            {
                if (next is not null)
                {
                    _wheel.Add(next);
                    WakeProcessor();
                }

                _processors.Remove(processor);
                _held -= processor.IsReplaced ? 1 : 0;
                processor.IsReplaced = false;
                return null;
            }

            if (_wheel.HasAny)
            {
                WakeProcessor();
            }
        }

        if (wakeClock)
        {
            _work.Set();
        }

        return next;
    }

    /// <summary><see cref="Take"/> without waiting.</summary>
    internal ScheduledEnvironment? TryTake(Processor processor, ScheduledEnvironment? ran, ScheduledEnvironment? target)
    {
        bool isRunnable = ran is not null && Stop(ran);
        lock (_lock)
        {
            return Choose(processor, ran, isRunnable, target);
        }
    }

    /// <summary>Out of the gate first: as soon as it has stopped it may be woken, and be run by another processor. That one cannot have awaited this.</summary>
    private static bool Stop(ScheduledEnvironment ran)
    {
        bool isAwaited = ran.Environment.Leave();
        Invariant.Check(!isAwaited);
        return ran.Stop();
    }

    private ScheduledEnvironment? Choose(Processor processor, ScheduledEnvironment? ran, bool isRunnable, ScheduledEnvironment? target)
    {
        if (isRunnable)
        {
            _wheel.Add(ran!);
        }

        ScheduledEnvironment? kept = processor.TakeKept();
        if (target is not null && target != ran && (kept == target || _wheel.TryRemove(target)))
        {
            if (kept is not null && kept != target)
            {
                _wheel.Add(kept);
            }

            return target;
        }

        return kept ?? _wheel.Next(_choice);
    }

    private ScheduledEnvironment Admit(ExoEnvironment environment, int slices, ReadOnlySpan<int> positions)
    {
        ArgumentNullException.ThrowIfNull(environment);
        ScheduledEnvironment scheduled;
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_isStopping, this);
            scheduled = new ScheduledEnvironment(this, environment, ++_numbers);
            if (!_wheel.TryTake(scheduled, slices, positions))
            {
                throw new InvalidOperationException(
                    positions.IsEmpty ? $"Fewer than {slices} of {_options.SliceCount} time slices are free." : "One of the time slices is not free, or does not exist.");
            }
        }

        try
        {
            _admitted[scheduled.Number] = scheduled;
            environment.Schedule(scheduled);
            return scheduled;
        }
        catch
        {
            Remove(scheduled);
            throw;
        }
    }

    // The lock is held.
    private void WakeProcessor()
    {
        if (_parked > 0)
        {
            Monitor.Pulse(_lock);
        }
    }

    // The lock is held.
    private void AddProcessor()
    {
        Processor processor = new(this, isDriven: false);
        _processors.Add(processor);
        StartThread(processor.Loop, "exo-processor");
    }

    private void StartThread(ThreadStart body, string name)
    {
        Thread thread = new(body) { IsBackground = true, Name = name };
        lock (_lock)
        {
            _threads.RemoveAll(old => !old.IsAlive && old.ThreadState != System.Threading.ThreadState.Unstarted);
            _threads.Add(thread);
        }

        thread.Start();
    }

    /// <summary>The clock's thread: ends slices, and looks after processors that are held up. Sleeps while all processors do.</summary>
    private void KeepTime()
    {
        List<ExoEnvironment> ended = [];
        while (true)
        {
            bool isIdle;
            bool isHeld;
            lock (_lock)
            {
                if (_isStopping)
                {
                    return;
                }

                isIdle = _parked == _processors.Count - _held;
                isHeld = _held > 0;
                Tick(ended);
            }

            // Not under the lock: whatever it holds is taken from it.
            ended.ForEach(environment => environment.Dispose());
            ended.Clear();
            if (isIdle)
            {
                _work.WaitOne(isHeld ? HeldTickMs : Timeout.Infinite);
            }
            else
            {
                Thread.Sleep(TickMs);
            }
        }
    }

    // The lock is held.
    private void Tick(List<ExoEnvironment> ended)
    {
        long now = Now;
        for (int i = _processors.Count - 1; i >= 0; i--)
        {
            Processor processor = _processors[i];
            if (processor.Running is not { } running)
            {
                continue;
            }

            long over = now - processor.Deadline;
            if (over >= 0)
            {
                processor.EndSlice();
            }

            long runs = processor.Runs;
            if (processor.RunsAtTick == runs || over >= 0)
            {
                if (processor.TakeKept() is { } kept)
                {
                    running.GoesOn = true;
                    _wheel.Add(kept);
                    WakeProcessor();
                }
            }

            processor.RunsAtTick = runs;
            if (_options.EndAfter > TimeSpan.Zero && over > Ticks(_options.EndAfter) && !running.IsOver)
            {
                ended.Add(running.Environment);
            }

            if (over > Ticks(_options.ReplaceAfter) && !processor.IsReplaced)
            {
                processor.IsReplaced = true;
                _held++;
                _replaced++;
                AddProcessor();
            }
        }
    }

    private long Ticks(TimeSpan duration) => Math.Max(1, (long)(duration.TotalSeconds * TimeProvider.TimestampFrequency));
}
