// SPDX-License-Identifier: MIT
using Exo.Core.DownloadedCode;
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Tcp.Answers;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp.Handshake;

/// <summary>
/// Requests: a segment of a connection that the stack has lent (<see cref="AnswerTable"/>), whose payload is, byte for byte, a request that the stack has answered before, becomes the response.
/// <code>
///   flags and options as usual -> the place of its names is lent, to it -> next in both directions, or the last request once more -> its bytes have an answer that holds -> that fits
///   -> count in as a reader, take the connection -> headers, response, date -> checksum by difference -> both numbers go on -> give the connection back -> out of the interface
/// </code>
/// The two programs of a handler come to the same verdict one after the other on one packet; if the stack takes the connection back in between, the packet is lost, and comes again.
/// Registers: r7 bytes of payload, r9 the connection's place.
/// </summary>
internal sealed partial class HandshakeProgram
{
    // In the frame: pointers and words, and in upper halves what the kernel's verifier is to forget.
    private const int Loan = -296, Answer = -304, Scratch = -312, Date = -320, RequestUs = -328, RequestBytes = -332, IsAgain = -340, ResponseBytes = -348, BodyDifference = -360, DatePlace = -364;
    private const int BriefPlace = -372, ConnectionPlace = -380, BriefWord = -392, IsBrief = -396;
    private const int PseudoHeader = 0x10;
    private const int HeadBytes = TcpSegment.FixedBytes + TcpOptions.TimestampsBytes;
    private const int Connection = 9;

    // Where names are in the frame, and in both kinds of connections.
    private static readonly (int Name, int At)[] Names =
    [
        (Words + 32, ConnectionNames.PortsAt), (Words + 24, ConnectionNames.RemoteLowAt), (Words + 16, ConnectionNames.RemoteHighAt), (Words + 8, ConnectionNames.LocalLowAt), (Words, ConnectionNames.LocalHighAt),
    ];

    // r0: bytes behind the IP header.
    private void RecogniseRequest()
    {
        code.AluRegister(Opcodes.Move, OptionBytes, 0);
        code.JumpIf(Opcodes.JumpLess, OptionBytes, HeadBytes, 1, pass);
        code.Alu(Opcodes.Subtract, OptionBytes, HeadBytes);
        code.JumpIf(Opcodes.JumpGreater, OptionBytes, AnswerTable.RequestBytesMax, 1, pass);
        code.Store(Frame, RequestBytes, OptionBytes, 4);
        Unless(Tcp + 12, HeadBytes << 2, 1);
        LoadStamps();
        code.LoadBigEndian(0, Frame, Options, 4);
        code.JumpIf(Opcodes.JumpNotEqual, 0, 0x0101_080A, 1, pass);
        StorePorts();
        int isRequest = code.Label(), isFirst = code.Label(), isFound = code.Label();
        code.Load(0, Frame, RequestBytes, 4);
        code.JumpIf(Opcodes.JumpNotEqual, 0, 0, 1, isRequest);
        RecogniseAcknowledgment();
        code.Bind(isRequest);
        FindScratch();
        FindConnection(isFirst);
        FindTurn();
        code.Jump(isFound);
        code.Bind(isFirst);
        RecogniseFirst();
        code.Bind(isFound);
        LoadConnection();
        FindAnswer();
    }

    // Into the frame this processor's area, and that a connection is in it, unless one is found elsewhere.
    private void FindScratch()
    {
        code.Call(ProcessorNumber);
        code.JumpIf(Opcodes.JumpGreaterOrEqual, 0, AnswerTable.Processors, 1, pass);
        code.Alu(Opcodes.Multiply, 0, AnswerTable.ScratchBytes);
        TableAddress(3, AnswerTable.ScratchAt);
        code.AluRegister(Opcodes.Add, 3, 0);
        code.Store(Frame, Scratch, 3, 8);
        code.Alu(Opcodes.Add, 0, AnswerTable.ScratchAt + AnswerTable.TermsAt);
        code.Store(Frame, ConnectionPlace, 0, 4);
    }

