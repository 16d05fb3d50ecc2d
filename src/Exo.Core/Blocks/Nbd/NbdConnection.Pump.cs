// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Linux;

namespace Exo.Core.Blocks.Nbd;

/// <summary>The pump: from batches to bytes.</summary>
internal sealed unsafe partial class NbdConnection
{
    /// <summary>IOV_MAX: vectors per system call.</summary>
    private const int VectorsMax = 1024;

    private readonly byte* _headers;
    private readonly IoVector* _sendVectors;
    private NbdBatch? _cutting;
    private int _vectorCount;
    private int _vectorsSent;
    private int _pumpRequests;
    private int _pumpRequestsSeen;

    /// <summary>Sends what is queued, or leaves that to the thread that is at it.</summary>
    private void Pump()
    {
        if (Interlocked.Increment(ref _pumpRequests) == 1)
        {
            _pumpRequestsSeen = 1;
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

    /// <summary>With the role: works until nothing is asked for any more, then the role is free.</summary>
    private void RunPump(bool mayWait)
    {
        while (true)
        {
            try
            {
                if (!SendQueued(mayWait))
                {
                    HandToSender();
                    return;
                }
            }
            catch (NbdConnectionException broken)
            {
                _vectorCount = 0;
                _device.Drop(broken);
            }

            int left = Interlocked.Add(ref _pumpRequests, -_pumpRequestsSeen);
            if (left == 0)
            {
                return;
            }

            _pumpRequestsSeen = left;
        }
    }

    /// <summary>The socket is full: a thread that may wait goes on with the role.</summary>
    private void HandToSender()
    {
        if (_senderThread is null)
        {
            _senderThread = new Thread(SendForOthers) { IsBackground = true, Name = "exo nbd sender" };
            _senderThread.UnsafeStart();
        }

        _senderSignal.Release();
    }

    private void SendForOthers()
    {
        while (true)
        {
            _senderSignal.Wait();
            if (Volatile.Read(ref _isStopping))
            {
                return;
            }

            RunPump(mayWait: true);
        }
    }

    /// <returns>False: the socket is full.</returns>
    private bool SendQueued(bool mayWait)
    {
        while (true)
        {
            if (_vectorCount > 0 && !SendVectors(mayWait))
            {
                return false;
            }

            switch (_device.State)
            {
                case NbdDeviceState.Recovering:
                    return true; // Recovery pumps when it is done.
                case NbdDeviceState.Broken:
                    FailQueued();
                    return true;
                default:
                    if (!CutBurst())
                    {
                        return true;
                    }

                    break;
            }
        }
    }

    private bool SendVectors(bool mayWait)
    {
        while (_vectorsSent < _vectorCount)
        {
            _device.CountSystemCall();
            long sent = _transport.Send(_sendVectors + _vectorsSent, _vectorCount - _vectorsSent, mayWait);
            if (sent == 0)
            {
                return false;
            }

            while (sent > 0)
            {
                ref IoVector vector = ref _sendVectors[_vectorsSent];
                long piece = Math.Min(sent, (long)vector.LengthBytes);
                vector.Base += (nint)piece;
                vector.LengthBytes -= (nuint)piece;
                sent -= piece;
                _vectorsSent += vector.LengthBytes == 0 ? 1 : 0;
            }
        }

        _vectorCount = 0;
        _vectorsSent = 0;
        return true;
    }

    /// <summary>Cuts as many pieces as there are slots and vectors for. False when there is nothing to send.</summary>
    private bool CutBurst()
    {
        _vectorCount = 0;
        _vectorsSent = 0;
        while (_vectorCount + 1 + FrameVector.CountMax <= VectorsMax && (_cutting is not null || _queue.TryDequeue(out _cutting)))
        {
            NbdBatch batch = _cutting;
            if (!HasMore(batch))
            {
                _cutting = null;
                if (batch.ReleasePiece())
                {
                    Finish(batch);
                }

                continue;
            }

            int index = TakeSlot();
            if (index < 0)
            {
                break;
            }

            batch.AddPiece();
            Cut(batch, ref _slots[index]);
            Volatile.Write(ref _slots[index].Batch, batch); // Last: from here on a reply finds the slot.
            Describe(index);
        }

        return _vectorCount > 0;
    }

    private int TakeSlot()
    {
        lock (_lock)
        {
            _isStarved = _freeCount == 0;
            if (_isStarved)
            {
                return -1;
            }

            int index = _freeSlots[--_freeCount];
            EnsureReceiver();
            return index;
        }
    }

    /// <summary>The device is broken: whatever is not sent fails.</summary>
    private void FailQueued()
    {
        while (_cutting is not null || _queue.TryDequeue(out _cutting))
        {
            NbdBatch batch = _cutting;
            _cutting = null;
            if (batch.Query is { } query)
            {
                query.Error = query.Error == 0 ? _device.BrokenErrno : query.Error;
            }
            else if (batch.IsFlushing)
            {
                batch.FailDurable(_device.BrokenErrno);
            }
            else
            {
                for (int i = batch.NextRequest; i < batch.Count; i++)
                {
                    batch.Fail(i, _device.BrokenErrno);
                }
            }

            batch.NeedsFlush = false;
            if (batch.ReleasePiece())
            {
                Finish(batch);
            }
        }
    }

    private void SayGoodbye()
    {
        Span<byte> request = stackalloc byte[NbdProtocol.RequestBytes];
        request.Clear();
        BinaryPrimitives.WriteUInt32BigEndian(request, NbdProtocol.RequestMagic);
        BinaryPrimitives.WriteUInt16BigEndian(request[6..], NbdProtocol.CommandDisconnect);
        try
        {
            _transport.SetTimeouts(1000, 1000);
            _transport.SendAll(request);
        }
        catch (NbdConnectionException)
        {
            // The server has gone first; a farewell is a courtesy.
        }
    }
}
