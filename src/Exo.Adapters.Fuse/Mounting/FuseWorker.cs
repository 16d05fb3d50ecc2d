// SPDX-License-Identifier: MIT
using Exo.Adapters.Fuse.Messages;
using Exo.Adapters.Fuse.Session;

namespace Exo.Adapters.Fuse.Mounting;

/// <summary>
/// One thread that answers messages: whatever way they come and go, this is what happens in between. A message that waits for others (a commit; the kernel's own pages) is announced to the crew,
/// so that there is always a thread left for those it waits for.
/// </summary>
internal abstract class FuseWorker(FuseSession session, FuseCrew crew, FuseNotifications notifications) : IDisposable
{
    protected FuseSession Session => session;

    /// <summary>The answer to the last message.</summary>
    protected FuseReply Reply { get; } = new();

    /// <summary>Takes one message and answers it. False when no more will come.</summary>
    public abstract bool Step();

    public abstract void Dispose();

    /// <summary>Makes the answer to a message. Its pages are borrowed: whoever has sent them calls <see cref="GiveBack"/>.</summary>
    protected void Handle(ReadOnlyMemory<byte> message)
    {
        if (!FuseRequest.TryParse(message, out FuseRequest request) || !session.Waits(request))
        {
            if (session.IsCrowded && session.Thin is { } thin && FuseSession.Tells(request))
            {
                MakeRoom(thin);
            }
            else if (session.TryFindHole(request, out long from, out long lengthBytes) && !TryFillHoles(request, from, lengthBytes))
            {
                RefuseToWait(request);
                return;
            }

            session.Handle(message, Reply);
            return;
        }

        bool isAnybodyLeft = crew.BeginWaiting();
        try
        {
            if (session.IsWrittenBehind(request))
            {
                if (!isAnybodyLeft)
                {
                    // Nobody would answer the WRITE messages that this waits for.
                    RefuseToWait(request);
                    return;
                }

                // SEEK for holes and data: the kernel may hold pages that the volume has not seen, and asks nevertheless; what was just written would be found to be a hole.
                // From the offset on: what lies before does not matter to the answer.
                notifications.Invalidate(request.Node, (long)request.BodyLong(8));
            }

            session.Handle(message, Reply);
        }
        finally
        {
            crew.EndWaiting();
        }
    }

    /// <summary>
    /// SEEK would be answered by a hole of the volume's: in its pages there may be what a program has written through a map, which the kernel has, and asks nevertheless. A copy of the file would lack it.
    /// So the kernel writes back what it holds of the hole, no more than that; if it is full then, of the next one. False when nobody is left who would answer the WRITE messages that this waits for.
    /// </summary>
    private bool TryFillHoles(in FuseRequest request, long from, long lengthBytes)
    {
        bool isAnybodyLeft = crew.BeginWaiting();
        try
        {
            long end = 0;
            while (isAnybodyLeft && from >= end && lengthBytes > 0)
            {
                notifications.Invalidate(request.Node, from, lengthBytes);
                end = from + lengthBytes;
                session.TryFindHole(request, out from, out lengthBytes);
            }

            return isAnybodyLeft;
        }
        finally
        {
            crew.EndWaiting();
        }
    }

    private void RefuseToWait(in FuseRequest request)
    {
        Reply.Begin();
        Reply.Fail(FuseErrno.EAGAIN);
        Reply.Seal(request.Unique);
    }

    /// <summary>What the kernel remembers keeps frames, and is about to be more: it is asked to forget first, if there is somebody left to take its FORGETs.</summary>
    private void MakeRoom(Action thin)
    {
        if (crew.BeginWaiting())
        {
            thin();
        }

        crew.EndWaiting();
    }

    protected void GiveBack() => session.GiveBack(Reply);
}