    // Into r9 the connection, wherever it was found: from here on both kinds are one to the kernel's verifier.
    private void LoadConnection()
    {
        code.Load(0, Frame, ConnectionPlace, 4);
        code.Alu(Opcodes.And, 0, ~63);
        code.JumpIf(Opcodes.JumpGreater, 0, AnswerTable.BriefsAt, 1, pass);
        TableAddress(Connection, 0);
        code.AluRegister(Opcodes.Add, Connection, 0);
    }

    private void LoadStamps()
    {
        if (place == Place.Own)
        {
            InEither(() => Copy(Context, HeadersV4, Frame, Options, TcpOptions.TimestampsBytes), () => Copy(Context, HeadersV6, Frame, Options, TcpOptions.TimestampsBytes));
            return;
        }

        code.StoreImmediate(Frame, Options + 8, 0, 8);
        code.StoreImmediate(Frame, Options, 0, 8);
        code.AluRegister(Opcodes.Move, 1, Context);
        code.AluRegister(Opcodes.Move, 2, TcpAt);
        code.Alu(Opcodes.Add, 2, TcpSegment.FixedBytes);
        Address(3, Options);
        code.Alu(Opcodes.Move, 4, TcpOptions.TimestampsBytes);
        code.Call(LoadBytes);
        code.JumpIf(Opcodes.JumpNotEqual, 0, 0, 1, pass);
    }

    // A place of the table of answers.
    private void TableAddress(int register, int at)
    {
        if (place == Place.Own)
        {
            code.Load(register, Frame, Table, 8);
            code.Alu(Opcodes.Add, register, FarewellTable.SizeBytes + at);
        }
        else
        {
            code.Wide(register, (uint)answer.Answers | ((ulong)at << 32), PseudoMapValue);
        }
    }

    // Into r9 the place of the connection, which is lent, and its word into the frame. The word is read first, and taken only as it was read then.
    private void FindConnection(int other)
    {
        code.Load(0, Frame, Words + 24, 8);
        code.Load(1, Frame, Words + 32, 8);
        code.AluRegister(Opcodes.Xor, 0, 1);
        code.Wide(1, answer.AnswersKey);
        code.AluRegister(Opcodes.Multiply, 0, 1);
        code.Alu(Opcodes.ShiftRight, 0, 52);
        code.Alu(Opcodes.Multiply, 0, AnswerTable.ConnectionBytes);
        TableAddress(Connection, AnswerTable.ConnectionsAt);
        code.AluRegister(Opcodes.Add, Connection, 0);
        code.AluRegister(Opcodes.Move, 2, 0);
        code.Alu(Opcodes.Move, 0, 0);
        code.FetchAdd(Connection, LentConnection.WordAt, 0);
        code.Store(Frame, Loan, 0, 8);
        code.Alu(Opcodes.And, 0, 3);
        code.JumpIf(Opcodes.JumpNotEqual, 0, 1, 1, other);
        CompareNames(other);
        code.Alu(Opcodes.Add, 2, AnswerTable.ConnectionsAt);
        code.Store(Frame, ConnectionPlace, 2, 4);
        code.StoreImmediate(Frame, IsBrief, 0, 4);
        code.StoreImmediate(Frame, BriefPlace, 0, 4);
        code.StoreImmediate(Frame, BriefWord, 0, 8);
    }

    // r9: a lent or a brief connection.
    private void CompareNames(int other)
    {
        foreach ((int name, int at) in Names)
        {
            code.Load(0, Frame, name, 8);
            code.Load(1, Connection, at, 8);
            code.JumpIfRegister(Opcodes.JumpNotEqual, 0, 1, other);
        }
    }

