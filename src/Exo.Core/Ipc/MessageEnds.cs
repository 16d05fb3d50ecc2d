// SPDX-License-Identifier: MIT
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Predicates;

namespace Exo.Core.Ipc;

/// <summary>The writing end of a <see cref="MessageRing"/>. Of the reader it believes only how far he says he has read, and that within bounds.</summary>
public sealed class MessageWriter : MessageEnd
{
    private RingProducer _ring;
    private bool _isCorrupt;
    private readonly RetriedWait<bool> _wait;
    private ReadOnlyMemory<byte> _message;
    private bool _isReserved;

    internal MessageWriter(PinnedFrames own, PinnedFrames peers, ExoEnvironment environment, int capacityBytes)
        : base(own, peers, environment, capacityBytes)
    {
        _ring = new RingProducer(own.Address, peers.Address, own.Address + FramePool.FrameBytes, capacityBytes);
        MessageMaxBytes = RingSide.MessageMax(capacityBytes);
        _wait = WaitFor<bool>(TryWriteAgain);
    }

    /// <summary>The largest message.</summary>
    public int MessageMaxBytes { get; }

    private protected override bool Writes => true;

    private protected override ulong Passed => _ring.Produced;

    /// <inheritdoc/>
    public override PredicateProduct ReadyWhen(ulong tag) =>
        new(tag, PredicateValue.Word(Peers.FirstBinding, RingSide.IndexAt).AtLeast(PredicateValue.Word(Own.FirstBinding, RingSide.WantedAt)));

    /// <summary>Writes a message, whole or not at all. Never waits, allocates nothing.</summary>
    /// <returns>
    /// <see cref="IpcStatus.Ok"/>; <see cref="IpcStatus.WouldBlock"/>; <see cref="IpcStatus.Closed"/> when the reader has closed; <see cref="IpcStatus.Revoked"/>; <see cref="IpcStatus.Corrupt"/> when he has
    /// scribbled.
    /// </returns>
    /// <exception cref="ArgumentOutOfRangeException">The message is larger than <see cref="MessageMaxBytes"/>.</exception>
    /// <exception cref="ObjectDisposedException">This end is closed.</exception>
    public IpcStatus TryWrite(ReadOnlySpan<byte> message)
    {
        ThrowIfClosed();
        lock (Own.Lock)
        {
            IpcStatus status = Reserve(message.Length, out Span<byte> bytes);
            if (status != IpcStatus.Ok)
            {
                return status;
            }

            message.CopyTo(bytes);
            _ring.Publish(message.Length);
        }

        Own.Pool.Ring(Own.First);
        return IpcStatus.Ok;
    }

    /// <summary>Writes a message; sleeps while there is no room.</summary>
    /// <exception cref="IpcException">See <see cref="TryWrite"/>.</exception>
    /// <exception cref="ObjectDisposedException">This end is closed, or the environment has ended.</exception>
    public ValueTask WriteAsync(ReadOnlyMemory<byte> message, CancellationToken cancellationToken = default)
    {
        IpcStatus status = TryWrite(message.Span);
        if (status != IpcStatus.WouldBlock)
        {
            return status == IpcStatus.Ok ? default : ValueTask.FromException(IpcException.Of(status));
        }

        _wait.Take();
        _message = message;
        return new ValueTask(_wait, _wait.Begin(cancellationToken));
    }

    /// <summary>Room for a message in the ring itself: fill it, then commit it. One reservation at a time; nothing else is written meanwhile.</summary>
    /// <exception cref="InvalidOperationException">There is a reservation.</exception>
    /// <inheritdoc cref="TryWrite"/>
    public IpcStatus TryReserve(int lengthBytes, out MessageReservation reservation)
    {
        ThrowIfClosed();
        reservation = default;
        lock (Own.Lock)
        {
            IpcStatus status = Reserve(lengthBytes, out Span<byte> bytes);
            if (status == IpcStatus.Ok)
            {
                _isReserved = true;
                Own.Lease();
                reservation = new MessageReservation(this, bytes);
            }

            return status;
        }
    }

