// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Ranges;

namespace Exo.Net.Cheetah.Sockets;

/// <summary>Receiving, requests, sending, time-outs: what a reactor does for one connection.</summary>
internal sealed unsafe partial class Reactor
{
    private const int ReceivesPerTurnMax = 8;
    private const int RangesPerTurnMax = 8;
    private const int LingerMs = 1000;

    // Does all that can be done for a connection now. Called for every event, and again when something it waited for came.
    private void Serve(Connection connection)
    {
        if (connection.IsLingering)
        {
            Linger(connection);
            return;
        }

        if (connection.Pending is { } pending)
        {
            if (!Send(connection, pending))
            {
                return;
            }

            connection.Pending = null;
            Return(pending);
            if (connection.ClosesAfterSend && connection.Flow is null)
            {
                CloseAfterSend(connection);
                return;
            }
        }

        if (connection.Flow is { HasBegun: true })
        {
            if (!Flush(connection))
            {
                return;
            }

            if (connection.ClosesAfterSend)
            {
                CloseAfterSend(connection);
                return;
            }
        }

        if (connection.Ticket is null)
        {
            Receive(connection);
        }
    }

    // Receives and answers in turns, until the socket is empty or the connection must wait.
    private void Receive(Connection connection)
    {
        int have = Unstore(connection);
        bool socketIsEmpty = false;
        for (int turn = 0; ; turn++)
        {
            if (have > 0)
            {
                int used = Consume(connection, received.AsSpan(0, have));
                if (used < have)
                {
                    received.AsSpan(used, have - used).CopyTo(received);
                }

                have -= used;
                bool mayGoOn = connection.Flow is not null;
                if (!Flush(connection))
                {
                    if (connection.Socket >= 0)
                    {
                        Store(connection, have);
                    }

                    return;
                }

                if (connection.ClosesAfterSend)
                {
                    connection.LingersBeforeClose |= have > 0;
                    CloseAfterSend(connection);
                    return;
                }

                if (connection.Ticket is not null)
                {
                    Store(connection, have);
                    return;
                }

                if (mayGoOn && have > 0)
                {
                    continue;   // what it kept from being answered is answered now
                }
            }

            if (connection.PeerHasClosed)
            {
                Close(connection);
                return;
            }

            if (socketIsEmpty)
            {
                break;
            }

            if (turn == ReceivesPerTurnMax)
            {
                MakeReady(connection);   // the others first
                break;
            }

            Invariant.Check(have < received.Length);   // a head that fills the buffer has been refused
            nint count;
            fixed (byte* buffer = received)
            {
                callCount++;
                count = Libc.Receive(connection.Socket, buffer + have, (nuint)(received.Length - have), Libc.MessageDontWait);
            }

            if (count < 0)
            {
                int errno = Errno.Last;
                if (errno == Errno.EINTR)
                {
                    continue;
                }

                if (errno != Errno.EAGAIN)
                {
                    abortedCount++;
                    Close(connection);
                    return;
                }

                break;
            }

            // A short read has emptied the socket, and what comes later makes a new edge (epoll(7)); but an end that came
            // together with the bytes makes none, and is announced by the hang-up flag.
            socketIsEmpty = have + count < received.Length && !connection.HangUpSeen;
            connection.PeerHasClosed = count == 0;
            have += (int)count;
            if (count == 0)
            {
                Close(connection);
                return;
            }
        }

        Store(connection, have);
        if (isDraining)
        {
            Close(connection);
        }
        else if (have == 0 && connection.BodyBytesToSkip == 0)
        {
            SetDeadline(connection, DeadlineKind.Idle, Options.IdleTimeout);
        }
        else if (connection.DeadlineKind != DeadlineKind.Request)
        {
            SetDeadline(connection, DeadlineKind.Request, Options.RequestTimeout);
        }
    }

    protected override bool MayAnswer(HttpConnection connection) => connection.Flow is not { HasBegun: true } && (queue.HasRoom || Flush((Connection)connection));

    protected override Action NewsOf(HttpConnection connection, ResponseFlow flow)
    {
        var news = new FlowNews((Connection)connection, flow);
        return () => Post(news);
    }

    /// <summary>A range has come, or will not, or there may be room for one; perhaps for a connection that wants it no more.</summary>
    public void OnNews(Connection connection, ResponseFlow flow)
    {
        flow.Hear();
        if (connection.Flow != flow)
        {
            return;
        }

        if (connection.Pending is not null)
        {
            flow.Reach(flow.LastMovedBytes);
        }
        else if (flow.HasBegun)
        {
            Serve(connection);
        }
        else
        {
            flow.Reach(unsentBytes: 0);
            if (flow.First != RangeStatus.Coming && connection.Ticket is DocumentTicket ticket)
            {
                OnDocument(ticket, connection, default);
            }
        }
    }

