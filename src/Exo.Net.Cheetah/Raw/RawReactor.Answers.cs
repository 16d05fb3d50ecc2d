// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Tcp.Answers;

namespace Exo.Net.Cheetah.Raw;

/// <summary>
/// What a handler may answer instead of this reactor: a request that has come before, byte for byte, that says no more than which document it wants, and whose response is one segment:
/// on a connection that stays, or as the only one of a connection. The reactor answers first; what it said is what the handler says.
/// </summary>
internal sealed partial class RawReactor
{
    private readonly byte[] responseRoom = new byte[AnswerTable.ResponseBytesMax];
    private DocumentChanges? changes;
    private AnswerTable? answers;
    private long dateMs, answerBytesWritten;

    private AnsweredCounts lastAnswered;
    private bool hasEnded;

    // Whoever counts may come when the table goes.
    private readonly Lock counting = new();

    private AnsweredCounts Answered
    {
        get
        {
            lock (counting)
            {
                return answers is null || hasEnded ? lastAnswered : answers.Answered;
            }
        }
    }

    private int UntilNextDateMs => answers is null ? int.MaxValue : 1000 - (int)(dateMs % 1000);

    // Nothing is answered for a source that does not say when its documents change.
    private void BeginAnswers(Ablations without)
    {
        changes = without == Ablations.None ? Cache.Changes : null;
        if (changes is not null)
        {
            answers = stack.Tcp.Answers = new AnswerTable(device.Name, stack.NextRandom());
            changes.Add(answers);
        }
    }

    private void EndAnswers()
    {
        if (answers is not null)
        {
            changes!.Remove(answers);
            lock (counting)
            {
                lastAnswered = answers.Answered;
                hasEnded = true;
            }
        }
    }

    private void SetAnswersTime(long unixMs)
    {
        dateMs = unixMs;
        answers?.SetTime(unixMs / 1000);
    }

    protected override void OnAnswer(HttpConnection connection, in RequestHead head, ReadOnlySpan<byte> request, Document document, bool closes, bool saysKeepAlive)
    {
        if (answers is null || ClosesAll || head.LengthBytes > AnswerTable.RequestBytesMax || !Responder.IsPlain(head))
        {
            return;
        }

        request = request[..head.LengthBytes];
        int place = answers.PlaceOf(request);
        bool isKept = answers.Holds(place, request) || (answers.IsSeenAgain(place, request) && TryKeep(place, request, document, head.Method == Method.Head, closes, saysKeepAlive));
        ((RawConnection)connection).IsAnswerable = isKept && !closes;
    }

    private bool TryKeep(int place, ReadOnlySpan<byte> request, Document document, bool isHead, bool closes, bool saysKeepAlive)
    {
        // The order of these steps: see DocumentChanges.
        ulong epoch = answers!.Epoch;
        if (changes!.IsChanging || !Cache.IsCurrent(document) || !answers.MayReplace(place))
        {
            return false;
        }

        int lengthBytes = Responder.Whole(responseRoom, document, isHead, closes, saysKeepAlive);
        if (lengthBytes == 0)
        {
            return false;
        }

        answers.Clear(place);
        stack.Tcp.ReclaimAnswered(place);
        answerBytesWritten += 2L * lengthBytes;   // made whole, and put into the table
        answers.Write(place, request, responseRoom.AsSpan(0, lengthBytes), document.OkHead.DateOffset, isHead ? 0 : (int)document.LengthBytes, epoch, closes);
        return true;
    }

    // The client asked a handler in the meantime, so its time has not come.
    private bool HasBeenAnswered(RawConnection client)
    {
        if (client.Tcp.LentPlace >= 0)
        {
            stack.Tcp.Reclaim(client.Tcp);
            stack.Tcp.MakeDirty(client.Tcp);   // lent again
        }

        if (client.Tcp.Tag != client)
        {
            return true;   // it has ended with that
        }

        if (client.Tcp.LastAnswerUs == 0 || client.IsClosing || client.DeadlineKind != DeadlineKind.Idle)
        {
            return false;
        }

        TimeSpan left = Options.IdleTimeout - TimeSpan.FromMicroseconds(stack.NowUs - client.Tcp.LastAnswerUs);
        if (left <= TimeSpan.Zero)
        {
            return false;
        }

        SetDeadline(client, DeadlineKind.Idle, left);
        return true;
    }
}