    /// <summary>There will be no more messages; what was written can be read until this end is disposed.</summary>
    public void Complete() => SetClosed();

    internal void EndReservation(int lengthBytes, bool isCommitted)
    {
        lock (Own.Lock)
        {
            _isReserved = false;
            if (isCommitted && !IsRevoked)
            {
                _ring.Publish(lengthBytes);
            }
        }

        Own.EndLease();
        if (isCommitted)
        {
            Own.Pool.Ring(Own.First);
        }
    }

    private bool TryWriteAgain(out bool result)
    {
        result = true;
        IpcStatus status = TryWrite(_message.Span);
        return status != IpcStatus.WouldBlock && (status == IpcStatus.Ok ? true : throw IpcException.Of(status));
    }

    // Under the lock.
    private IpcStatus Reserve(int lengthBytes, out Span<byte> bytes)
    {
        bytes = default;
        if (_isReserved)
        {
            throw new InvalidOperationException("A message is reserved and not committed yet.");
        }

        if (IsRevoked || _isCorrupt)
        {
            return IsRevoked ? IpcStatus.Revoked : IpcStatus.Corrupt;
        }

        IpcStatus status = _ring.TryReserve(lengthBytes, out bytes);
        _isCorrupt = status == IpcStatus.Corrupt;
        return status;
    }
}

/// <summary>A message being written in place. Dispose it uncommitted, and it was never there.</summary>
public ref struct MessageReservation
{
    private MessageWriter? _writer;

    internal MessageReservation(MessageWriter writer, Span<byte> bytes)
    {
        _writer = writer;
        Bytes = bytes;
    }

    /// <summary>Its bytes, to be filled: what was there before is still in them.</summary>
    public Span<byte> Bytes { get; }

    /// <summary>Hands the message over.</summary>
    public void Commit() => End(isCommitted: true);

    /// <summary>Gives the room up, unless the message was committed.</summary>
    public void Dispose() => End(isCommitted: false);

    private void End(bool isCommitted)
    {
        MessageWriter? writer = _writer;
        _writer = null;
        writer?.EndReservation(Bytes.Length, isCommitted);
    }
}

/// <summary>The reading end of a <see cref="MessageRing"/>. Whatever the writer writes, it reads within the ring and tells a status.</summary>
public sealed class MessageReader : MessageEnd
{
    private RingConsumer _ring;
    private bool _isCorrupt;
    private readonly RetriedWait<int> _wait;
    private Memory<byte> _buffer;
    private bool _isLeased;

    internal MessageReader(PinnedFrames own, PinnedFrames peers, ExoEnvironment environment, PeerTrust trust, int capacityBytes)
        : base(own, peers, environment, capacityBytes)
    {
        _ring = new RingConsumer(own.Address, peers.Address, peers.Address + FramePool.FrameBytes, capacityBytes);
        Trust = trust;
        _wait = WaitFor<int>(TryReadAgain);
    }

    /// <summary>Whether it trusts the writer.</summary>
    public PeerTrust Trust { get; }

    private protected override bool Writes => false;

    private protected override ulong Passed => _ring.Consumed;

    /// <inheritdoc/>
    public override PredicateProduct ReadyWhen(ulong tag) =>
        new(tag, PredicateValue.Word(Peers.FirstBinding, RingSide.IndexAt).NotEqualTo(PredicateValue.Word(Own.FirstBinding, RingSide.IndexAt)));

    /// <summary>Copies the next message out, once, and takes it off the ring. Never waits, allocates nothing.</summary>
    /// <param name="buffer">Where to.</param>
    /// <param name="lengthBytes">The message's length, also when the buffer is too small for it.</param>
    /// <returns>
    /// <see cref="IpcStatus.Ok"/>; <see cref="IpcStatus.WouldBlock"/>; <see cref="IpcStatus.Closed"/> when the writer has completed and everything is read; <see cref="IpcStatus.BufferTooSmall"/>;
    /// <see cref="IpcStatus.Revoked"/>; <see cref="IpcStatus.Corrupt"/> when he has scribbled.
    /// </returns>
    /// <exception cref="ObjectDisposedException">This end is closed.</exception>
    public IpcStatus TryRead(Span<byte> buffer, out int lengthBytes)
    {
        ThrowIfClosed();
        lengthBytes = 0;
        lock (Own.Lock)
        {
            IpcStatus status = Peek(out ReadOnlySpan<byte> bytes);
            if (status != IpcStatus.Ok)
            {
                return status;
            }

            lengthBytes = bytes.Length;
            if (!bytes.TryCopyTo(buffer))
            {
                return IpcStatus.BufferTooSmall;
            }

            _ring.Release(lengthBytes);
        }

        Own.Pool.Ring(Own.First);
        return IpcStatus.Ok;
    }