    protected override IDocumentWaiter MakeTicket(HttpConnection connection) => new DocumentTicket(this, (Connection)connection);

    /// <summary>A lookup has come back, perhaps for a connection that waits no more.</summary>
    public void OnDocument(DocumentTicket ticket, Connection connection, DocumentResult result)
    {
        if (connection.Ticket != ticket)
        {
            result.Document?.Release();
            return;
        }

        connection.Ticket = null;
        connection.HasArrived = true;
        connection.Arrived = result;
        connection.DeadlineKind = DeadlineKind.Idle;
        Serve(connection);
    }

    // Sends what this turn has queued. False when the connection must wait for the socket, or is closed.
    private bool Flush(Connection connection)
    {
        if (connection.Socket < 0 || connection.Pending is not null)
        {
            return false;   // a flush inside this turn has found that out already
        }

        return (queue.IsEmpty || SendOrKeep(connection)) && (connection.Flow is not { HasBegun: true } flow || Flow(connection, flow));
    }

    // Moves ranges into the queue and sends them, as they are here. False when the connection must wait, for one or for the socket or for its turn, or is closed; true when the response has left.
    private bool Flow(Connection connection, ResponseFlow flow)
    {
        for (int moved = 0; ; moved++)
        {
            if (moved == RangesPerTurnMax)
            {
                MakeReady(connection);   // the others first
                return false;
            }

            flow.Reach(unsentBytes: 0);
            FlowStep step = flow.Move(queue);
            if (step == FlowStep.Done)
            {
                EndFlow(connection);
            }

            if (step == FlowStep.Failed)
            {
                abortedCount++;
                Reset(connection);
                return false;
            }

            if (!queue.IsEmpty && !SendOrKeep(connection))
            {
                if (connection.Flow == flow)
                {
                    flow.Reach(flow.LastMovedBytes);
                }

                return false;
            }

            if (step == FlowStep.Done)
            {
                return true;
            }

            if (step == FlowStep.Waits)
            {
                SetDeadline(connection, DeadlineKind.Document, Options.DocumentTimeout);
                return false;
            }
        }
    }

    // True when all that is queued has been sent; otherwise the connection has it, or is closed.
    private bool SendOrKeep(Connection connection)
    {
        if (Send(connection, queue))
        {
            return true;
        }

        if (connection.Socket >= 0)
        {
            SendQueue left = queue;
            if (left.IsSmall)
            {
                SendQueue small = spareSmallQueues.TryPop(out SendQueue? spare) ? spare : new(SendQueue.SmallScratchBytes, SendQueue.SmallItemsMax);
                left.MoveTo(small);
                left = small;
            }
            else
            {
                queue = spareQueues.TryPop(out SendQueue? spare) ? spare : new(SendQueue.FullScratchBytes, SendQueue.FullItemsMax);
            }

            connection.Pending = left;
        }

        return false;
    }

    // True when all is sent. False when the socket is full, with the pace now watched, or the connection was closed.
    private bool Send(Connection connection, SendQueue from)
    {
        long before = sends.Bytes;
        bool done = from.TrySend(connection.Socket, vectors, ref sends, out int errno);
        connection.SentBytes += sends.Bytes - before;
        if (done)
        {
            return true;
        }

        if (errno != 0)
        {
            abortedCount++;
            from.Clear();
            Close(connection);
        }
        else if (connection.DeadlineKind != DeadlineKind.Send || connection.Pending is null)
        {
            connection.SentBytesAtJudgement = connection.SentBytes;
            SetDeadline(connection, DeadlineKind.Send, Options.SendTimeout);
        }

        return false;
    }

    private void CloseAfterSend(Connection connection)
    {
        if (!connection.LingersBeforeClose || connection.PeerHasClosed || Libc.Shutdown(connection.Socket, Libc.ShutdownWrite) != 0)
        {
            Close(connection);
            return;
        }

        connection.IsLingering = true;
        SetDeadline(connection, DeadlineKind.Linger, TimeSpan.FromMilliseconds(LingerMs));
        Linger(connection);
    }

