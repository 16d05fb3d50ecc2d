// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using Exo.Core.Linux;

namespace Exo.Core.Blocks.Nbd;

/// <summary>
/// One connection of a device, with everything that is under way on it. Two roles, each held by one thread at a time:
/// <code>
/// pump       cuts batches into pieces and sends them, many with one system call. Whoever submits takes it if it is free; if it
///            is not, its holder sends that too. Never waits: when the socket is full, the sender thread takes over.
/// receiver   receives replies, while any are owed. A thread in Execute takes it for its own batch and completes others' meanwhile, so that one
///            request at a time costs no switch of threads; when it is done, another waiter gets it. The receiver thread takes
///            it while asynchronous batches are out and nobody else has it.
/// </code>
/// Both threads are made when first needed. A failure leaves all pieces in their slots; the device's recovery takes both
/// roles, and either sends the pieces again on a new transport or fails them.
/// </summary>
internal sealed unsafe partial class NbdConnection : IDisposable
{
    private readonly NbdBlockDevice _device;
    private readonly NbdExport _export;
    private readonly NbdSlot[] _slots;
    private readonly int[] _freeSlots;
    private readonly object _lock = new();
    private readonly ConcurrentQueue<NbdBatch> _queue = new();
    private readonly List<NbdBatch> _waiters = [];
    private readonly SemaphoreSlim _senderSignal = new(0);
    private NbdTransport _transport;
    private int _freeCount;
    private bool _isStarved;
    private bool _hasReceiver;
    private bool _isUsable = true;
    private bool _isStopping;
    private int _asyncCount;
    private Thread? _receiverThread;
    private Thread? _senderThread;

    public NbdConnection(NbdBlockDevice device, NbdTransport transport, NbdExport export, int depth)
    {
        _device = device;
        _transport = transport;
        _export = export;
        _slots = new NbdSlot[depth];
        _freeSlots = new int[depth];
        for (int i = 0; i < depth; i++)
        {
            _freeSlots[i] = depth - 1 - i;
        }

        _freeCount = depth;
        _headers = (byte*)NativeMemory.Alloc((nuint)depth * NbdProtocol.RequestBytes);
        _sendVectors = (IoVector*)NativeMemory.Alloc((nuint)VectorsMax * (nuint)sizeof(IoVector));
        _input = (byte*)NativeMemory.Alloc(InputBytes);
        _receiveVectors = (IoVector*)NativeMemory.Alloc((FrameVector.CountMax + 1) * (nuint)sizeof(IoVector));
    }

    /// <summary>Whether pieces are out. Only the receiver makes it false.</summary>
    private bool IsOwedReplies => Volatile.Read(ref _freeCount) < _slots.Length;

    /// <summary>Takes a batch. It is answered later, on whatever thread receives.</summary>
    public void Submit(NbdBatch batch)
    {
        if (batch.IsAsync)
        {
            lock (_lock)
            {
                _asyncCount++;
                EnsureReceiver();
            }
        }

        _queue.Enqueue(batch);
        Pump();
    }

    /// <summary>Waits until a synchronous batch is done, receiving for it if nobody else does.</summary>
    public void Wait(NbdBatch batch)
    {
        while (true)
        {
            bool leads;
            lock (_lock)
            {
                leads = batch.MayLead || (!_hasReceiver && _isUsable && !batch.IsDone && IsOwedReplies);
                batch.MayLead = false;
                if (!leads)
                {
                    if (batch.IsDone)
                    {
                        return;
                    }

                    if (!_waiters.Contains(batch))
                    {
                        _waiters.Add(batch);
                    }
                }
                else
                {
                    _hasReceiver = true;
                }
            }

            if (leads)
            {
                ReceiveUntilDone(batch);
                continue;
            }

            lock (batch)
            {
                while (!batch.IsDone && !batch.MayLead)
                {
                    Monitor.Wait(batch);
                }
            }
        }
    }

    /// <summary>Says goodbye, ends both threads, closes. Nothing is under way any more, neither here nor in recovery.</summary>
    public void Dispose()
    {
        // Whoever sent the last piece may have been overtaken by its answer and still be looking for more to send.
        var spin = default(SpinWait);
        while (Interlocked.CompareExchange(ref _pumpRequests, 1, 0) != 0)
        {
            spin.SpinOnce();
        }

        lock (_lock)
        {
            Invariant.Check(_asyncCount == 0 && _waiters.Count == 0);
            _isStopping = true;
            Monitor.PulseAll(_lock);
        }

        _senderSignal.Release();
        _receiverThread?.Join();
        _senderThread?.Join();
        if (_isUsable)
        {
            SayGoodbye();
        }

        _transport.Dispose();
        _senderSignal.Dispose();
        NativeMemory.Free(_headers);
        NativeMemory.Free(_sendVectors);
        NativeMemory.Free(_input);
        NativeMemory.Free(_receiveVectors);
    }

