// SPDX-License-Identifier: MIT
using Exo.Core.DownloadedCode;
using Exo.Net.Cheetah.Tcp.Answers;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp.Handshake;

/// <summary>
/// Connections of one request: the first segment behind a handshake brings the cookie and a request that ends the connection, and becomes the response with a FIN (<see cref="BriefConnection"/>).
/// <code>
///   no lent connection -> the cookie -> the stack has no such connection -> the place of its names is free, or its own
///   -> its terms (numbers, MSS, window, scale, clock) from cookie and timestamp into this processor's area, as if it had been lent -> as any other request
/// </code>
/// The stack is not told: of the acknowledgment that ends a handshake, of the one that the response meets and of the FIN it is shown nothing. Nothing here depends on what is kept: a request that comes
/// again is answered again, whole and with a FIN in one segment, so that no two answers can mix in one stream.
/// </summary>
internal sealed partial class HandshakeProgram
{
    private const int Answered = 1, Acknowledged = 2, BeingWritten = 3;

    // Into r9 and the frame the place of a brief connection of these names.
    private void FindBrief()
    {
        code.Load(0, Frame, Words + 24, 8);
        code.Load(1, Frame, Words + 32, 8);
        code.AluRegister(Opcodes.Xor, 0, 1);
        code.Wide(1, answer.AnswersKey);
        code.AluRegister(Opcodes.Multiply, 0, 1);
        code.Alu(Opcodes.ShiftRight, 0, 64 - AnswerTable.BriefBits);
        code.Alu(Opcodes.Multiply, 0, AnswerTable.BriefBytes);
        code.Store(Frame, BriefPlace, 0, 4);
        TableAddress(Connection, AnswerTable.BriefsAt);
        code.AluRegister(Opcodes.Add, Connection, 0);
    }

    // Into r1 that place again.
    private void LoadBrief()
    {
        code.Load(0, Frame, BriefPlace, 4);
        code.Alu(Opcodes.And, 0, (AnswerTable.Briefs - 1) * AnswerTable.BriefBytes);
        TableAddress(1, AnswerTable.BriefsAt);
        code.AluRegister(Opcodes.Add, 1, 0);
    }

    // r9: the brief connection that this segment ends, or acknowledges the response of: the peer has everything.
    private void MatchBrief(int other)
    {
        FindBrief();
        code.Load(0, Connection, BriefConnection.WordAt, 8);
        code.Alu(Opcodes.And, 0, 3);
        code.JumpIf(Opcodes.JumpEqual, 0, 0, 1, other);
        code.JumpIf(Opcodes.JumpEqual, 0, BeingWritten, 1, other);
        code.LoadBigEndian(0, Frame, Tcp + 4, 4);
        code.LoadBigEndian(1, Frame, Tcp + 8, 4);
        code.Alu(Opcodes.ShiftLeft, 1, 32);
        code.AluRegister(Opcodes.Or, 0, 1);
        code.Load(1, Connection, BriefConnection.NumbersAt, 8);
        code.JumpIfRegister(Opcodes.JumpNotEqual, 0, 1, other);
        CompareNames(other);
    }

    // No payload: what ends a handshake, or acknowledges a response, tells the stack nothing.
    private void RecogniseAcknowledgment()
    {
        if (place != Place.Receive)
        {
            code.Jump(pass);
            return;
        }

        int other = code.Label();
        MatchBrief(other);
        code.Jump(leaveOut);
        code.Bind(other);
        CheckCookie();
        code.Jump(leaveOut);
    }

    private void RecogniseBriefFarewell(int isAnswered)
    {
        int other = code.Label();
        MatchBrief(other);
        if (place == Place.Receive)
        {
            code.Jump(leaveOut);
            code.Bind(other);
            code.Jump(pass);
            return;
        }

        // From now on others may have the place.
        int isKnown = code.Label();
        code.Load(0, Connection, BriefConnection.WordAt, 8);
        code.AluRegister(Opcodes.Move, 1, 0);
        code.Alu(Opcodes.And, 1, 3);
        code.JumpIf(Opcodes.JumpNotEqual, 1, Answered, 2, isKnown);
        code.AluRegister(Opcodes.Move, 3, 0);
        code.Alu(Opcodes.Xor, 3, Answered ^ Acknowledged);
        code.CompareExchange(Connection, BriefConnection.WordAt, 3);
        code.Bind(isKnown);
        ReadTime();
        code.Alu(Opcodes.Divide, 0, 1000);
        code.Load(1, Connection, BriefConnection.TimestampOffsetAt, 4);
        code.AluRegister(Opcodes.Add, 0, 1);
        code.Store(Frame, OwnStamp, 0, 8);
        code.Jump(isAnswered);
        code.Bind(other);
    }

