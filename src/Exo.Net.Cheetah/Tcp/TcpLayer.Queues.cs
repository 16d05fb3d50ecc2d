// SPDX-License-Identifier: MIT
using Exo.Core.Net;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>What connections keep while there is something in it: queues from pools, and frames for what is copied.</summary>
internal sealed partial class TcpLayer
{
    private readonly Stack<SendQueue> spareSendQueues = new();
    private readonly Stack<SentSegments> spareSent = new();
    private readonly Stack<ReceiveQueue> spareReceived = new();
    private readonly Stack<RecoveryRecord> spareRecords = new();
    private readonly Stack<FrameSend> spareFrameSends = new();
    private readonly Queue<FrameSend> finished = new();
    private readonly SendArena arena;
    private long receiveBytes;

    /// <summary>Bytes kept for applications and out of order, of all connections.</summary>
    public long ReceiveBytes => receiveBytes;

    public void Queue(TcpConnection c, ISendSource source, long offsetBytes, long lengthBytes)
    {
        c.ThrowUnlessCanSend();
        Invariant.Check(c.LentPlace < 0);
        c.SendQueue ??= spareSendQueues.TryPop(out SendQueue? spare) ? spare : new SendQueue();
        c.SendQueue.Add(source, offsetBytes, lengthBytes);
        MakeDirty(c);
    }

    public bool TryQueueCopy(TcpConnection c, ReadOnlySpan<byte> bytes)
    {
        int checkedBytes = 0;
        if (!arena.HasRoom(bytes.Length))
        {
            return false;
        }

        while (checkedBytes < bytes.Length)
        {
            if (!arena.TryCopy(bytes[checkedBytes..], out ISendSource? source, out int offset, out int copied))
            {
                throw new InvalidOperationException("The pool ran out of frames in the middle of a copy.");
            }

            Counters.BytesCopied += copied;
            Queue(c, source!, offset, copied);
            checkedBytes += copied;
        }

        return true;
    }

    /// <summary>Queues bytes of the application's frames; what it said of the end is called once, or never if this throws.</summary>
    public void QueueFrames(TcpConnection c, ReadOnlySpan<PacketSlice> bytes, Action<object?>? released, object? state)
    {
        c.ThrowUnlessCanSend();
        FrameSend send = spareFrameSends.TryPop(out FrameSend? spare) ? spare : new FrameSend(this);
        try
        {
            send.Begin(bytes, released, state);
        }
        catch
        {
            spareFrameSends.Push(send);
            throw;
        }

        Queue(c, send, 0, send.LengthBytes);
    }

    /// <summary>No connection holds an application's frames any more. It is told where it may call back.</summary>
    public void Finish(FrameSend send) => finished.Enqueue(send);

    /// <summary>Applications are to be told that their frames are done with.</summary>
    public bool HasFinished => finished.Count > 0;

    /// <summary>Tells applications that their frames are done with.</summary>
    public void TellFinished()
    {
        for (int left = finished.Count; left > 0 && finished.TryDequeue(out FrameSend? send); left--)
        {
            send.Tell(spareFrameSends);
        }
    }

    /// <summary>Room for a head that is written in place and then queued: no copy.</summary>
    public SendArena Arena => arena;

    public void ReturnSendIfEmpty(TcpConnection c)
    {
        if (c.SendQueue is { LengthBytes: 0 } queue)
        {
            Invariant.Check(queue.Count == 0);
            c.SendQueue = null;
            spareSendQueues.Push(queue);
        }
    }

    public SentSegments TakeSent() => spareSent.TryPop(out SentSegments? spare) ? spare : new SentSegments();

    public void ReturnSent(TcpConnection c)
    {
        if (c.Sent is { } sent)
        {
            sent.Clear();
            c.Sent = null;
            c.Search?.ProbedMtuBytes = 0;
            spareSent.Push(sent);
        }
    }

    public RecoveryRecord TakeRecord() => spareRecords.TryPop(out RecoveryRecord? spare) ? spare : new RecoveryRecord();

    public void ReturnRecord(TcpConnection c)
    {
        if (c.Record is { } record)
        {
            c.Record = null;
            spareRecords.Push(record);
        }
    }

    /// <summary>A queue for bytes that cannot be handed up now, or null when all connections together hold what they may: the peer sends again.</summary>
    public ReceiveQueue? TryReserveReceive(TcpConnection c, int bytes)
    {
        if (receiveBytes + bytes > Options.ReceiveMemoryBytesMax && (c.Received is null || c.Received.CapacityBytes < bytes))
        {
            return null;
        }

        return c.Received ??= spareReceived.TryPop(out ReceiveQueue? spare) ? spare : new ReceiveQueue();
    }

    public void AccountReceive(TcpConnection c)
    {
        int capacity = c.Received?.CapacityBytes ?? 0;
        receiveBytes += capacity - c.ReceiveAccountedBytes;
        c.ReceiveAccountedBytes = capacity;
    }

    /// <summary>The application left bytes of a segment: they are acknowledged or will be, so they are kept in any case.</summary>
    public void KeepFront(TcpConnection c, ReadOnlySpan<byte> bytes)
    {
        c.Received ??= spareReceived.TryPop(out ReceiveQueue? spare) ? spare : new ReceiveQueue();
        c.Received.Prepend(bytes);
        AccountReceive(c);
    }

    public void ReturnReceiveIfEmpty(TcpConnection c)
    {
        if (c.Received is { IsEmpty: true })
        {
            ReturnReceived(c);
        }
    }

    private void ReturnReceived(TcpConnection c)
    {
        if (c.Received is { } queue)
        {
            queue.Clear();
            c.Received = null;
            AccountReceive(c);
            spareReceived.Push(queue);
        }
    }
}
