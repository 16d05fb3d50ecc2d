// SPDX-License-Identifier: MIT
using Exo.Core.Linux;

namespace Exo.Core.Blocks.Nbd;

/// <summary>What recovery does with a connection, in this order: Stop, TakeRoles, then Restart and Replay, or FailAll.</summary>
internal sealed unsafe partial class NbdConnection
{
    /// <summary>Whoever sends or receives fails at once and gives its role away; nobody takes one again.</summary>
    public void Stop()
    {
        lock (_lock)
        {
            _isUsable = false;
        }

        _transport.Shutdown();
    }

    /// <summary>Waits for both roles and takes them: from now on no other thread touches the transport or a slot.</summary>
    public void TakeRoles()
    {
        lock (_lock)
        {
            while (_hasReceiver)
            {
                Monitor.Wait(_lock);
            }

            _hasReceiver = true;
        }

        var spin = default(SpinWait);
        while (Interlocked.CompareExchange(ref _pumpRequests, 1, 0) != 0)
        {
            spin.SpinOnce();
        }

        _pumpRequestsSeen = 1;
        _vectorCount = 0;
        _vectorsSent = 0;
        _inputStart = 0;
        _inputEnd = 0;
    }

    /// <summary>Puts a new transport in. With <paramref name="isLoss"/>, flushes that were under way fail: what they cover may be gone.</summary>
    public void Restart(NbdTransport transport, bool isLoss)
    {
        _transport.Dispose();
        _transport = transport;
        for (int i = 0; i < _slots.Length; i++)
        {
            ref NbdSlot slot = ref _slots[i];
            if (slot.Batch is null)
            {
                continue;
            }

            slot.ReceivedBytes = 0;
            slot.ChunkCount = 0;
            slot.Error = 0;
            slot.Batch.Query?.Answer.Clear();
            if (isLoss && slot.Command == NbdProtocol.CommandFlush)
            {
                slot.Error = Libc.ErrnoConnectionReset;
                if (slot.Request >= 0)
                {
                    _device.NoteLossReported();
                }

                Complete(i);
            }
        }

        lock (_lock)
        {
            _isUsable = true;
        }
    }

    /// <summary>Sends everything that was not answered once more, then lets both roles go.</summary>
    public void Replay()
    {
        // Somebody receives while this thread sends; slots can become free meanwhile, but none is taken.
        ReleaseReceiver();
        try
        {
            for (int i = 0; i < _slots.Length; i++)
            {
                if (_slots[i].Batch is null)
                {
                    continue;
                }

                Describe(i);
                if (_vectorCount + 1 + FrameVector.CountMax > VectorsMax)
                {
                    SendVectors(mayWait: true);
                }
            }

            if (_vectorCount > 0)
            {
                SendVectors(mayWait: true);
            }
        }
        catch (NbdConnectionException broken)
        {
            _vectorCount = 0;
            _device.Drop(broken);
        }

        LeavePump();
    }

    /// <summary>There will be no answers. Lets both roles go; what is queued, and what comes later, fails too.</summary>
    public void FailAll(int errno)
    {
        for (int i = 0; i < _slots.Length; i++)
        {
            if (_slots[i].Batch is not null)
            {
                _slots[i].Error = errno;
                Complete(i);
            }
        }

        ReleaseReceiver();
        LeavePump();
    }

    private void LeavePump()
    {
        if (_transport.CanSendWithoutWaiting)
        {
            RunPump(mayWait: false);
        }
        else
        {
            HandToSender();
        }
    }
}