    // The next request, or the last one once more; by a clock that has not gone back.
    private void FindTurn()
    {
        int isNext = code.Label(), isTurn = code.Label();
        code.LoadBigEndian(2, Frame, Tcp + 4, 4);
        code.LoadBigEndian(3, Frame, Tcp + 8, 4);
        code.Load(0, Connection, LentConnection.ReceiveNextAt, 4);
        code.JumpIfRegister(Opcodes.JumpEqual, 2, 0, isNext);
        code.Load(1, Connection, LentConnection.LastReceiveAt, 4);
        code.JumpIfRegister(Opcodes.JumpNotEqual, 2, 1, pass);
        code.Load(1, Connection, LentConnection.LastSendAt, 4);
        code.JumpIfRegister(Opcodes.JumpNotEqual, 3, 1, pass);
        code.AluRegister(Opcodes.Subtract, 0, 2);
        Keep32(0);
        code.JumpIfRegister(Opcodes.JumpNotEqual, 0, OptionBytes, pass);   // of the same length
        code.StoreImmediate(Frame, IsAgain, 1, 4);
        code.Jump(isTurn);
        code.Bind(isNext);
        code.Load(1, Connection, LentConnection.SendNextAt, 4);
        code.JumpIfRegister(Opcodes.JumpNotEqual, 3, 1, pass);
        code.StoreImmediate(Frame, IsAgain, 0, 4);
        code.Bind(isTurn);
        code.LoadBigEndian(0, Frame, Options + 4, 4);
        code.Load(1, Connection, LentConnection.RecentTimestampAt, 4);
        code.AluRegister(Opcodes.Subtract, 0, 1);
        Keep32(0);
        code.JumpIf(Opcodes.JumpGreater, 0, int.MaxValue, 1, pass);
    }

    // Into r1 and the frame the answer to the bytes of the payload, which holds and fits.
    private void FindAnswer()
    {
        LoadPayload();
        HashPayload();
        code.Alu(Opcodes.Multiply, 0, AnswerTable.AnswerBytes);
        TableAddress(1, AnswerTable.AnswersAt);
        code.AluRegister(Opcodes.Add, 1, 0);
        code.Store(Frame, Answer, 1, 8);
        code.Alu(Opcodes.Move, 0, place == Place.Receive ? 0 : 1);
        code.FetchAdd(1, AnswerTable.ReadersAt, 0);
        int refused = code.Label(), found = code.Label();
        Compare(refused);
        CheckSum(refused);
        Fit(refused);
        code.Jump(found);
        code.Bind(refused);
        if (place != Place.Receive)
        {
            LeaveAnswer();
        }

        code.Jump(pass);
        code.Bind(found);
    }

    // The payload into the scratch area, with zeros up to a whole double word.
    private void LoadPayload()
    {
        code.Load(OptionBytes, Frame, RequestBytes, 4);
        BoundRequest(pass);
        code.Load(3, Frame, Scratch, 8);
        code.AluRegister(Opcodes.Move, 0, OptionBytes);
        code.Alu(Opcodes.And, 0, ~7);
        code.AluRegister(Opcodes.Add, 0, 3);
        code.StoreImmediate(0, 0, 0, 8);
        if (place == Place.Own)
        {
            InEither(
                () => Copy(Context, HeadersV4 + TcpOptions.TimestampsBytes, 3, 0, AnswerTable.RequestBytesMax), () => Copy(Context, HeadersV6 + TcpOptions.TimestampsBytes, 3, 0, AnswerTable.RequestBytesMax));
            return;
        }

        code.AluRegister(Opcodes.Move, 1, Context);
        code.AluRegister(Opcodes.Move, 2, TcpAt);
        code.Alu(Opcodes.Add, 2, HeadBytes);
        code.AluRegister(Opcodes.Move, 4, OptionBytes);
        code.Call(LoadBytes);
        code.JumpIf(Opcodes.JumpNotEqual, 0, 0, 1, pass);
    }

    private void BoundRequest(int refused)
    {
        code.JumpIf(Opcodes.JumpEqual, OptionBytes, 0, 1, refused);
        code.JumpIf(Opcodes.JumpGreater, OptionBytes, AnswerTable.RequestBytesMax, 1, refused);
    }

    // AnswerTable.PlaceOf, into r0.
    private void HashPayload()
    {
        int done = code.Label();
        code.Wide(0, answer.AnswersKey);
        code.Load(1, Frame, Scratch, 8);
        for (int at = 0; at < AnswerTable.RequestBytesMax; at += 8)
        {
            code.JumpIf(Opcodes.JumpLessOrEqual, OptionBytes, (ulong)at, 2, done);
            code.Load(2, 1, at, 8);
            code.AluRegister(Opcodes.Xor, 0, 2);
            code.Alu(Opcodes.Multiply, 0, AnswerTable.HashFactor);
            code.AluRegister(Opcodes.Move, 2, 0);
            code.Alu(Opcodes.ShiftRight, 2, 29);
            code.AluRegister(Opcodes.Xor, 0, 2);
        }

        code.Bind(done);
        code.Wide(1, answer.AnswersKey);
        code.AluRegister(Opcodes.Multiply, 0, 1);
        code.Alu(Opcodes.ShiftRight, 0, 54);
    }

