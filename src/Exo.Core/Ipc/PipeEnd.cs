// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Core.Environments;
using Exo.Core.Observation;
using Exo.Core.Predicates;

namespace Exo.Core.Ipc;

/// <summary>An end of a <see cref="Pipe"/>, opened for an environment. One flow at a time waits at an end; open another with <c>Duplicate</c> for another flow.</summary>
public abstract class PipeEnd : IDisposable, IObservableRing
{
    private readonly bool _writes;
    private readonly WakeupPredicate _ready;
    private int _isClosed;

    private protected PipeEnd(Pipe pipe, ExoEnvironment environment, bool writes)
    {
        ArgumentNullException.ThrowIfNull(environment);
        Pipe = pipe;
        Environment = environment;
        _writes = writes;
        Slot = pipe.OpenEnd(writes);
        _ready = WakeupPredicate.Bind([ReadyWhen(1), ClosedWhen(2)]);
        _ready.StandBy(environment);
        environment.AddRing(this);
    }

    /// <summary>The pipe.</summary>
    public Pipe Pipe { get; }

    /// <summary>Whose end it is: it is this environment that sleeps.</summary>
    public ExoEnvironment Environment { get; }

    /// <summary>Whether this end was closed.</summary>
    public bool IsClosed => Volatile.Read(ref _isClosed) != 0;

    internal int Slot { get; }

    /// <summary>
    /// Holds while the other side is closed: with <see cref="ReadyWhen"/>, for a predicate of the library OS's own that waits for several things at once (<c>select</c>).
    /// </summary>
    /// <param name="tag">The tag of the product; not zero.</param>
    public PredicateProduct ClosedWhen(ulong tag) =>
        new(tag, PredicateValue.Word(Pipe.Words, _writes ? Pipe.ReadersAt : Pipe.WritersAt).EqualTo(0));

    /// <summary>Holds while there is something to read; for a write end, while there is room for what <c>TryWrite</c> last had no room for.</summary>
    /// <param name="tag">The tag of the product; not zero.</param>
    public PredicateProduct ReadyWhen(ulong tag) => _writes
        ? new(tag, PredicateValue.Word(Pipe.Words, Pipe.ConsumedAt).AtLeast(PredicateValue.Word(Pipe.Words, Pipe.SlotsAt + Slot * 8)))
        : new(tag, PredicateValue.Word(Pipe.Words, Pipe.ProducedAt).Above(PredicateValue.Word(Pipe.Words, Pipe.ConsumedAt)));

    /// <summary>Closes the end; who waits at it is told <see cref="ObjectDisposedException"/>. With the last end the frames are given back.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _isClosed, 1) == 0)
        {
            Environment.RemoveRing(this);
            _ready.Dispose();
            Pipe.CloseEnd(_writes, Slot);
        }

        GC.SuppressFinalize(this);
    }

    RingSnapshot IObservableRing.Observe() => Pipe.Observe(Environment, _writes);

    private protected RetriedWait<T> WaitFor<T>(RetriedWait<T>.Attempt attempt, RetriedWait<T>.Attempt? attemptLocked = null) =>
        new(Environment, _ready, attempt, attemptLocked);

    private protected void ThrowIfClosed() => ObjectDisposedException.ThrowIf(IsClosed, this);
}

/// <summary>The end of a pipe that is read from.</summary>
public sealed class PipeReadEnd : PipeEnd
{
    private readonly RetriedWait<int> _wait;
    private Memory<byte> _buffer;

    internal PipeReadEnd(Pipe pipe, ExoEnvironment environment)
        : base(pipe, environment, writes: false)
    {
        _wait = WaitFor<int>(TryReadAgain, TryReadLocked);
    }

    /// <summary>Bytes that can be read at once.</summary>
    public int Available => Pipe.Available();

    /// <summary>Another read end of the same pipe.</summary>
    /// <param name="environment">Whose it is.</param>
    /// <exception cref="ObjectDisposedException">This end is closed.</exception>
    public PipeReadEnd Duplicate(ExoEnvironment environment)
    {
        ThrowIfClosed();
        return new PipeReadEnd(Pipe, environment);
    }

    /// <summary>Reads what there is, as far as it fits. Never waits, allocates nothing.</summary>
    /// <param name="buffer">Where to.</param>
    /// <param name="count">Bytes read.</param>
    /// <returns><see cref="IpcStatus.Ok"/>; <see cref="IpcStatus.WouldBlock"/>; <see cref="IpcStatus.Closed"/> at the end of file; <see cref="IpcStatus.Revoked"/>.</returns>
    /// <exception cref="ObjectDisposedException">This end is closed.</exception>
    public IpcStatus TryRead(Span<byte> buffer, out int count)
    {
        ThrowIfClosed();
        return Pipe.TryRead(buffer, out count);
    }

