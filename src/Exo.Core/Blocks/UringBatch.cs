// SPDX-License-Identifier: MIT
using System.Threading.Tasks.Sources;
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

/// <summary>
/// A batch while a ring works on it: how far it has been cut into transfers, and how many of those are not back. Both doors use
/// it; for the asynchronous one it is also what is awaited.
/// </summary>
internal sealed class UringBatch : IValueTaskSource
{
    private readonly Action<UringBatch>? _recycle;
    private ManualResetValueTaskSourceCore<bool> _source;

    /// <summary>For the synchronous door: belongs to its ring.</summary>
    public UringBatch()
    {
    }

    /// <summary>For the asynchronous door.</summary>
    /// <param name="recycle">Takes it back when the result has been fetched.</param>
    public UringBatch(Action<UringBatch> recycle) => _recycle = recycle;

    public Memory<BlockRequest> Requests { get; private set; }

    /// <summary>The request to be cut next; the count once all are cut.</summary>
    public int NextRequest { get; private set; }

    /// <summary>Bytes of that request already cut off.</summary>
    public long NextOffsetBytes { get; private set; }

    /// <summary>The slot of the <see cref="BlockQueue"/> that it serves.</summary>
    public int Slot { get; init; }

    /// <summary>Transfers with the kernel.</summary>
    public int Outstanding { get; set; }

    public bool IsIssued => NextRequest == Requests.Length;

    public bool IsDone => Outstanding == 0 && IsIssued;

    public void Begin(Memory<BlockRequest> requests)
    {
        Requests = requests;
        NextRequest = 0;
        NextOffsetBytes = 0;
        Outstanding = 0;
    }

    public ValueTask Task() => new(this, _source.Version);

    /// <summary>The next transfer takes so many bytes of the current request; 0 for one that moves nothing.</summary>
    public void Advance(int lengthBytes)
    {
        NextOffsetBytes += lengthBytes;
        ref BlockRequest request = ref Requests.Span[NextRequest];
        bool moves = request.Operation is BlockOperation.Read or BlockOperation.Write;
        if (!moves || NextOffsetBytes == (long)request.BlockCount * FramePool.FrameBytes)
        {
            NextRequest++;
            NextOffsetBytes = 0;
        }
    }

    /// <summary>Keeps a request's first error.</summary>
    public void Fail(int request, int errno)
    {
        ref BlockRequest failed = ref Requests.Span[request];
        if (failed.Error == 0)
        {
            failed.Error = errno;
        }
    }

    public void Complete() => _source.SetResult(true);

    public ValueTaskSourceStatus GetStatus(short token) => _source.GetStatus(token);

    public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _source.OnCompleted(continuation, state, token, flags);

    public void GetResult(short token)
    {
        _source.GetResult(token);
        Requests = default;
        _source.Reset();
        _recycle!(this);
    }
}