    // Reads and throws away until the peer closes or the time is up (RFC 9112 section 9.6).
    private void Linger(Connection connection)
    {
        fixed (byte* buffer = received)
        {
            for (int turn = 0; turn < ReceivesPerTurnMax; turn++)
            {
                callCount++;
                nint count = Libc.Receive(connection.Socket, buffer, (nuint)received.Length, Libc.MessageDontWait);
                int errno = count < 0 ? Errno.Last : 0;
                if (count == 0 || (count < 0 && errno is not (Errno.EAGAIN or Errno.EINTR)))
                {
                    Close(connection);
                    return;
                }

                if (errno == Errno.EAGAIN)
                {
                    return;
                }
            }
        }

        MakeReady(connection);
    }

    private void MakeReady(Connection connection)
    {
        if (!connection.IsReady)
        {
            connection.IsReady = true;
            ready.Enqueue(connection);
        }
    }

    private void Expire()
    {
        if (isDraining && NowMs >= drainDeadlineMs && openCount > 0)
        {
            foreach (Connection connection in connections)
            {
                if (connection.Socket >= 0)
                {
                    abortedCount++;
                    Close(connection);
                }
            }
        }

        while (Wheel.TakeExpired(NowMs) is { } connection)
        {
            OnDeadline((Connection)connection);
        }

        if (!isListening && !isDraining && openCount < Options.ConnectionsMax)
        {
            SetListening(true);
        }
    }

    private void OnDeadline(Connection connection)
    {
        switch (connection.DeadlineKind)
        {
            case DeadlineKind.Send when connection.SentBytes - connection.SentBytesAtJudgement
                >= Options.SendTimeout.TotalSeconds * Options.SendBytesPerSecondMin:
                connection.SentBytesAtJudgement = connection.SentBytes;
                SetDeadline(connection, DeadlineKind.Send, Options.SendTimeout);
                return;
            case DeadlineKind.Document when connection.Flow is { HasBegun: true }:
                timeOutCount++;
                Reset(connection);
                return;
            case DeadlineKind.Request or DeadlineKind.Document when connection.Pending is null && connection.BodyBytesToSkip == 0:
                timeOutCount++;
                Refuse(connection, connection.Stored.AsSpan(0, connection.StoredBytes), connection.DeadlineKind == DeadlineKind.Request ? 408 : 503);
                connection.Ticket = null;
                if (Flush(connection))
                {
                    CloseAfterSend(connection);
                }

                return;
            case DeadlineKind.Linger:
                Close(connection);
                return;
            default:
                timeOutCount++;
                Close(connection);
                return;
        }
    }

    // A client that has been promised more than will come is not to take what has come for all.
    private void Reset(Connection connection)
    {
        Libc.Linger atOnce = new() { On = 1, Seconds = 0 };
        _ = Libc.SetSocketOption(connection.Socket, Libc.SolSocket, Libc.SoLinger, (int*)&atOnce, (uint)sizeof(Libc.Linger));
        Close(connection);
    }

    private void Close(Connection connection)
    {
        Invariant.Check(connection.Socket >= 0);
        Wheel.Remove(connection);
        EndFlow(connection);
        _ = Libc.Close(connection.Socket);   // leaves the epoll set with it
        connection.Socket = -1;
        connection.Ticket = null;
        connection.Arrived.Document?.Release();
        connection.Arrived = default;
        connection.HasArrived = false;
        connection.PageStatus = 0;
        if (connection.Stored is { } stored)
        {
            Return(stored);
            connection.Stored = null;
        }

        if (connection.Pending is { } pending)
        {
            pending.Clear();
            Return(pending);
            connection.Pending = null;
        }

        openCount--;
        free.Push(connection);
    }

    private void Return(SendQueue empty) => (empty.IsFullSize ? spareQueues : spareSmallQueues).Push(empty);

    private void Return(byte[] stored) => (stored.Length == storedBytes ? spareBuffers : spareBodyBuffers).Push(stored);

    private int Unstore(Connection connection)
    {
        int have = connection.StoredBytes;
        if (connection.Stored is { } stored)
        {
            stored.AsSpan(0, have).CopyTo(received);
            Return(stored);
            connection.Stored = null;
            connection.StoredBytes = 0;
        }

        return have;
    }

    private void Store(Connection connection, int have)
    {
        Invariant.Check(connection.Stored is null);
        if (have > 0)
        {
            connection.Stored = (have <= storedBytes ? spareBuffers : spareBodyBuffers).TryPop(out byte[]? spare) ? spare : new byte[have <= storedBytes ? storedBytes : received.Length];
            received.AsSpan(0, have).CopyTo(connection.Stored);
            connection.StoredBytes = have;
        }
    }
}
