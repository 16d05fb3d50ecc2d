// SPDX-License-Identifier: MIT
namespace Exo.Core.Blocks;

/// <summary>
/// A ring of the owner's own under a <see cref="BlockQueue"/>: no lock, no thread. <see cref="Advance"/> hands over what is left and
/// waits in the same call. The disk is registered with the ring, the pool if the options say so.
/// </summary>
internal sealed class RingEngine : QueueEngine
{
    private readonly UringQueue _queue;
    private readonly UringBatch[] _batches;
    private readonly Queue<UringBatch> _unissued;
    private readonly Queue<int> _done;
    private readonly int _handOver;
    private long _counted;

    public RingEngine(UringQueue queue, int depth)
    {
        _queue = queue;

        // A disk that is faster than the caller's turn runs dry while the turn gathers requests; every call costs a microsecond. A
        // sixteenth of the depth keeps the rate of one call per request with half the calls (docs/benchmarks.md).
        _handOver = Math.Clamp(depth / 16, 1, 8);
        _unissued = new Queue<UringBatch>(depth);
        _done = new Queue<int>(depth);
        _batches = new UringBatch[depth];
        for (int i = 0; i < depth; i++)
        {
            _batches[i] = new UringBatch { Slot = i };
        }
    }

    public override void Start(int slot, Memory<BlockRequest> request)
    {
        UringBatch batch = _batches[slot];
        batch.Begin(request);

        // A request of several transfers may fill the ring: those behind it wait for their turn.
        if (_unissued.Count == 0)
        {
            _queue.Fill(batch);
        }

        if (!batch.IsIssued)
        {
            _unissued.Enqueue(batch);
        }

        if (_queue.Unsubmitted >= _handOver)
        {
            Kick();
        }
    }

    public override void Kick()
    {
        if (_queue.Unsubmitted > 0)
        {
            _queue.Submit();
        }
    }


    public override long Advance(int minCount)
    {
        while (true)
        {
            // What is in the completion ring costs nothing to look at: with it, the call below need not wait.
            Collect();
            _queue.SubmitAndWait(_done.Count < minCount ? 1u : 0u);
            Collect();
            while (_unissued.TryPeek(out UringBatch? next) && _queue.HasFreeSlot)
            {
                _queue.Fill(next);
                if (!next.IsIssued)
                {
                    break;
                }

                _unissued.Dequeue();
            }

            if (_done.Count >= minCount && _queue.Unsubmitted == 0)
            {
                long calls = _queue.EnterCount - _counted;
                _counted = _queue.EnterCount;
                return calls;
            }
        }
    }

    public override bool TryTake(out int slot, out Exception? defect)
    {
        defect = null;
        return _done.TryDequeue(out slot);
    }

    public override bool TryAbandon() => _queue.TryAbandon();

    public override void Dispose() => _queue.Dispose();

    private void Collect()
    {
        while (_queue.TryReap(out _, out UringBatch? done))
        {
            if (done is not null)
            {
                _done.Enqueue(done.Slot);
            }
        }
    }
}