    /// <summary>Copies the next message out; sleeps until there is one.</summary>
    /// <returns>Its length; -1 when the writer has completed and everything is read.</returns>
    /// <exception cref="IpcException">See <see cref="TryRead"/>.</exception>
    /// <exception cref="ObjectDisposedException">This end is closed, or the environment has ended.</exception>
    public ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        _wait.Take();
        _buffer = buffer;
        try
        {
            if (TryReadAgain(out int lengthBytes))
            {
                _wait.Leave();
                return new ValueTask<int>(lengthBytes);
            }
        }
        catch (IpcException failure)
        {
            _wait.Leave();
            return ValueTask.FromException<int>(failure);
        }

        return new ValueTask<int>(_wait, _wait.Begin(cancellationToken));
    }

    /// <summary>The next message where it lies, for a reader that trusts the writer. It is taken off the ring when the lease is disposed; one lease at a time.</summary>
    /// <exception cref="InvalidOperationException">The writer is not trusted, or there is a lease.</exception>
    /// <inheritdoc cref="TryRead"/>
    public IpcStatus TryPeek(out MessageLease lease)
    {
        ThrowIfClosed();
        lease = default;
        if (Trust != PeerTrust.Trusted)
        {
            throw new InvalidOperationException("What a writer that is not trusted has written is copied before it is looked at: use TryRead.");
        }

        lock (Own.Lock)
        {
            IpcStatus status = Peek(out ReadOnlySpan<byte> bytes);
            if (status == IpcStatus.Ok)
            {
                _isLeased = true;
                Peers.Lease();
                lease = new MessageLease(this, bytes);
            }

            return status;
        }
    }

    internal void EndLease(int lengthBytes)
    {
        lock (Own.Lock)
        {
            _isLeased = false;
            if (!IsRevoked)
            {
                _ring.Release(lengthBytes);
            }
        }

        Peers.EndLease();
        Own.Pool.Ring(Own.First);
    }

    private bool TryReadAgain(out int lengthBytes)
    {
        IpcStatus status = TryRead(_buffer.Span, out lengthBytes);
        if (status == IpcStatus.Closed)
        {
            lengthBytes = -1;
        }

        return status != IpcStatus.WouldBlock && (status is IpcStatus.Ok or IpcStatus.Closed ? true : throw IpcException.Of(status));
    }

    // Under the lock.
    private IpcStatus Peek(out ReadOnlySpan<byte> bytes)
    {
        bytes = default;
        if (_isLeased)
        {
            throw new InvalidOperationException("A message is leased and not given back yet.");
        }

        if (IsRevoked || _isCorrupt)
        {
            return IsRevoked ? IpcStatus.Revoked : IpcStatus.Corrupt;
        }

        IpcStatus status = _ring.TryPeek(out bytes);
        _isCorrupt = status == IpcStatus.Corrupt;
        return status;
    }
}

/// <summary>A message where it lies. The writer's frames stay what they are until it is disposed.</summary>
public ref struct MessageLease
{
    private MessageReader? _reader;

    internal MessageLease(MessageReader reader, ReadOnlySpan<byte> bytes)
    {
        _reader = reader;
        Bytes = bytes;
    }

    /// <summary>Its bytes.</summary>
    public ReadOnlySpan<byte> Bytes { get; }

    /// <summary>Takes the message off the ring.</summary>
    public void Dispose()
    {
        MessageReader? reader = _reader;
        _reader = null;
        reader?.EndLease(Bytes.Length);
    }
}