    // r1: the answer. That it holds comes first: only then are its bytes those of one answer.
    private void Compare(int refused)
    {
        TableAddress(2, AnswerTable.EpochAt);
        code.Load(2, 2, 0, 8);
        code.Load(3, 1, AnswerTable.AnswerEpochAt, 8);
        code.JumpIfRegister(Opcodes.JumpNotEqual, 2, 3, refused);
        code.Load(OptionBytes, Frame, RequestBytes, 4);
        code.Load(2, 1, AnswerTable.RequestLengthAt, 4);
        code.JumpIfRegister(Opcodes.JumpNotEqual, OptionBytes, 2, refused);

        // What ends a connection is for those that consist of it.
        code.Load(2, 1, AnswerTable.ClosesAt, 4);
        code.Load(3, Frame, IsBrief, 4);
        code.JumpIfRegister(Opcodes.JumpNotEqual, 2, 3, refused);
        int same = code.Label();
        code.Load(2, Frame, Scratch, 8);
        for (int at = 0; at < AnswerTable.RequestBytesMax; at += 8)
        {
            code.JumpIf(Opcodes.JumpLessOrEqual, OptionBytes, (ulong)at, 3, same);
            code.Load(3, 2, at, 8);
            code.Load(4, 1, AnswerTable.RequestAt + at, 8);
            code.JumpIfRegister(Opcodes.JumpNotEqual, 3, 4, refused);
        }

        code.Bind(same);
    }

    // The checksum: of everything, whose sum is all ones, or of the pseudo header alone, where a sender on this machine has left the rest to an interface that has not been asked. The
    // payload's is known, for it is the same. Nothing that was damaged may move a connection's numbers.
    private void CheckSum(int refused)
    {
        int whole = code.Label();
        code.Load(3, 1, AnswerTable.RequestSumAt, 4);
        code.Load(0, Frame, RequestBytes, 4);
        code.Alu(Opcodes.Add, 0, HeadBytes);
        code.Swap(0, 2);
        code.Alu(Opcodes.Add, 0, Network((ushort)IpProtocol.Tcp));
        InEither(() => Sum(0, IpV4 + 12, 2 * InternetAddress.V4Bytes), () => Sum(0, IpV6 + 8, 2 * InternetAddress.V6Bytes));
        Fold16(0);
        code.Load(1, Frame, Tcp + TcpSegment.ChecksumOffset, 2);
        code.JumpIfRegister(Opcodes.JumpEqual, 0, 1, whole);
        code.AluRegister(Opcodes.Add, 0, 3);
        Sum(0, Tcp, TcpSegment.FixedBytes);
        Sum(0, Options, TcpOptions.TimestampsBytes);
        Fold16(0);
        code.JumpIf(Opcodes.JumpNotEqual, 0, 0xFFFF, 1, refused);
        code.Bind(whole);
        code.Load(1, Frame, Answer, 8);
    }

