// SPDX-License-Identifier: MIT
using System.Threading.Tasks.Sources;

namespace Exo.Core.Blocks.Nbd;

/// <summary>
/// A batch on its way: a copy of its requests, how far they have been cut into pieces and sent, how many pieces are not
/// answered. Pooled by the device.
/// <code>
/// Begin --> queue --> pump cuts and sends --> replies --> [flush, if durable writes need one] --> IsDone
/// Remaining = pieces that are out + 1 until the pump is through with it
/// </code>
/// </summary>
internal sealed class NbdBatch(NbdBlockDevice device) : IValueTaskSource
{
    private ManualResetValueTaskSourceCore<bool> _source;
    private BlockRequest[] _requests = new BlockRequest[4];
    private int[] _errors = new int[4];
    private Memory<BlockRequest> _callers;
    private int _remaining;

    public int Count { get; private set; }

    public bool IsAsync { get; private set; }

    /// <summary>Next request to cut, and how many of its bytes are cut. The pump's.</summary>
    public int NextRequest { get; set; }

    /// <inheritdoc cref="NextRequest"/>
    public long NextOffsetBytes { get; set; }

    /// <summary>It has durable writes, and the server cannot write durably but by a flush, which is still to be sent.</summary>
    public bool NeedsFlush { get; set; }

    /// <summary>The device's count of losses when the first of those writes was sent.</summary>
    public long LossesSeen { get; set; }

    /// <summary>Only that flush is left.</summary>
    public bool IsFlushing { get; set; }

    /// <summary>All requests are answered. Set under the connection's lock.</summary>
    public volatile bool IsDone;

    /// <summary>Its waiter has been given the role of the connection's receiver. Set under the connection's lock.</summary>
    public volatile bool MayLead;

    /// <summary>Where <see cref="NbdBlockDevice.ReadAllocation"/> wants the answer; null in other batches.</summary>
    public NbdAllocationQuery? Query { get; set; }

    public ReadOnlySpan<BlockRequest> Requests => _requests.AsSpan(0, Count);

    public void Begin(ReadOnlySpan<BlockRequest> requests, bool isAsync, Memory<BlockRequest> callers = default)
    {
        if (_requests.Length < requests.Length)
        {
            _requests = new BlockRequest[Math.Max(requests.Length, _requests.Length * 2)];
            _errors = new int[_requests.Length];
        }

        requests.CopyTo(_requests);
        Array.Clear(_errors, 0, requests.Length);
        Count = requests.Length;
        _callers = callers;
        IsAsync = isAsync;
        NextRequest = 0;
        NextOffsetBytes = 0;
        NeedsFlush = false;
        IsFlushing = false;
        MayLead = false;
        IsDone = false;
        _remaining = 1;
    }

    public void AddPiece() => Interlocked.Increment(ref _remaining);

    /// <summary>True for the last.</summary>
    public bool ReleasePiece()
    {
        int left = Interlocked.Decrement(ref _remaining);
        Invariant.Check(left >= 0);
        return left == 0;
    }

    /// <summary>Notes the first error of a request.</summary>
    public void Fail(int request, int errno)
    {
        if (_errors[request] == 0)
        {
            _errors[request] = errno;
        }
    }

    /// <summary>The batch goes to the pump a second time, for the flush that makes its durable writes durable.</summary>
    public void BeginFlush()
    {
        NeedsFlush = false;
        IsFlushing = true;
        NextRequest = 0;
        _remaining = 1;
    }

    /// <summary>That flush failed: none of the durable writes is.</summary>
    public void FailDurable(int errno)
    {
        for (int i = 0; i < Count; i++)
        {
            if (_requests[i].ForceUnitAccess)
            {
                Fail(i, errno);
            }
        }
    }

    public void CopyErrors(Span<BlockRequest> requests)
    {
        for (int i = 0; i < requests.Length; i++)
        {
            requests[i].Error = _errors[i];
        }
    }

    public ValueTask AsTask() => new(this, _source.Version);

    /// <summary>Completes an asynchronous batch; the device's own bookkeeping runs on this thread, its caller's code does not.</summary>
    public void SetResult()
    {
        CopyErrors(_callers.Span);
        _source.SetResult(true);
    }

    public ValueTaskSourceStatus GetStatus(short token) => _source.GetStatus(token);

    public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _source.OnCompleted(continuation, state, token, flags);

    public void GetResult(short token)
    {
        _source.GetResult(token);
        _source.Reset();
        End();
    }

    /// <summary>Forgets the caller's memory and goes back to the pool.</summary>
    public void End()
    {
        Array.Clear(_requests, 0, Count);
        _callers = default;
        Query = null;
        Count = 0;
        device.Return(this);
    }
}