    // SynCookies.TryRead; and the time into the frame.
    private void CheckCookie()
    {
        const int Made = 7;
        ReadTime();
        code.Store(Frame, RequestUs, 0, 8);
        code.Alu(Opcodes.Divide, 0, (int)SynCookies.TickUs);
        code.Alu(Opcodes.Add, 0, 1);
        code.LoadBigEndian(Made, Frame, Tcp + 8, 4);
        code.Alu(Opcodes.Subtract, Made, 1);
        Keep32(Made);
        code.AluRegister(Opcodes.Move, 1, Made);
        code.Alu(Opcodes.ShiftRight, 1, 27);
        code.AluRegister(Opcodes.Move, 2, 0);
        code.AluRegister(Opcodes.Subtract, 2, 1);
        code.Alu(Opcodes.And, 2, 31);
        code.JumpIf(Opcodes.JumpGreater, 2, SynCookies.TicksValid + 1, 1, pass);
        code.AluRegister(Opcodes.Subtract, 0, 2);
        code.Alu(Opcodes.And, 0, 0xFFF_FFFF);
        code.Alu(Opcodes.ShiftLeft, 0, TickShift);
        code.AluRegister(Opcodes.Move, 1, Made);
        code.Alu(Opcodes.ShiftRight, 1, 24);
        code.Alu(Opcodes.And, 1, 7);
        code.Alu(Opcodes.ShiftLeft, 1, 32);
        code.AluRegister(Opcodes.Or, 0, 1);
        code.LoadBigEndian(1, Frame, Tcp + 4, 4);
        code.Alu(Opcodes.Subtract, 1, 1);
        Keep32(1);
        code.AluRegister(Opcodes.Or, 0, 1);
        code.Store(Frame, Words + 40, 0, 8);
        HashCookie();
        code.Alu(Opcodes.And, 0, 0xFF_FFFF);
        code.Alu(Opcodes.And, Made, 0xFF_FFFF);
        code.JumpIfRegister(Opcodes.JumpNotEqual, 0, Made, pass);
    }

    private void RecogniseFirst()
    {
        CheckCookie();
        FindBrief();
        code.Load(0, Connection, BriefConnection.HeldAt, 4);
        code.JumpIf(Opcodes.JumpNotEqual, 0, 0, 1, pass);

        // A place whose connection waits for its peer's FIN is kept for it, for a while; and a peer that asks again and again needs more than this.
        int free = code.Label(), other = code.Label();
        code.Alu(Opcodes.Move, 0, 0);
        code.FetchAdd(Connection, BriefConnection.WordAt, 0);
        code.Store(Frame, BriefWord, 0, 8);
        code.AluRegister(Opcodes.Move, 2, 0);
        code.Alu(Opcodes.And, 0, 3);
        code.JumpIf(Opcodes.JumpEqual, 0, BeingWritten, 1, pass);
        code.JumpIf(Opcodes.JumpNotEqual, 0, Answered, 1, free);
        code.Alu(Opcodes.ShiftRight, 2, 2);
        CompareNames(other);
        code.Load(0, Connection, BriefConnection.NumbersAt, 8);
        Keep32(0);
        code.LoadBigEndian(1, Frame, Tcp + 4, 4);
        code.Load(3, Frame, RequestBytes, 4);
        code.AluRegister(Opcodes.Add, 1, 3);
        Keep32(1);
        code.JumpIfRegister(Opcodes.JumpNotEqual, 0, 1, free);
        code.Alu(Opcodes.Add, 2, BriefConnection.RepeatedUs);
        code.Load(0, Frame, RequestUs, 8);
        code.JumpIfRegister(Opcodes.JumpGreater, 0, 2, pass);
        code.Jump(free);
        code.Bind(other);
        code.Alu(Opcodes.Add, 2, BriefConnection.KeptUs);
        code.Load(0, Frame, RequestUs, 8);
        code.JumpIfRegister(Opcodes.JumpLessOrEqual, 0, 2, pass);
        code.Bind(free);
        WriteTerms();
    }

    // What the stack would know of the connection (PassiveOpen.TakeSyn), where only this processor looks.
    private void WriteTerms()
    {
        if (place != Place.Receive)
        {
            code.StoreImmediate(Frame, Words + 40, 1, 8);
            Hash(answer.Offsets);
            code.Load(3, Frame, Scratch, 8);
            code.Store(3, AnswerTable.TermsAt + LentConnection.TimestampOffsetAt, 0, 4);
        }

        code.StoreImmediate(Frame, IsBrief, (int)TcpFlags.Fin, 4);
        code.StoreImmediate(Frame, IsAgain, 0, 4);
        code.StoreImmediate(Frame, Loan, 1, 8);
        code.Load(3, Frame, Scratch, 8);
        code.StoreImmediate(3, AnswerTable.TermsAt + LentConnection.WordAt, 1, 8);
        code.LoadBigEndian(0, Frame, Tcp + 4, 4);
        code.Store(3, AnswerTable.TermsAt + LentConnection.ReceiveNextAt, 0, 4);
        code.LoadBigEndian(0, Frame, Tcp + 8, 4);
        code.Store(3, AnswerTable.TermsAt + LentConnection.SendNextAt, 0, 4);

        // SynCookies.OptionsOf.
        int isScaled = code.Label(), hasScale = code.Label();
        code.Load(0, Frame, Options + 11, 1);
        code.Alu(Opcodes.And, 0, 15);
        code.JumpIf(Opcodes.JumpNotEqual, 0, 15, 1, isScaled);
        code.Alu(Opcodes.Move, 0, 0);
        code.StoreImmediate(3, AnswerTable.TermsAt + LentConnection.WindowAt, Network(answer.WindowBytes), 4);
        code.Jump(hasScale);
        code.Bind(isScaled);
        code.StoreImmediate(3, AnswerTable.TermsAt + LentConnection.WindowAt, Network(answer.ScaledWindow), 4);
        code.Bind(hasScale);
        code.Store(3, AnswerTable.TermsAt + LentConnection.PeerScaleAt, 0, 4);

        code.LoadBigEndian(1, Frame, Tcp + 8, 4);
        code.Alu(Opcodes.Subtract, 1, 1);
        code.Alu(Opcodes.ShiftRight, 1, 24);
        code.Alu(Opcodes.And, 1, 7);
        InEither(() => SegmentBytesOf(answer.SegmentBytesV4), () => SegmentBytesOf(answer.SegmentBytesV6));
        code.Store(3, AnswerTable.TermsAt + LentConnection.SegmentBytesAt, 0, 4);
    }