    // Into the frame the response's length, where its date is and the date. It is one segment that the peer's window admits, and, when the request came again, what was sent then.
    private void Fit(int refused)
    {
        code.Load(0, 1, AnswerTable.ResponseLengthAt, 4);
        code.Load(2, Connection, LentConnection.SegmentBytesAt, 4);
        code.JumpIfRegister(Opcodes.JumpGreater, 0, 2, refused);
        code.LoadBigEndian(3, Frame, Tcp + 14, 2);
        code.Load(2, Connection, LentConnection.PeerScaleAt, 4);
        code.AluRegister(Opcodes.ShiftLeft, 3, 2);
        code.JumpIfRegister(Opcodes.JumpGreater, 0, 3, refused);
        code.Store(Frame, ResponseBytes, 0, 4);

        TableAddress(2, AnswerTable.DateNumberAt);
        code.Load(3, 2, 0, 8);
        code.Alu(Opcodes.And, 3, AnswerTable.Dates - 1);
        code.Alu(Opcodes.Multiply, 3, AnswerTable.DateBytes);
        code.AluRegister(Opcodes.Add, 2, 3);
        code.Alu(Opcodes.Add, 2, AnswerTable.DatesAt - AnswerTable.DateNumberAt);
        code.Store(Frame, Date, 2, 8);
        int isFirst = code.Label();
        code.Load(0, Frame, IsAgain, 4);
        code.JumpIf(Opcodes.JumpEqual, 0, 0, 3, isFirst);
        code.Load(0, Connection, LentConnection.LastSecondsAt, 8);
        code.Load(3, 2, AnswerTable.DateSecondsAt, 8);
        code.JumpIfRegister(Opcodes.JumpNotEqual, 0, 3, refused);
        code.Load(0, Connection, LentConnection.LastAnswerNumberAt, 8);
        code.Load(3, 1, AnswerTable.NumberAt, 8);
        code.JumpIfRegister(Opcodes.JumpNotEqual, 0, 3, refused);
        code.Bind(isFirst);
    }

    private void LeaveAnswer()
    {
        code.Load(1, Frame, Answer, 8);
        code.Alu(Opcodes.Move, 0, -1);
        code.FetchAdd(1, AnswerTable.ReadersAt, 0);
    }

    // Between lent and being answered.
    private void ExchangeLoan(bool take)
    {
        code.Load(0, Frame, Loan, 8);
        code.AluRegister(Opcodes.Move, 3, 0);
        code.Alu(Opcodes.Xor, take ? 3 : 0, 3);
        code.CompareExchange(Connection, LentConnection.WordAt, 3);
    }

    private void AnswerRequest()
    {
        int taken = code.Label();
        ExchangeLoan(take: true);
        code.Load(1, Frame, Loan, 8);
        code.JumpIfRegister(Opcodes.JumpEqual, 0, 1, taken);
        LeaveAnswer();
        code.Jump(pass);
        code.Bind(taken);
        ReadTime();
        code.Store(Frame, RequestUs, 0, 8);
        BeginBrief();
        SumHead(0);
        code.Store(Frame, OldSum, 0, 8);
        WriteHead();
        SumResponse();
        int spoilt = code.Label(), sent = code.Label();
        StoreResponse(spoilt);
        GoOn();
        EndBrief(isAnswered: true);
        ExchangeLoan(take: false);
        LeaveAnswer();
        if (place == Place.Own)
        {
            code.Wide(0, 1UL << 32);
            code.AluRegister(Opcodes.Or, 0, OptionBytes);
            code.Exit();
            return;
        }

        code.Load(1, Context, ContextInterface, 4);
        code.Alu(Opcodes.Move, 2, 0);
        code.Call(Redirect);
        code.Jump(sent);

        // The kernel had no memory. The packet is no more what it was: it is lost, and comes again.
        code.Bind(spoilt);
        EndBrief(isAnswered: false);
        ExchangeLoan(take: false);
        LeaveAnswer();
        code.Alu(Opcodes.Move, 0, Drop);
        code.Bind(sent);
        code.Exit();
    }

