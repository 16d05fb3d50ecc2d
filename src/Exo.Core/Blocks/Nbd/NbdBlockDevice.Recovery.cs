// SPDX-License-Identifier: MIT
using Exo.Core.Linux;

namespace Exo.Core.Blocks.Nbd;

/// <summary>Whether requests are sent.</summary>
internal enum NbdDeviceState
{
    Running,

    /// <summary>The connections are being replaced.</summary>
    Recovering,

    /// <summary>Every request fails.</summary>
    Broken,
}

/// <summary>
/// Broken connections, and what may be lost with them. When one breaks, all are replaced: only then is it certain that no flush
/// goes to a new server while a write, acknowledged by the old one, is still believed to be covered by it.
/// <code>
/// acknowledged writes are numbered:   1 ........ durable ........ lost ........ acknowledged
///                                                  |               '- as many had been acknowledged when a connection broke
///                                                  '- as many are covered by a flush that succeeded, or given up by one that failed
/// lost > durable: the next flush must fail
/// </code>
/// </summary>
public sealed partial class NbdBlockDevice
{
    private const int FirstPauseMs = 5;
    private const int LastPauseMs = 1000;

    private readonly Lock _lifecycle = new();
    private readonly Lock _durability = new();
    private readonly CancellationTokenSource _closing = new();
    private volatile NbdDeviceState _state;
    private volatile int _brokenErrno;
    private Thread? _recovery;
    private long _reconnections;
    private long _acknowledged;
    private long _durable;
    private long _lost;
    private long _losses;
    private long _droppedAt;
    private volatile bool _isDropped;

    internal NbdDeviceState State => _state;

    /// <summary>Why the device is broken.</summary>
    internal int BrokenErrno => _brokenErrno;

    /// <summary>Writes acknowledged, but for durable ones.</summary>
    internal long AcknowledgedWrites => Volatile.Read(ref _acknowledged);

    /// <summary>How often acknowledged writes may have been lost.</summary>
    internal long Losses => Volatile.Read(ref _losses);

    internal void NoteAcknowledged() => Interlocked.Increment(ref _acknowledged);

    /// <summary>A server answers: whatever was wrong is over.</summary>
    internal void NoteProgress()
    {
        if (_isDropped)
        {
            _isDropped = false;
        }
    }

    /// <summary>Whether a flush can succeed, 0, or why not.</summary>
    internal int BeginFlush(out long covers)
    {
        lock (_durability)
        {
            covers = AcknowledgedWrites;
            if (_lost <= _durable)
            {
                return 0;
            }

            _durable = _lost; // Said once.
            return Libc.ErrnoConnectionReset;
        }
    }

    /// <summary>A flush that was under way has failed for the loss: the next one need not.</summary>
    internal void NoteLossReported() => EndFlush(Volatile.Read(ref _lost));

    internal void EndFlush(long covers)
    {
        lock (_durability)
        {
            _durable = Math.Max(_durable, covers);
        }
    }

    /// <summary>A connection failed. Called with the role in hand, so that recovery cannot be over before this is.</summary>
    internal void Drop(NbdConnectionException why)
    {
        lock (_lifecycle)
        {
            if (_state != NbdDeviceState.Running)
            {
                return;
            }

            if (!_isDropped)
            {
                _droppedAt = _options.TimeProvider.GetTimestamp();
                _isDropped = true;
            }

            if (why.IsFinal || _options.ReconnectTimeoutMs == 0)
            {
                _brokenErrno = why.Errno;
            }

            _state = NbdDeviceState.Recovering;
            foreach (NbdConnection connection in _connections)
            {
                connection.Stop();
            }

            // The one before has nothing left to do but to end.
            _recovery = new Thread(Recover) { IsBackground = true, Name = "exo nbd recovery" };
            _recovery.UnsafeStart();
        }
    }

    private void Recover()
    {
        foreach (NbdConnection connection in _connections)
        {
            connection.TakeRoles();
        }

        bool isLoss = NoteLoss();
        List<NbdTransport>? transports = _brokenErrno == 0 ? Reconnect() : null;
        if (transports is null)
        {
            _state = NbdDeviceState.Broken;
            foreach (NbdConnection connection in _connections)
            {
                connection.FailAll(_brokenErrno);
            }

            return;
        }

        Interlocked.Increment(ref _reconnections);
        for (int i = 0; i < _connections.Length; i++)
        {
            transports[i].SetTimeouts(_options.ReplyTimeoutMs, _options.ReplyTimeoutMs);
            _connections[i].Restart(transports[i], isLoss);
        }

        lock (_lifecycle)
        {
            _state = NbdDeviceState.Running;
        }

        foreach (NbdConnection connection in _connections)
        {
            connection.Replay();
        }
    }

    private bool NoteLoss()
    {
        lock (_durability)
        {
            if (_acknowledged <= _durable)
            {
                return false;
            }

            _lost = _acknowledged;
            _losses++;
            return true;
        }
    }

    /// <summary>New transports, one per connection; or null, and the reason why every request fails from now on.</summary>
    private List<NbdTransport>? Reconnect()
    {
        int lastErrno = Libc.ErrnoTimedOut;
        for (int pauseMs = FirstPauseMs; !IsTooLate() && !_closing.IsCancellationRequested; pauseMs = Math.Min(2 * pauseMs, LastPauseMs))
        {
            try
            {
                (List<NbdTransport> transports, NbdExport export) = Connect(_uri, _options, _connections.Length);
                if (transports.Count == _connections.Length && _export.CanBeReplacedBy(export)
                    && export.AllocationContext == _export.AllocationContext)
                {
                    return transports;
                }

                foreach (NbdTransport transport in transports)
                {
                    transport.Dispose();
                }

                _brokenErrno = Errno.ENODEV; // Another export under the old name.
                return null;
            }
            catch (NbdConnectionException refused)
            {
                if (refused.IsFinal)
                {
                    _brokenErrno = refused.Errno;
                    return null;
                }
            }

            try
            {
                Task.Delay(TimeSpan.FromMilliseconds(pauseMs), _options.TimeProvider, _closing.Token).GetAwaiter().GetResult();
            }
            catch (OperationCanceledException)
            {
                lastErrno = Errno.ECANCELED;
            }
        }

        _brokenErrno = lastErrno;
        return null;
    }

    private bool IsTooLate() =>
        _options.TimeProvider.GetElapsedTime(_droppedAt).TotalMilliseconds >= _options.ReconnectTimeoutMs;

    private void EndRecovery()
    {
        _closing.Cancel();
        Thread? recovery;
        lock (_lifecycle)
        {
            recovery = _recovery;
        }

        recovery?.Join();
        _closing.Dispose();
    }
}
