// SPDX-License-Identifier: MIT
using System.Threading.Tasks.Sources;
using Exo.Core.Sharing;

namespace Exo.Core.Blocks;

/// <summary>What waits in one share, in the order of coming. Guarded by the lock of the shares.</summary>
internal sealed class DiskFlow(int weight) : ShareFlow(weight)
{
    private DiskTurn? _first;
    private DiskTurn? _last;
    private long _begun;

    public override long HeadCost => _first?.Bytes ?? -1;

    /// <summary>Bytes that it has had its turn for. Read by anybody.</summary>
    public long Begun
    {
        get => Volatile.Read(ref _begun);
        set => Volatile.Write(ref _begun, value);
    }

    public void Add(DiskTurn turn)
    {
        if (_last is null)
        {
            _first = turn;
        }
        else
        {
            _last.Next = turn;
        }

        _last = turn;
    }

    public DiskTurn Take()
    {
        DiskTurn turn = _first!;
        _first = turn.Next;
        _last = _first is null ? null : _last;
        turn.Next = null;
        return turn;
    }
}

/// <summary>A wait for a turn; used again and again.</summary>
internal sealed class DiskTurn(DiskShares shares) : IValueTaskSource
{
    // Who goes on submits a batch and returns, or is a thread that has been waiting: that is done by whoever gives the turn.
    private ManualResetValueTaskSourceCore<bool> _core;

    public DiskTurn? Next { get; set; }

    public long Bytes { get; private set; }

    public short Version => _core.Version;

    public void Begin(long bytes)
    {
        Next = null;
        Bytes = bytes;
        _core.Reset();
    }

    public void Give() => _core.SetResult(true);

    void IValueTaskSource.GetResult(short token)
    {
        _core.GetResult(token);
        shares.Return(this);
    }

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _core.GetStatus(token);

    void IValueTaskSource.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _core.OnCompleted(continuation, state, token, flags);
}