    // The headers of the response, with the request's checksum still in place.
    private void WriteHead()
    {
        code.Load(0, Frame, ResponseBytes, 4);
        code.Alu(Opcodes.Add, 0, HeadBytes);
        InEither(
            () =>
            {
                code.Alu(Opcodes.Add, 0, Ipv4Packet.SizeBytes);
                code.Swap(0, 2);
                code.Store(Frame, IpV4 + 2, 0, 2);
                AnswerV4();
            },
            () =>
            {
                code.Swap(0, 2);
                code.Store(Frame, IpV6 + 4, 0, 2);
                AnswerV6();
            });
        code.Load(0, Frame, Tcp, 2);
        code.Load(1, Frame, Tcp + 2, 2);
        code.Store(Frame, Tcp, 1, 2);
        code.Store(Frame, Tcp + 2, 0, 2);
        code.Load(0, Frame, Tcp + 8, 4);
        code.LoadBigEndian(1, Frame, Tcp + 4, 4);
        code.Store(Frame, Tcp + 4, 0, 4);
        code.Load(0, Frame, RequestBytes, 4);
        code.AluRegister(Opcodes.Add, 1, 0);
        code.Swap(1, 4);
        code.Store(Frame, Tcp + 8, 1, 4);
        code.Load(0, Frame, IsBrief, 4);   // the flag of a FIN
        code.Alu(Opcodes.Or, 0, (int)(TcpFlags.Ack | TcpFlags.Psh));
        code.Store(Frame, Tcp + 13, 0, 1);

        // What the peer said last is kept before it is written over.
        code.LoadBigEndian(0, Frame, Tcp + 14, 2);
        code.Load(1, Connection, LentConnection.PeerScaleAt, 4);
        code.AluRegister(Opcodes.ShiftLeft, 0, 1);
        code.Store(Connection, LentConnection.PeerWindowAt, 0, 4);
        code.LoadBigEndian(0, Frame, Options + 4, 4);
        code.Store(Connection, LentConnection.RecentTimestampAt, 0, 4);
        code.Load(0, Connection, LentConnection.WindowAt, 4);
        code.Store(Frame, Tcp + 14, 0, 2);
        code.StoreImmediate(Frame, Tcp + 18, 0, 2);
        code.Load(0, Frame, Options + 4, 4);
        code.Store(Frame, Options + 8, 0, 4);
        code.Load(0, Frame, RequestUs, 8);
        code.Alu(Opcodes.Divide, 0, 1000);
        code.Load(1, Connection, LentConnection.TimestampOffsetAt, 4);
        code.AluRegister(Opcodes.Add, 0, 1);
        code.Swap(0, 4);
        code.Store(Frame, Options + 4, 0, 4);
    }

    // Into r7 what has to be added to the sum, new - old in one's complement, 32 bits wide, but for the length in the pseudo header; that into the frame.
    private void SumResponse()
    {
        SumHead(OptionBytes);
        code.Load(3, Frame, Answer, 8);
        code.Load(0, 3, AnswerTable.ResponseSumAt, 4);
        code.AluRegister(Opcodes.Add, OptionBytes, 0);

        // A sum of what begins at an odd byte is turned round.
        int even = code.Label(), odd = code.Label();
        code.Load(2, Frame, Date, 8);
        code.Load(1, 3, AnswerTable.DatePlaceAt, 4);
        code.Store(Frame, DatePlace, 1, 4);
        code.Alu(Opcodes.And, 1, 1);
        code.JumpIf(Opcodes.JumpEqual, 1, 0, 4, even);
        code.Load(0, 2, AnswerTable.DateOddSumAt, 4);
        code.Jump(odd);
        code.Bind(even);
        code.Load(0, 2, AnswerTable.DateSumAt, 4);
        code.Bind(odd);
        code.AluRegister(Opcodes.Add, OptionBytes, 0);
        code.Load(0, 3, AnswerTable.RequestSumAt, 4);
        code.Wide(2, uint.MaxValue);
        code.AluRegister(Opcodes.Xor, 0, 2);
        code.AluRegister(Opcodes.Add, OptionBytes, 0);
        code.Load(0, Frame, OldSum, 8);
        code.AluRegister(Opcodes.Xor, 0, 2);
        code.AluRegister(Opcodes.Add, OptionBytes, 0);
        Fold32(OptionBytes);

        code.Load(0, Frame, ResponseBytes, 4);
        code.Alu(Opcodes.Add, 0, HeadBytes);
        code.Swap(0, 2);
        code.Load(1, Frame, RequestBytes, 4);
        code.Alu(Opcodes.Add, 1, HeadBytes);
        code.Swap(1, 2);
        code.Wide(2, uint.MaxValue);
        code.AluRegister(Opcodes.Xor, 1, 2);
        code.AluRegister(Opcodes.Add, 0, 1);
        Fold32(0);
        code.Store(Frame, BodyDifference, 0, 8);
    }