    /// <summary>Reads at least one byte; sleeps until there is one.</summary>
    /// <returns>Bytes read; 0 at the end of file, or for an empty buffer.</returns>
    /// <exception cref="IpcException">The frames were taken back.</exception>
    /// <exception cref="ObjectDisposedException">This end is closed, or the environment has ended.</exception>
    public ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        ThrowIfClosed();
        if (!cancellationToken.CanBeCanceled)
        {
            IpcStatus status = Pipe.ReadOrSleep(this, buffer, out int count, out bool sleeps);
            if (sleeps)
            {
                return new ValueTask<int>(_wait, _wait.Version);
            }

            if (status != IpcStatus.WouldBlock)
            {
                return Done(status) ? new ValueTask<int>(count) : ValueTask.FromException<int>(IpcException.Of(status));
            }
        }

        return ReadLater(buffer, cancellationToken);
    }

    /// <summary>Under the pipe's lock, under which nothing was found to read: sleeps. False: not by this way.</summary>
    internal bool TrySleepLocked(Memory<byte> buffer)
    {
        _wait.TakeLocked();
        _buffer = buffer;
        if (_wait.TryBeginLocked())
        {
            return true;
        }

        _wait.Leave();
        return false;
    }

    private ValueTask<int> ReadLater(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        IpcStatus status = Pipe.TryRead(buffer.Span, out int count);
        if (status != IpcStatus.WouldBlock)
        {
            return Done(status) ? new ValueTask<int>(count) : ValueTask.FromException<int>(IpcException.Of(status));
        }

        lock (Pipe.Lock)
        {
            _wait.TakeLocked();
        }

        _buffer = buffer;
        return new ValueTask<int>(_wait, _wait.Begin(cancellationToken));
    }

    private static bool Done(IpcStatus status) => status is IpcStatus.Ok or IpcStatus.Closed;

    // By the writer, under the pipe's lock: so the reader need not take it again. Only into an array: other memory may run code of the reader's to say where it is.
    private bool TryReadLocked(out int count)
    {
        count = 0;
        return MemoryMarshal.TryGetArray(_buffer, out ArraySegment<byte> array) && Pipe.ReadLocked(array, out count) is IpcStatus.Ok && count > 0;
    }

    private bool TryReadAgain(out int count)
    {
        IpcStatus status = TryRead(_buffer.Span, out count);
        return status != IpcStatus.WouldBlock && (Done(status) ? true : throw IpcException.Of(status));
    }
}

/// <summary>The end of a pipe that is written to.</summary>
public sealed class PipeWriteEnd : PipeEnd
{
    private readonly RetriedWait<bool> _wait;
    private ReadOnlyMemory<byte> _left;

    internal PipeWriteEnd(Pipe pipe, ExoEnvironment environment)
        : base(pipe, environment, writes: true)
    {
        _wait = WaitFor<bool>(TryWriteAgain);
    }

    /// <summary>Another write end of the same pipe.</summary>
    /// <param name="environment">Whose it is.</param>
    /// <exception cref="ObjectDisposedException">This end is closed.</exception>
    public PipeWriteEnd Duplicate(ExoEnvironment environment)
    {
        ThrowIfClosed();
        return new PipeWriteEnd(Pipe, environment);
    }

    /// <summary>Writes what there is room for; up to 4,096 bytes whole or not at all. Never waits, allocates nothing.</summary>
    /// <param name="bytes">What.</param>
    /// <param name="count">Bytes written.</param>
    /// <returns><see cref="IpcStatus.Ok"/>; <see cref="IpcStatus.WouldBlock"/>; <see cref="IpcStatus.Closed"/> when nobody reads; <see cref="IpcStatus.Revoked"/>.</returns>
    /// <exception cref="ObjectDisposedException">This end is closed.</exception>
    public IpcStatus TryWrite(ReadOnlySpan<byte> bytes, out int count)
    {
        ThrowIfClosed();
        return Pipe.TryWrite(bytes, Slot, out count);
    }

    /// <summary>Writes all; sleeps while there is no room.</summary>
    /// <exception cref="IpcException">Nobody reads any more (<see cref="IpcStatus.Closed"/>: EPIPE), or the frames were taken back. A part may have been written.</exception>
    /// <exception cref="ObjectDisposedException">This end is closed, or the environment has ended.</exception>
    public ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken = default)
    {
        if (TryWrite(bytes.Span, out int count) == IpcStatus.Ok && count == bytes.Length)
        {
            return default;
        }

        lock (Pipe.Lock)
        {
            _wait.TakeLocked();
        }

        _left = bytes[count..];
        try
        {
            if (TryWriteAgain(out bool _))
            {
                _wait.Leave();
                return default;
            }
        }
        catch (IpcException failure)
        {
            _wait.Leave();
            return ValueTask.FromException(failure);
        }

        return new ValueTask(_wait, _wait.Begin(cancellationToken));
    }

    /// <summary>Writes what there is room for. True: all of it.</summary>
    private bool TryWriteAgain(out bool result)
    {
        result = true;
        while (true)
        {
            IpcStatus status = TryWrite(_left.Span, out int count);
            if (status != IpcStatus.Ok)
            {
                return status == IpcStatus.WouldBlock ? false : throw IpcException.Of(status);
            }

            _left = _left[count..];
            if (_left.IsEmpty)
            {
                return true;
            }
        }
    }
}
