// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Ranges;

namespace Exo.Net.Cheetah.Raw;

/// <summary>
/// Ranges on their way from a document into the send queue of a connection. Each is a stretch of its own there, held until it is acknowledged and given up then, and what has been acknowledged makes room for what is read next: so what
/// stands for the response at any time, retransmissions included, is its window.
/// </summary>
internal sealed partial class RawReactor
{
    protected override Action NewsOf(HttpConnection connection, ResponseFlow flow)
    {
        Action hear = () => OnNews((RawConnection)connection, flow);
        return () => Post(hear);
    }

    // A range has come, or will not, or there may be room for one; perhaps for a connection that wants it no more.
    private void OnNews(RawConnection client, ResponseFlow flow)
    {
        flow.Hear();
        if (client.Flow != flow || client.Tcp.Tag != client)
        {
            return;
        }

        if (flow.HasBegun)
        {
            GoOn(client);
            return;
        }

        flow.Reach(client.Tcp.QueuedBytes);
        if (flow.First != RangeStatus.Coming && client.Ticket is RawTicket ticket)
        {
            OnDocument(ticket, client, default);
        }
    }

    private void GoOn(RawConnection client)
    {
        queue.Current = client;
        bool finished = TryFinish(client);
        queue.Current = null;
        if (!finished)
        {
            return;
        }

        if (client.ClosesAfterSend || isDraining)
        {
            CloseAfterSend(client);
        }
        else if (!client.WaitsForRoom)
        {
            client.Tcp.ResumeReceive();
        }
    }

    // Queues what is here. True when that was all.
    private bool TryFinish(RawConnection client)
    {
        ResponseFlow flow = client.Flow!;
        while (true)
        {
            flow.Reach(client.Tcp.QueuedBytes);
            switch (flow.Move(queue))
            {
                case FlowStep.Moved when !queue.HasFailed && client.Tcp.CanSend:
                    continue;
                case FlowStep.Done when !queue.HasFailed:
                    EndFlow(client);
                    Watch(client);
                    return true;
                case FlowStep.Waits when !queue.HasFailed:
                    if (client.Tcp.QueuedBytes > 0 && client.DeadlineKind != DeadlineKind.Send)
                    {
                        Watch(client);
                    }
                    else if (client.Tcp.QueuedBytes == 0 && client.DeadlineKind != DeadlineKind.Document)
                    {
                        SetDeadline(client, DeadlineKind.Document, Options.DocumentTimeout);
                    }

                    return false;
                default:
                    // Not from here: the connection is in the middle of something.
                    queue.HasFailed = false;
                    Post(() => Fail(client, flow));
                    return false;
            }
        }
    }

    private void Fail(RawConnection client, ResponseFlow flow)
    {
        if (client.Flow == flow && client.Tcp.Tag == client)
        {
            abortedCount++;
            client.Tcp.Abort();
        }
    }
}