    private void StoreResponse(int spoilt)
    {
        if (place == Place.Own)
        {
            InEither(() => CopyResponse(EthernetV4, HeadersV4), () => CopyResponse(EthernetV6, HeadersV6));
            code.Load(0, Frame, BodyDifference, 8);
            code.AluRegister(Opcodes.Add, OptionBytes, 0);
            Fold32(OptionBytes);
            return;
        }

        // Until the length has changed the packet is whole, but somebody has left it to us already.
        code.AluRegister(Opcodes.Move, 1, Context);
        code.AluRegister(Opcodes.Move, 2, TcpAt);
        code.Alu(Opcodes.Add, 2, HeadBytes);
        code.Load(0, Frame, ResponseBytes, 4);
        code.AluRegister(Opcodes.Add, 2, 0);
        code.Alu(Opcodes.Move, 3, 0);
        CallOr(spoilt, ChangeTail);
        InEither(() => StorePacket(EthernetV4, HeadersV4), () => StorePacket(EthernetV6, HeadersV6));
        code.JumpIf(Opcodes.JumpNotEqual, 0, 0, 1, spoilt);
        StoreAt(TcpSegment.FixedBytes, () => Address(3, Options), () => code.Alu(Opcodes.Move, 4, TcpOptions.TimestampsBytes), spoilt);
        StoreAt(
            HeadBytes,
            () =>
            {
                code.Load(3, Frame, Answer, 8);
                code.Alu(Opcodes.Add, 3, AnswerTable.ResponseAt);
            },
            () =>
            {
                code.Load(4, Frame, ResponseBytes, 4);
                code.JumpIf(Opcodes.JumpEqual, 4, 0, 0, spoilt);
                code.JumpIf(Opcodes.JumpGreater, 4, AnswerTable.ResponseBytesMax, 0, spoilt);   // neither is so, but nothing is known of what lies in the table
            },
            spoilt);
        code.Load(0, Frame, DatePlace, 4);
        code.JumpIf(Opcodes.JumpGreater, 0, AnswerTable.ResponseBytesMax, 1, spoilt);
        code.AluRegister(Opcodes.Move, 2, TcpAt);
        code.AluRegister(Opcodes.Add, 2, 0);
        StoreFrom(HeadBytes, () => code.Load(3, Frame, Date, 8), () => code.Alu(Opcodes.Move, 4, HttpDate.LengthBytes), spoilt);
        CorrectSum(() => code.AluRegister(Opcodes.Move, 4, OptionBytes), 0, spoilt);
        CorrectSum(() => code.Load(4, Frame, BodyDifference, 8), PseudoHeader, spoilt);
    }

    private void StoreAt(int behindTcp, Action from, Action length, int spoilt)
    {
        code.AluRegister(Opcodes.Move, 2, TcpAt);
        StoreFrom(behindTcp, from, length, spoilt);
    }

    // r2: where, but for a constant.
    private void StoreFrom(int behind, Action from, Action length, int spoilt)
    {
        code.AluRegister(Opcodes.Move, 1, Context);
        code.Alu(Opcodes.Add, 2, behind);
        from();
        length();
        code.Alu(Opcodes.Move, 5, 0);
        CallOr(spoilt, StoreBytes);
    }

    // Of a packet whose sum is left to the interface only the pseudo header is in the sum's place: the kernel knows, and leaves the first out.
    private void CorrectSum(Action difference, int flags, int spoilt)
    {
        code.AluRegister(Opcodes.Move, 1, Context);
        code.AluRegister(Opcodes.Move, 2, TcpAt);
        code.Alu(Opcodes.Add, 2, TcpSegment.ChecksumOffset);
        code.Alu(Opcodes.Move, 3, 0);
        difference();
        code.Alu(Opcodes.Move, 5, flags);
        CallOr(spoilt, CorrectTcpSum);
    }

    private void CallOr(int spoilt, int helper)
    {
        code.Call(helper);
        code.JumpIf(Opcodes.JumpNotEqual, 0, 0, 1, spoilt);
    }