    // r1: the size's place in the table of cookies. Into r0 what fits into a segment.
    private void SegmentBytesOf(int own)
    {
        int done = code.Label();
        for (int index = 0; index < SynCookies.SegmentSizes.Length; index++)
        {
            if (index > 0)
            {
                code.JumpIf(Opcodes.JumpLess, 1, (ulong)index, 2, done);
            }

            code.Alu(Opcodes.Move, 0, Math.Min(own, SynCookies.SegmentSizes[index]) - TcpOptions.TimestampsBytes);
        }

        code.Bind(done);
    }

    // Before anything is changed: the place is claimed, and it is found out whether this has been answered before.
    private void BeginBrief()
    {
        int settled = code.Label(), claimed = code.Label(), another = code.Label();
        code.Load(0, Frame, IsBrief, 4);
        code.JumpIf(Opcodes.JumpEqual, 0, 0, 1, settled);
        LoadBrief();
        code.Load(0, Frame, BriefWord, 8);
        code.Alu(Opcodes.Move, 3, BeingWritten);
        code.CompareExchange(1, BriefConnection.WordAt, 3);
        code.Load(2, Frame, BriefWord, 8);
        code.JumpIfRegister(Opcodes.JumpEqual, 0, 2, claimed);
        LeaveAnswer();
        code.Jump(pass);
        code.Bind(claimed);

        code.Load(2, Connection, LentConnection.ReceiveNextAt, 4);
        code.Load(0, Frame, RequestBytes, 4);
        code.AluRegister(Opcodes.Add, 2, 0);
        Keep32(2);
        code.Load(3, Connection, LentConnection.SendNextAt, 4);
        code.Load(0, Frame, ResponseBytes, 4);
        code.AluRegister(Opcodes.Add, 3, 0);
        code.Alu(Opcodes.Add, 3, 1);
        code.Alu(Opcodes.ShiftLeft, 3, 32);
        code.AluRegister(Opcodes.Or, 2, 3);
        code.Load(0, Frame, BriefWord, 8);
        code.JumpIf(Opcodes.JumpEqual, 0, 0, 3, another);
        code.Load(0, 1, BriefConnection.NumbersAt, 8);
        code.JumpIfRegister(Opcodes.JumpNotEqual, 0, 2, another);
        foreach ((int name, int at) in Names)
        {
            code.Load(0, Frame, name, 8);
            code.Load(3, 1, at, 8);
            code.JumpIfRegister(Opcodes.JumpNotEqual, 0, 3, another);
        }

        code.StoreImmediate(Frame, IsAgain, 1, 4);
        code.Bind(another);
        code.Store(1, BriefConnection.NumbersAt, 2, 8);
        foreach ((int name, int at) in Names)
        {
            code.Load(0, Frame, name, 8);
            code.Store(1, at, 0, 8);
        }

        code.Load(0, Connection, LentConnection.TimestampOffsetAt, 4);
        code.Store(1, BriefConnection.TimestampOffsetAt, 0, 4);
        code.Bind(settled);
    }

    private void EndBrief(bool isAnswered)
    {
        int settled = code.Label();
        code.Load(0, Frame, IsBrief, 4);
        code.JumpIf(Opcodes.JumpEqual, 0, 0, 1, settled);
        LoadBrief();
        if (isAnswered)
        {
            // When it was answered first is what counts.
            int isWritten = code.Label();
            code.Load(2, Frame, IsAgain, 4);
            code.Load(0, Frame, BriefWord, 8);
            code.JumpIf(Opcodes.JumpNotEqual, 2, 0, 3, isWritten);
            code.Load(0, Frame, RequestUs, 8);
            code.Alu(Opcodes.ShiftLeft, 0, 2);
            code.Alu(Opcodes.Or, 0, Answered);
            code.Bind(isWritten);
            code.Store(1, BriefConnection.WordAt, 0, 8);
        }
        else
        {
            code.StoreImmediate(1, BriefConnection.WordAt, 0, 8);
        }

        code.Bind(settled);
    }
}