    /// <summary>A piece is answered, or will never be.</summary>
    private void Complete(int index)
    {
        NbdSlot slot = _slots[index];
        NbdBatch batch = slot.Batch!;
        bool pump;
        _slots[index].Batch = null;
        if (slot.Error != 0)
        {
            if (slot.Request >= 0)
            {
                batch.Fail(slot.Request, slot.Error);
            }
            else if (batch.Query is { } query)
            {
                query.Error = slot.Error;
            }
            else
            {
                batch.FailDurable(slot.Error);
            }
        }
        else if (slot.Command == NbdProtocol.CommandFlush)
        {
            _device.EndFlush(slot.Covers);
        }
        else if (slot.Command is NbdProtocol.CommandWrite or NbdProtocol.CommandWriteZeroes
            && (slot.Flags & NbdProtocol.CommandForceUnitAccess) == 0)
        {
            _device.NoteAcknowledged();
        }

        lock (_lock)
        {
            _freeSlots[_freeCount++] = index;
            pump = _isStarved;
            _isStarved = false;
        }

        if (pump)
        {
            Pump();
        }

        if (batch.ReleasePiece())
        {
            Finish(batch);
        }
    }

    /// <summary>All pieces of a batch are answered.</summary>
    private void Finish(NbdBatch batch)
    {
        if (batch.NeedsFlush)
        {
            batch.BeginFlush();
            _queue.Enqueue(batch);
            Pump();
            return;
        }

        bool isAsync = batch.IsAsync;
        lock (_lock)
        {
            batch.IsDone = true;
            if (isAsync)
            {
                _asyncCount--;
            }
            else
            {
                _waiters.Remove(batch);
            }
        }

        if (isAsync)
        {
            batch.SetResult();
        }
        else
        {
            // The waiter may have seen it already and given the batch back; then this wakes a later user for nothing.
            lock (batch)
            {
                Monitor.Pulse(batch);
            }
        }
    }

    /// <summary>The receiver's loop for a synchronous batch. Gives the role away before it returns.</summary>
    private void ReceiveUntilDone(NbdBatch batch)
    {
        try
        {
            while (!batch.IsDone && IsOwedReplies)
            {
                ReceiveSome();
            }
        }
        catch (NbdConnectionException broken)
        {
            _device.Drop(broken);
        }

        ReleaseReceiver();
    }

    private void ReleaseReceiver()
    {
        lock (_lock)
        {
            _hasReceiver = false;
            if (_isUsable)
            {
                EnsureReceiver();
            }
            else
            {
                Monitor.PulseAll(_lock); // Recovery may be waiting for the role.
            }
        }
    }

    /// <summary>Under the lock: if replies are owed and nobody receives, gives the role to a waiter, or has the thread take it.</summary>
    private void EnsureReceiver()
    {
        if (_hasReceiver || !_isUsable || !IsOwedReplies)
        {
            return;
        }

        if (_waiters.Count > 0)
        {
            NbdBatch next = _waiters[^1];
            _waiters.RemoveAt(_waiters.Count - 1);
            next.MayLead = true;
            _hasReceiver = true;
            lock (next)
            {
                Monitor.Pulse(next);
            }
        }
        else if (_asyncCount > 0)
        {
            if (_receiverThread is null)
            {
                _receiverThread = new Thread(ReceiveForAsynchronous) { IsBackground = true, Name = "exo nbd receiver" };
                _receiverThread.UnsafeStart();
            }

            Monitor.PulseAll(_lock);
        }
    }

    private void ReceiveForAsynchronous()
    {
        while (true)
        {
            lock (_lock)
            {
                while (!_isStopping && (_asyncCount == 0 || _hasReceiver || !_isUsable || !IsOwedReplies))
                {
                    Monitor.Wait(_lock);
                }

                if (_isStopping)
                {
                    return;
                }

                _hasReceiver = true;
            }

            try
            {
                while (Volatile.Read(ref _asyncCount) > 0 && IsOwedReplies)
                {
                    ReceiveSome();
                }
            }
            catch (NbdConnectionException broken)
            {
                _device.Drop(broken);
            }

            ReleaseReceiver();
        }
    }
}