    // Eight bytes at a time: behind a response are zeros.
    private void CopyResponse(int from, int headersBytes)
    {
        Copy(Frame, from, Context, 0, headersBytes);
        Copy(Frame, Options, Context, headersBytes, TcpOptions.TimestampsBytes);
        code.Load(1, Frame, Answer, 8);
        code.Load(2, Frame, Date, 8);
        int body = headersBytes + TcpOptions.TimestampsBytes;
        Copy(1, AnswerTable.ResponseAt, Context, body, AnswerTable.ResponseBytesMax);
        code.Load(0, Frame, DatePlace, 4);
        code.JumpIf(Opcodes.JumpGreater, 0, AnswerTable.ResponseBytesMax - HttpDate.LengthBytes, 1, pass);
        code.AluRegister(Opcodes.Move, 3, Context);
        code.AluRegister(Opcodes.Add, 3, 0);
        for (int i = 0; i < HttpDate.LengthBytes; i++)
        {
            code.Load(0, 2, i, 1);
            code.Store(3, body + i, 0, 1);
        }
    }

    // Both numbers, unless it was a request that came again; and what is counted.
    private void GoOn()
    {
        code.Load(0, Frame, RequestUs, 8);
        code.Store(Connection, LentConnection.LastUsAt, 0, 8);
        int again = code.Label();
        code.Load(0, Frame, IsAgain, 4);
        code.JumpIf(Opcodes.JumpNotEqual, 0, 0, 1, again);
        code.Load(4, Frame, ResponseBytes, 4);
        code.Load(0, Connection, LentConnection.ReceiveNextAt, 4);
        code.Store(Connection, LentConnection.LastReceiveAt, 0, 4);
        code.Load(1, Frame, RequestBytes, 4);
        code.AluRegister(Opcodes.Add, 0, 1);
        code.Store(Connection, LentConnection.ReceiveNextAt, 0, 4);
        code.Load(0, Connection, LentConnection.SendNextAt, 4);
        code.Store(Connection, LentConnection.LastSendAt, 0, 4);
        code.AluRegister(Opcodes.Add, 0, 4);
        code.Store(Connection, LentConnection.SendNextAt, 0, 4);
        code.Load(0, Connection, LentConnection.CountAt, 4);
        code.Alu(Opcodes.Add, 0, 1);
        code.Store(Connection, LentConnection.CountAt, 0, 4);

        code.Load(1, Frame, Answer, 8);
        code.Load(0, 1, AnswerTable.NumberAt, 8);
        code.Store(Connection, LentConnection.LastAnswerNumberAt, 0, 8);
        code.Load(0, 1, AnswerTable.PlaceAt, 4);
        code.Store(Connection, LentConnection.LastAnswerAt, 0, 4);
        code.StoreImmediate(1, AnswerTable.UsedAt, 1, 8);
        code.Load(2, Frame, Date, 8);
        code.Load(0, 2, AnswerTable.DateSecondsAt, 8);
        code.Store(Connection, LentConnection.LastSecondsAt, 0, 8);

        // On this processor nobody else counts.
        code.Load(2, Frame, Scratch, 8);
        code.Load(0, 2, AnswerTable.AnsweredAt, 8);
        code.Alu(Opcodes.Add, 0, 1);
        code.Store(2, AnswerTable.AnsweredAt, 0, 8);
        code.Load(0, 2, AnswerTable.AnsweredBytesAt, 8);
        code.AluRegister(Opcodes.Add, 0, 4);
        code.Store(2, AnswerTable.AnsweredBytesAt, 0, 8);
        code.Load(0, 2, AnswerTable.AnsweredBodyBytesAt, 8);
        code.Load(3, 1, AnswerTable.BodyLengthAt, 4);
        code.AluRegister(Opcodes.Add, 0, 3);
        code.Store(2, AnswerTable.AnsweredBodyBytesAt, 0, 8);
        code.Load(0, 2, AnswerTable.AnsweredConnectionsAt, 8);
        code.Load(3, Frame, IsBrief, 4);
        code.AluRegister(Opcodes.Add, 0, 3);
        code.Store(2, AnswerTable.AnsweredConnectionsAt, 0, 8);
        code.Bind(again);
    }

    private void SumHead(int into)
    {
        code.Alu(Opcodes.Move, into, 0);
        Sum(into, Tcp, TcpSegment.FixedBytes);
        Sum(into, Options, TcpOptions.TimestampsBytes);
        Fold32(into);
    }

    private void Keep32(int register)
    {
        code.Alu(Opcodes.ShiftLeft, register, 32);
        code.Alu(Opcodes.ShiftRight, register, 32);
    }
}
