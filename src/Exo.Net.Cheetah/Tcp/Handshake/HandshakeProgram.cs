// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.DownloadedCode;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Tcp.Answers;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp.Handshake;

/// <summary>
/// A SYN that brings timestamps, answered where it comes in with a cookie (<see cref="SynCookies"/>), as a program: an application-specific handler as the exokernel downloads them.
/// It remembers nothing; the secret of cookies, which changes, it reads in memory that it shares with the stack. The SYN becomes its answer in place: what the answer says fits into what the SYN says, for it carries no option that the SYN does not. In the same way the last
/// FIN of a connection becomes its acknowledgment, where the stack allows it (<see cref="FarewellTable"/>); the stack gets that FIN too. Requests are in HandshakeProgram.Requests.cs.
/// <code>
///   load headers -> a whole SYN without payload for one of our addresses and the port? -> walk its options -> with timestamps?      any no: the packet goes its way
///   -> cookie, timestamp -> swap names, write TCP header and options -> checksum by difference -> out of the interface it came from
/// </code>
/// The checksum is corrected by what changed, so that a SYN that was damaged gets an answer that is damaged too. The same instructions are emitted for three places (<see cref="Place"/>).
/// Registers: r6 context, r7 bytes of options and later the time, r8 where TCP begins in the packet, r9 the next option, r0 to r5 scratch. The frame:
/// <code>
///   -96 Ethernet, IP and TCP headers, TCP always at -40       -160 options, 40 bytes and zeros       -208 six words for the hash       -288 what was found
/// </code>
/// What the walk finds lies in the upper halves of words: the kernel's verifier keeps no account of values there, so that all ways through the walk are one to it from then on, and the rest is
/// proved once instead of thousands of times.
/// </summary>
internal sealed partial class HandshakeProgram
{
    private const int Context = 6, OptionBytes = 7, Time = 7, TcpAt = 8, Next = 9, Frame = 10;

    // In the frame. IP headers lie so that every field is aligned: the kernel insists on it.
    private const int EthernetV4 = -74, EthernetV6 = -94, IpV4 = -60, IpV6 = -80, Tcp = -40, Options = -160, Words = -208;
    private const int SegmentBytes = -212, Scale = -220, Sack = -228, Stamp = -236, HasStamps = -244, Length = -252, Cookie = -264, OwnStamp = -272, OldSum = -280;
    private const int Table = -288;
    private const int TickShift = 35;   // in the last word that a cookie is the hash of, as SynCookies has it
    private const int OptionsRoom = 56;

    private const int HeadersV4 = EthernetFrame.SizeBytes + Ipv4Packet.SizeBytes + TcpSegment.FixedBytes;
    private const int HeadersV6 = EthernetFrame.SizeBytes + Ipv6Packet.SizeBytes + TcpSegment.FixedBytes;

    // struct __sk_buff, helpers and verdicts of linux/bpf.h.
    private const int ContextProtocol = 16, ContextVlan = 20, ContextInterface = 40;
    private const int KernelTime = 5, ProcessorNumber = 8, StoreBytes = 9, CorrectTcpSum = 11, Redirect = 23, LoadBytes = 26, ChangeTail = 38;
    private const int NextProgram = -1, Drop = 2, PseudoMapValue = 2;

    private readonly LabelledCode code = new();
    private readonly HandshakeAnswer answer;
    private readonly Place place;
    private readonly int pass, farewell, request, leaveOut;

    private HandshakeProgram(HandshakeAnswer answer, Place place)
    {
        this.answer = answer;
        this.place = place;
        pass = code.Label();
        farewell = code.Label();
        request = code.Label();
        leaveOut = code.Label();
    }

    private bool AnswersRequests => answer.Answers != 0;

    // The stack gets the FINs of its own connections as well.
    private bool TakesFarewells => place != Place.Receive || AnswersRequests;

    private enum Place
    {
        /// <summary>The kernel's ingress hook: answers.</summary>
        Ingress,

        /// <summary>The socket that the stack receives from: leaves out what is answered.</summary>
        Receive,

        /// <summary>Our own machine: the packet is memory, see <see cref="OwnContract"/>.</summary>
        Own,
    }

    /// <summary>
    /// The bargain on our own machine: memory is the packet, followed by zeros, r2 the protocol as the kernel tells it (network byte order), the context the two tables. The answer is 0, or 1 above 32 bits that
    /// have to be added to the checksum (RFC 1624).
    /// </summary>
    public static ProgramContract OwnContract { get; } = new(
        "handshake", [ArgumentContract.MemoryPointer, ArgumentContract.Scalar(0, ushort.MaxValue), ArgumentContract.ContextPointer],
        RegionContract.Exactly(OwnMemoryBytes, isWritable: true), RegionContract.Exactly(OwnTableBytes, isWritable: true),
        helpers: [new HelperContract(KernelTime, "time in ns", 0), new HelperContract(ProcessorNumber, "number of the processor", 0)]);

    public const int OwnMemoryBytes = HeadersV6 + TcpOptions.BytesMax + AnswerTable.ResponseBytesMax + 8;

    /// <summary>The farewell table, and behind it that of answers.</summary>
    public const int OwnTableBytes = FarewellTable.SizeBytes + AnswerTable.SizeBytes;

    public static Program ForIngress(HandshakeAnswer answer) => new HandshakeProgram(answer, Place.Ingress).Write();

    public static Program ForReceive(HandshakeAnswer answer) => new HandshakeProgram(answer, Place.Receive).Write();

    public static Program ForOwnMachine(HandshakeAnswer answer) => new HandshakeProgram(answer, Place.Own).Write();

    private Program Write()
    {
        code.AluRegister(Opcodes.Move, Context, 1);
        if (place == Place.Own)
        {
            code.AluRegister(Opcodes.Move, 0, 2);
            code.Store(Frame, Table, 3, 8);
            for (int at = EthernetV6 - 2; at < Tcp + TcpSegment.FixedBytes; at += 8)
            {
                code.StoreImmediate(Frame, at, 0, 8);   // our verifier takes both families together at times, and then knows of neither what it has written
            }
        }
        else
        {
            code.Load(0, Context, ContextVlan, 4);
            code.JumpIf(Opcodes.JumpNotEqual, 0, 0, 1, pass);
            code.Load(0, Context, ContextProtocol, 4);
        }

        // Without an address of a family no code for it: the kernel refuses what nothing reaches.
        int common = code.Label();
        foreach ((bool v4, EtherType type) in (ReadOnlySpan<(bool, EtherType)>)[(true, EtherType.Ipv4), (false, EtherType.Ipv6)])
        {
            if (answer.Addresses.Any(own => own.Address.IsV4 == v4))
            {
                int other = code.Label();
                code.JumpIf(Opcodes.JumpNotEqual, 0, Network((ushort)type), 1, other);
                Recognise(v4);
                code.Jump(common);
                code.Bind(other);
            }
        }

        code.Jump(pass);
        code.Bind(common);
        RecogniseTcp();
        WalkOptions();
        if (place == Place.Receive)
        {
            code.Jump(leaveOut);
            if (AnswersRequests)
            {
                code.Bind(farewell);
                RecogniseFarewell();
                code.Bind(request);
                RecogniseRequest();
            }

            code.Bind(leaveOut);
            code.Alu(Opcodes.Move, 0, 0);
            code.Exit();
            code.Bind(pass);
            code.Alu(Opcodes.Move, 0, -1);   // all of it
            code.Exit();
        }
        else
        {
            Compute();
            AnswerSyn();
            Send();
            code.Bind(farewell);
            RecogniseFarewell();
            AnswerFarewell();
            Send();
            if (AnswersRequests)
            {
                code.Bind(request);
                RecogniseRequest();
                AnswerRequest();
            }

            code.Bind(pass);
            code.Alu(Opcodes.Move, 0, place == Place.Own ? 0 : NextProgram);
            code.Exit();
        }

        return code.ToProgram()!;
    }

    // From the packet into the frame; on failure the packet goes its way.
    private void LoadPacket(int from, int to, int lengthBytes)
    {
        if (place == Place.Own)
        {
            Copy(Context, from, Frame, to, lengthBytes);
            return;
        }

        code.AluRegister(Opcodes.Move, 1, Context);
        code.Alu(Opcodes.Move, 2, from);
        Address(3, to);
        code.Alu(Opcodes.Move, 4, lengthBytes);
        code.Call(LoadBytes);
        code.JumpIf(Opcodes.JumpNotEqual, 0, 0, 1, pass);
    }

    private void Recognise(bool v4)
    {
        if (v4)
        {
            RecogniseV4();
        }
        else
        {
            RecogniseV6();
        }
    }

    private void RecogniseV4()
    {
        LoadPacket(0, EthernetV4, HeadersV4);
        RecogniseEthernet(EthernetV4);
        Unless(IpV4, 0x45, 1);
        code.LoadBigEndian(0, Frame, IpV4 + 6, 2);
        code.Alu(Opcodes.And, 0, 0x3FFF);
        code.JumpIf(Opcodes.JumpNotEqual, 0, 0, 1, pass);
        Unless(IpV4 + 9, (ulong)IpProtocol.Tcp, 1);

        // The header's checksum.
        code.Alu(Opcodes.Move, 0, 0);
        Sum(0, IpV4, Ipv4Packet.SizeBytes);
        Fold16(0);
        code.JumpIf(Opcodes.JumpNotEqual, 0, 0xFFFF, 1, pass);

        // From a host, and not from all hosts of a link.
        code.Load(0, Frame, IpV4 + 12, 1);
        code.JumpIf(Opcodes.JumpEqual, 0, 0, 1, pass);
        code.JumpIf(Opcodes.JumpEqual, 0, 127, 1, pass);
        code.JumpIf(Opcodes.JumpGreaterOrEqual, 0, 224, 1, pass);
        code.LoadBigEndian(0, Frame, IpV4 + 12, 4);
        foreach (InterfaceAddress own in answer.Addresses)
        {
            if (own.Address.IsV4 && own.PrefixBits < 31)
            {
                code.JumpIf(Opcodes.JumpEqual, 0, own.Address.V4 | (uint.MaxValue >> own.PrefixBits), 1, pass);
            }
        }

        RecogniseOwn(v4: true, () => code.LoadBigEndian(0, Frame, IpV4 + 16, 4));
        code.Wide(1, InternetAddress.FromV4(0).Low);
        code.Alu(Opcodes.Move, 2, 0);
        code.AluRegister(Opcodes.Or, 0, 1);
        code.Store(Frame, Words, 2, 8);
        code.Store(Frame, Words + 8, 0, 8);
        code.LoadBigEndian(0, Frame, IpV4 + 12, 4);
        code.AluRegister(Opcodes.Or, 0, 1);
        code.Store(Frame, Words + 16, 2, 8);
        code.Store(Frame, Words + 24, 0, 8);

        code.LoadBigEndian(0, Frame, IpV4 + 2, 2);
        code.Alu(Opcodes.Subtract, 0, Ipv4Packet.SizeBytes);
        code.Alu(Opcodes.Move, TcpAt, EthernetFrame.SizeBytes + Ipv4Packet.SizeBytes);
    }

    private void RecogniseV6()
    {
        LoadPacket(0, EthernetV6, HeadersV6);
        RecogniseEthernet(EthernetV6);
        code.Load(0, Frame, IpV6, 1);
        code.Alu(Opcodes.ShiftRight, 0, 4);
        code.JumpIf(Opcodes.JumpNotEqual, 0, 6, 1, pass);
        Unless(IpV6 + 6, (ulong)IpProtocol.Tcp, 1);

        // From a host: no group, no ::1, no :: and no IPv4 address.
        Unless(IpV6 + 8, 0xFF, 1, Opcodes.JumpEqual);
        code.LoadBigEndian(2, Frame, IpV6 + 8, 8);
        code.JumpIf(Opcodes.JumpEqual, 2, 0, 1, pass);
        code.LoadBigEndian(3, Frame, IpV6 + 16, 8);
        code.Store(Frame, Words + 16, 2, 8);
        code.Store(Frame, Words + 24, 3, 8);
        code.LoadBigEndian(2, Frame, IpV6 + 24, 8);
        RecogniseOwn(v4: false, () => code.LoadBigEndian(0, Frame, IpV6 + 32, 8));
        code.Store(Frame, Words, 2, 8);
        code.Store(Frame, Words + 8, 0, 8);
        code.LoadBigEndian(0, Frame, IpV6 + 4, 2);
        code.Alu(Opcodes.Move, TcpAt, EthernetFrame.SizeBytes + Ipv6Packet.SizeBytes);
    }

    private void RecogniseEthernet(int at)
    {
        ulong own = answer.Hardware.Value;
        Unless(at, Network((ushort)(own >> 32)), 2);
        Unless(at + 2, Network((uint)own), 4);
        code.Load(0, Frame, at + 6, 1);
        code.Alu(Opcodes.And, 0, 1);
        code.JumpIf(Opcodes.JumpNotEqual, 0, 0, 1, pass);
    }

    // r0: an IPv4 address, or the lower half of one whose upper half is in r2.
    private void RecogniseOwn(bool v4, Action load)
    {
        int found = code.Label();
        load();
        foreach (InterfaceAddress own in answer.Addresses)
        {
            if (own.Address.IsV4 != v4)
            {
                continue;
            }

            int other = code.Label();
            if (!v4)
            {
                code.Wide(1, own.Address.High);
                code.JumpIfRegister(Opcodes.JumpNotEqual, 2, 1, other);
            }

            code.JumpIf(Opcodes.JumpEqual, 0, v4 ? own.Address.V4 : own.Address.Low, 1, found);
            code.Bind(other);
        }

        code.Jump(pass);
        code.Bind(found);
    }

    // r0: bytes behind the IP header.
    private void RecogniseTcp()
    {
        code.LoadBigEndian(1, Frame, Tcp + 2, 2);
        int isPort = code.Label();
        foreach (ushort port in answer.Ports)
        {
            code.JumpIf(Opcodes.JumpEqual, 1, port, 2, isPort);
        }

        code.Jump(pass);
        code.Bind(isPort);
        int isKind = code.Label();
        code.Load(1, Frame, Tcp + 13, 1);
        if (AnswersRequests)
        {
            code.JumpIf(Opcodes.JumpEqual, 1, (ulong)(TcpFlags.Ack | TcpFlags.Psh), 2, request);
            code.JumpIf(Opcodes.JumpEqual, 1, (ulong)TcpFlags.Ack, 2, request);
        }

        code.Alu(Opcodes.And, 1, 0x3F);
        if (TakesFarewells)
        {
            code.JumpIf(Opcodes.JumpEqual, 1, (ulong)(TcpFlags.Fin | TcpFlags.Ack), 2, isKind);
        }

        code.JumpIf(Opcodes.JumpNotEqual, 1, (ulong)TcpFlags.Syn, 2, pass);
        code.Bind(isKind);
        code.Load(OptionBytes, Frame, Tcp + 12, 1);
        code.Alu(Opcodes.ShiftRight, OptionBytes, 4);
        code.Alu(Opcodes.ShiftLeft, OptionBytes, 2);
        code.JumpIfRegister(Opcodes.JumpNotEqual, 0, OptionBytes, pass);   // no payload
        code.JumpIf(Opcodes.JumpLessOrEqual, OptionBytes, TcpSegment.FixedBytes, 1, pass);
        code.Alu(Opcodes.Subtract, OptionBytes, TcpSegment.FixedBytes);
        code.JumpIf(Opcodes.JumpGreater, OptionBytes, TcpOptions.BytesMax, 1, pass);
        ClearOptions(OptionsRoom);

        if (place == Place.Own)
        {
            InEither(() => Copy(Context, HeadersV4, Frame, Options, TcpOptions.BytesMax), () => Copy(Context, HeadersV6, Frame, Options, TcpOptions.BytesMax));
            return;
        }

        code.AluRegister(Opcodes.Move, 1, Context);
        code.AluRegister(Opcodes.Move, 2, TcpAt);
        code.Alu(Opcodes.Add, 2, TcpSegment.FixedBytes);
        Address(3, Options);
        code.AluRegister(Opcodes.Move, 4, OptionBytes);
        code.Call(LoadBytes);
        code.JumpIf(Opcodes.JumpNotEqual, 0, 0, 1, pass);
    }

    // One piece of code for each place where an option can begin, so that every access is to a fixed place of the frame: r9 is where the next one does begin.
    private void WalkOptions()
    {
        int done = code.Label();
        if (TakesFarewells)
        {
            code.Load(0, Frame, Tcp + 13, 1);
            code.Alu(Opcodes.And, 0, (int)TcpFlags.Fin);
            code.JumpIf(Opcodes.JumpNotEqual, 0, 0, 1, farewell);
        }

        code.Store(Frame, Length, OptionBytes, 4);
        code.StoreImmediate(Frame, SegmentBytes, 0, 4);
        code.StoreImmediate(Frame, Scale, 15, 4);
        code.StoreImmediate(Frame, Sack, 0, 4);
        code.StoreImmediate(Frame, Stamp, 0, 4);
        code.StoreImmediate(Frame, HasStamps, 0, 4);
        code.Alu(Opcodes.Move, Next, 0);
        for (int at = 0; at < TcpOptions.BytesMax; at++)
        {
            int over = code.Label(), padding = code.Label();
            code.JumpIf(Opcodes.JumpNotEqual, Next, (ulong)at, 1, over);
            code.Load(0, Frame, Options + at, 1);
            code.JumpIf(Opcodes.JumpEqual, 0, 0, 1, done);
            code.JumpIf(Opcodes.JumpEqual, 0, 1, 1, padding);
            code.Load(2, Frame, Options + at + 1, 1);
            code.JumpIf(Opcodes.JumpLess, 2, 2, 1, pass);
            code.AluRegister(Opcodes.Add, Next, 2);
            Option(at, kind: 2, lengthBytes: 4, over, SegmentBytes, 2);
            Option(at, kind: 3, lengthBytes: 3, over, Scale, 1);
            Option(at, kind: 4, lengthBytes: 2, over, Sack, 0);
            Option(at, kind: 8, lengthBytes: 10, over, Stamp, 4);
            code.JumpIf(Opcodes.JumpEqual, 0, 5, 1, pass);   // blocks of bytes that have come, in a SYN: a riddle for the stack
            code.Jump(over);
            code.Bind(padding);
            code.Alu(Opcodes.Add, Next, 1);
            code.Bind(over);
        }

        // Behind the options are zeros, which end them: an option that leaves them shows only now.
        code.Bind(done);
        code.Load(OptionBytes, Frame, Length, 4);
        code.JumpIfRegister(Opcodes.JumpGreater, Next, OptionBytes, pass);
        code.Load(0, Frame, HasStamps, 4);
        code.JumpIf(Opcodes.JumpEqual, 0, 0, 1, pass);
    }

    // An option whose kind is in r0 and whose length is in r2, if it is of this kind.
    private void Option(int at, int kind, int lengthBytes, int over, int slot, int valueBytes)
    {
        int other = code.Label();
        code.JumpIf(Opcodes.JumpNotEqual, 0, (ulong)kind, 1, other);
        code.JumpIf(Opcodes.JumpNotEqual, 2, (ulong)lengthBytes, 1, pass);
        code.Alu(Opcodes.Move, 0, 16);   // the bit of SACK
        for (int i = 0; i < valueBytes; i++)
        {
            code.Load(i == 0 ? 0 : 2, Frame, Options + at + 2 + i, 1);
            if (i > 0)
            {
                code.Alu(Opcodes.ShiftLeft, 0, 8);
                code.AluRegister(Opcodes.Or, 0, 2);
            }
        }

        if (slot == Scale)
        {
            int small = code.Label();
            code.JumpIf(Opcodes.JumpLessOrEqual, 0, 14, 1, small);
            code.Alu(Opcodes.Move, 0, 14);
            code.Bind(small);
        }

        code.Store(Frame, slot, 0, 4);
        if (slot == Stamp)
        {
            code.StoreImmediate(Frame, HasStamps, 1, 4);
        }

        code.Jump(over);
        code.Bind(other);
    }

    // Cookie and timestamp, as SynCookies and PassiveOpen have them.
    private void Compute()
    {
        ReadTime();
        code.AluRegister(Opcodes.Move, Time, 0);
        StorePorts();

        // r9: the size's place in the table.
        int sized = code.Label();
        code.Load(1, Frame, SegmentBytes, 4);
        code.Alu(Opcodes.Move, Next, 0);
        for (int index = 1; index < SynCookies.SegmentSizes.Length; index++)
        {
            code.JumpIf(Opcodes.JumpLess, 1, SynCookies.SegmentSizes[index], 2, sized);
            code.Alu(Opcodes.Move, Next, index);
        }

        code.Bind(sized);
        code.AluRegister(Opcodes.Move, 0, Time);
        code.Alu(Opcodes.Divide, 0, (int)SynCookies.TickUs);
        code.Alu(Opcodes.And, 0, 0xFFF_FFFF);
        code.AluRegister(Opcodes.Move, 1, 0);
        code.Alu(Opcodes.And, 1, 31);
        code.Alu(Opcodes.ShiftLeft, 1, 27);
        code.AluRegister(Opcodes.Move, 2, Next);
        code.Alu(Opcodes.ShiftLeft, 2, 24);
        code.AluRegister(Opcodes.Or, 1, 2);
        code.Store(Frame, Cookie, 1, 8);
        code.Alu(Opcodes.ShiftLeft, 0, TickShift);
        code.Alu(Opcodes.ShiftLeft, Next, 32);
        code.AluRegister(Opcodes.Or, 0, Next);
        code.LoadBigEndian(1, Frame, Tcp + 4, 4);
        code.AluRegister(Opcodes.Or, 0, 1);
        code.Store(Frame, Words + 40, 0, 8);
        HashCookie();
        code.Alu(Opcodes.And, 0, 0xFF_FFFF);
        code.Load(1, Frame, Cookie, 8);
        code.AluRegister(Opcodes.Or, 0, 1);
        code.Store(Frame, Cookie, 0, 8);

        code.StoreImmediate(Frame, Words + 40, 1, 8);
        Hash(answer.Offsets);
        code.AluRegister(Opcodes.Move, 1, Time);
        code.Alu(Opcodes.Divide, 1, 1000);
        code.AluRegister(Opcodes.Add, 0, 1);   // the clock
        code.Load(2, Frame, Scale, 4);
        code.Load(1, Frame, Sack, 4);
        code.AluRegister(Opcodes.Or, 2, 1);
        code.AluRegister(Opcodes.Move, 1, 0);
        code.Alu(Opcodes.And, 1, 31);
        code.Alu(Opcodes.And, 0, ~31);
        code.AluRegister(Opcodes.Or, 0, 2);
        int behind = code.Label();
        code.JumpIfRegister(Opcodes.JumpLessOrEqual, 2, 1, behind);
        code.Alu(Opcodes.Subtract, 0, 32);   // never ahead of the clock
        code.Bind(behind);
        code.Store(Frame, OwnStamp, 0, 8);
    }

    // The stack's clock into r0, in microseconds.
    private void ReadTime()
    {
        code.Call(KernelTime);
        code.Wide(1, (ulong)answer.OriginNs);
        code.AluRegister(Opcodes.Subtract, 0, 1);
        code.Alu(Opcodes.Divide, 0, 1000);
    }

    private void StorePorts()
    {
        code.LoadBigEndian(0, Frame, Tcp + 2, 2);
        code.Alu(Opcodes.ShiftLeft, 0, 16);
        code.LoadBigEndian(1, Frame, Tcp, 2);
        code.AluRegister(Opcodes.Or, 0, 1);
        code.Store(Frame, Words + 32, 0, 8);
    }

    // Nothing but timestamps as options, a slot of the table that says so, and the numbers that it names: then the slot is claimed, or the stack has it.
    private void RecogniseFarewell()
    {
        code.JumpIf(Opcodes.JumpNotEqual, OptionBytes, TcpOptions.TimestampsBytes, 1, pass);
        code.LoadBigEndian(0, Frame, Options, 4);
        code.JumpIf(Opcodes.JumpNotEqual, 0, 0x0101_080A, 1, pass);
        StorePorts();
        int isAnswered = code.Label();
        if (AnswersRequests)
        {
            RecogniseBriefFarewell(isAnswered);
            if (place == Place.Receive)
            {
                return;
            }
        }

        code.StoreImmediate(Frame, Words + 40, 1, 8);
        Hash(answer.Offsets);
        code.AluRegister(Opcodes.Move, 9, 0);
        code.AluRegister(Opcodes.Move, 1, 0);
        code.Alu(Opcodes.ShiftRight, 1, 32);
        code.Alu(Opcodes.And, 1, FarewellTable.Slots - 1);
        code.Alu(Opcodes.Multiply, 1, FarewellTable.SlotBytes);
        FarewellsAddress(2);
        code.AluRegister(Opcodes.Add, 2, 1);
        code.Alu(Opcodes.Or, 0, 3);
        code.Load(3, 2, 0, 8);
        code.JumpIfRegister(Opcodes.JumpNotEqual, 3, 0, pass);
        code.Load(3, 2, 8, 4);
        code.LoadBigEndian(4, Frame, Tcp + 8, 4);
        code.JumpIfRegister(Opcodes.JumpNotEqual, 3, 4, pass);
        code.Load(3, 2, 12, 4);
        code.LoadBigEndian(4, Frame, Tcp + 4, 4);
        code.JumpIfRegister(Opcodes.JumpNotEqual, 3, 4, pass);
        code.AluRegister(Opcodes.Move, 3, 0);
        code.Alu(Opcodes.Xor, 3, 1);
        code.AluRegister(Opcodes.Move, 4, 0);
        code.CompareExchange(2, 0, 3);
        code.JumpIfRegister(Opcodes.JumpNotEqual, 0, 4, pass);
        ReadTime();
        code.Alu(Opcodes.Divide, 0, 1000);
        code.AluRegister(Opcodes.Add, 0, 9);
        code.Store(Frame, OwnStamp, 0, 8);
        code.Bind(isAnswered);
    }

    private void AnswerFarewell()
    {
        SwapNames();
        code.Load(0, Frame, Tcp + 8, 4);
        code.LoadBigEndian(1, Frame, Tcp + 4, 4);
        code.Store(Frame, Tcp + 4, 0, 4);
        code.Alu(Opcodes.Add, 1, 1);
        code.Swap(1, 4);
        code.Store(Frame, Tcp + 8, 1, 4);
        WriteFlags(TcpFlags.Ack);
        code.Load(0, Frame, Options + 4, 4);
        code.Store(Frame, Options + 8, 0, 4);
        code.Load(0, Frame, OwnStamp, 8);
        code.Swap(0, 4);
        code.Store(Frame, Options + 4, 0, 4);
    }

    // SipHash-2-4 of the six words into r0; r0 to r3 are its state.
    private void Hash(SipHash hash)
    {
        code.Wide(0, hash.Key0 ^ SipHash.Initial0);
        code.Wide(1, hash.Key1 ^ SipHash.Initial1);
        code.Wide(2, hash.Key0 ^ SipHash.Initial2);
        code.Wide(3, hash.Key1 ^ SipHash.Initial3);
        HashWords();
    }

    // The same by the secret that the tick in the last word says (CookieSecrets).
    private void HashCookie()
    {
        FarewellsAddress(4);
        code.Load(5, Frame, Words + 40, 8);
        code.Alu(Opcodes.ShiftRight, 5, TickShift + CookieSecrets.TickBits);
        code.Alu(Opcodes.And, 5, CookieSecrets.Places - 1);
        code.Alu(Opcodes.Multiply, 5, FarewellTable.SecretBytes);
        code.AluRegister(Opcodes.Add, 4, 5);
        code.Alu(Opcodes.Add, 4, FarewellTable.SecretsAt);
        code.Load(0, 4, 0, 8);
        code.Load(1, 4, 8, 8);
        code.AluRegister(Opcodes.Move, 2, 0);
        code.AluRegister(Opcodes.Move, 3, 1);
        foreach ((int register, ulong initial) in (ReadOnlySpan<(int, ulong)>)[(0, SipHash.Initial0), (1, SipHash.Initial1), (2, SipHash.Initial2), (3, SipHash.Initial3)])
        {
            code.Wide(5, initial);
            code.AluRegister(Opcodes.Xor, register, 5);
        }

        HashWords();
    }

    private void FarewellsAddress(int register)
    {
        if (place == Place.Own)
        {
            code.Load(register, Frame, Table, 8);
        }
        else
        {
            code.Wide(register, (uint)answer.Farewells, PseudoMapValue);
        }
    }

    private void HashWords()
    {
        for (int word = 0; word <= 6; word++)
        {
            if (word < 6)
            {
                code.Load(5, Frame, Words + (8 * word), 8);
            }
            else
            {
                code.Wide(5, 48UL << 56);   // their length in bytes
            }

            code.AluRegister(Opcodes.Xor, 3, 5);
            Rounds(2);
            code.AluRegister(Opcodes.Xor, 0, 5);
        }

        code.Alu(Opcodes.Xor, 2, 0xFF);
        Rounds(4);
        code.AluRegister(Opcodes.Xor, 0, 1);
        code.AluRegister(Opcodes.Xor, 2, 3);
        code.AluRegister(Opcodes.Xor, 0, 2);
    }

    private void Rounds(int count)
    {
        for (int i = 0; i < count; i++)
        {
            code.AluRegister(Opcodes.Add, 0, 1);
            code.AluRegister(Opcodes.Add, 2, 3);
            Rotate(1, 13);
            code.AluRegister(Opcodes.Xor, 1, 0);
            Rotate(3, 16);
            code.AluRegister(Opcodes.Xor, 3, 2);
            Rotate(0, 32);
            code.AluRegister(Opcodes.Add, 2, 1);
            code.AluRegister(Opcodes.Add, 0, 3);
            Rotate(1, 17);
            code.AluRegister(Opcodes.Xor, 1, 2);
            Rotate(3, 21);
            code.AluRegister(Opcodes.Xor, 3, 0);
            Rotate(2, 32);
        }
    }

    private void Rotate(int register, int bits)
    {
        code.AluRegister(Opcodes.Move, 4, register);
        code.Alu(Opcodes.ShiftLeft, 4, bits);
        code.Alu(Opcodes.ShiftRight, register, 64 - bits);
        code.AluRegister(Opcodes.Or, register, 4);
    }

    // The headers in the frame become those of the answer.
    private void AnswerSyn()
    {
        code.Load(OptionBytes, Frame, Length, 4);
        code.JumpIf(Opcodes.JumpEqual, OptionBytes, 0, 1, pass);
        code.JumpIf(Opcodes.JumpGreater, OptionBytes, TcpOptions.BytesMax, 1, pass);   // neither is so, but nothing is known of what lay in the frame
        SwapNames();
        code.LoadBigEndian(0, Frame, Tcp + 4, 4);
        code.Alu(Opcodes.Add, 0, 1);
        code.Swap(0, 4);
        code.Store(Frame, Tcp + 8, 0, 4);
        code.Load(0, Frame, Cookie, 8);
        code.Swap(0, 4);
        code.Store(Frame, Tcp + 4, 0, 4);
        WriteFlags(TcpFlags.Syn | TcpFlags.Ack);
        WriteOptions();
    }

    private void WriteFlags(TcpFlags flags)
    {
        code.Load(0, Frame, Tcp + 12, 1);
        code.Alu(Opcodes.And, 0, 0xF0);
        code.Store(Frame, Tcp + 12, 0, 1);
        code.StoreImmediate(Frame, Tcp + 13, (byte)flags, 1);
        code.StoreImmediate(Frame, Tcp + 14, Network(answer.WindowBytes), 2);
        code.StoreImmediate(Frame, Tcp + 18, 0, 2);
    }

    // The answer begins: the old sum is kept, and who speaks to whom is turned round.
    private void SwapNames()
    {
        SumTcp(0);
        code.Store(Frame, OldSum, 0, 8);
        InEither(AnswerV4, AnswerV6);
        code.Load(0, Frame, Tcp, 2);
        code.Load(1, Frame, Tcp + 2, 2);
        code.Store(Frame, Tcp, 1, 2);
        code.Store(Frame, Tcp + 2, 0, 2);
    }

    private void Send()
    {
        // What has to be added to the sum: new - old in one's complement, 32 bits wide.
        SumTcp(9);
        code.Load(1, Frame, OldSum, 8);
        code.Wide(2, uint.MaxValue);
        code.AluRegister(Opcodes.Xor, 1, 2);
        code.AluRegister(Opcodes.Add, 9, 1);
        Fold32(9);
        InEither(() => StorePacket(EthernetV4, HeadersV4), () => StorePacket(EthernetV6, HeadersV6));
        if (place == Place.Own)
        {
            code.Wide(0, 1UL << 32);
            code.AluRegister(Opcodes.Or, 0, 9);
            code.Exit();
            return;
        }

        code.AluRegister(Opcodes.Move, 1, Context);
        code.AluRegister(Opcodes.Move, 2, TcpAt);
        code.Alu(Opcodes.Add, 2, TcpSegment.FixedBytes);
        Address(3, Options);
        code.AluRegister(Opcodes.Move, 4, OptionBytes);
        code.Alu(Opcodes.Move, 5, 0);
        code.Call(StoreBytes);
        code.AluRegister(Opcodes.Move, 1, Context);
        code.AluRegister(Opcodes.Move, 2, TcpAt);
        code.Alu(Opcodes.Add, 2, TcpSegment.ChecksumOffset);
        code.Alu(Opcodes.Move, 3, 0);
        code.AluRegister(Opcodes.Move, 4, 9);
        code.Alu(Opcodes.Move, 5, 0);
        code.Call(CorrectTcpSum);
        code.Load(1, Context, ContextInterface, 4);
        code.Alu(Opcodes.Move, 2, 0);
        code.Call(Redirect);
        code.Exit();
    }

    private void AnswerV4()
    {
        SwapHardware(EthernetV4);
        code.StoreImmediate(Frame, IpV4 + 1, 0, 1);
        code.StoreImmediate(Frame, IpV4 + 4, (int)Network(0x0000_4000u), 4);   // no identification: never in pieces
        code.StoreImmediate(Frame, IpV4 + 8, 64, 1);
        code.StoreImmediate(Frame, IpV4 + 10, 0, 2);
        code.Load(0, Frame, IpV4 + 12, 4);
        code.Load(1, Frame, IpV4 + 16, 4);
        code.Store(Frame, IpV4 + 12, 1, 4);
        code.Store(Frame, IpV4 + 16, 0, 4);
        code.Alu(Opcodes.Move, 0, 0);
        Sum(0, IpV4, Ipv4Packet.SizeBytes);
        Fold16(0);
        code.Alu(Opcodes.Xor, 0, 0xFFFF);
        code.Store(Frame, IpV4 + 10, 0, 2);
    }

    private void AnswerV6()
    {
        SwapHardware(EthernetV6);
        code.StoreImmediate(Frame, IpV6, (int)Network(0x6000_0000u), 4);
        code.StoreImmediate(Frame, IpV6 + 7, 64, 1);
        for (int half = 8; half <= 16; half += 8)
        {
            code.Load(0, Frame, IpV6 + half, 8);
            code.Load(1, Frame, IpV6 + half + 16, 8);
            code.Store(Frame, IpV6 + half, 1, 8);
            code.Store(Frame, IpV6 + half + 16, 0, 8);
        }
    }

    private void SwapHardware(int at)
    {
        for (int i = 0; i < 6; i += 2)
        {
            code.Load(0, Frame, at + i, 2);
            code.Load(1, Frame, at + 6 + i, 2);
            code.Store(Frame, at + i, 1, 2);
            code.Store(Frame, at + 6 + i, 0, 2);
        }
    }

    // As TcpOptions.Emit, and zeros up to the length that the SYN's options had; there is room, for each option here is in the SYN too.
    private void WriteOptions()
    {
        ClearOptions(TcpOptions.BytesMax);

        int done = code.Label();
        foreach ((bool hasSize, bool hasScale) in (ReadOnlySpan<(bool, bool)>)[(true, true), (true, false), (false, true), (false, false)])
        {
            int other = code.Label();
            code.Load(0, Frame, SegmentBytes, 4);
            code.JumpIf(hasSize ? Opcodes.JumpEqual : Opcodes.JumpNotEqual, 0, 0, 1, other);
            code.Load(0, Frame, Scale, 4);
            code.JumpIf(hasScale ? Opcodes.JumpEqual : Opcodes.JumpNotEqual, 0, 15, 1, other);
            int at = Options;
            if (hasSize)
            {
                InEither(
                    () => code.StoreImmediate(Frame, at, (int)Network(0x0204_0000u | answer.SegmentBytesV4), 4), () => code.StoreImmediate(Frame, at, (int)Network(0x0204_0000u | answer.SegmentBytesV6), 4));
                at += 4;
            }

            if (hasScale)
            {
                code.StoreImmediate(Frame, at, (int)Network(0x0103_0300u | answer.WindowScale), 4);
                at += 4;
            }

            int plain = code.Label();
            code.StoreImmediate(Frame, at, (int)Network(0x0101_080Au), 4);
            code.Load(0, Frame, Sack, 4);
            code.JumpIf(Opcodes.JumpEqual, 0, 0, 1, plain);
            code.StoreImmediate(Frame, at, (int)Network(0x0402_080Au), 4);
            code.Bind(plain);
            code.Load(0, Frame, OwnStamp, 8);
            code.Swap(0, 4);
            code.Store(Frame, at + 4, 0, 4);
            code.Load(0, Frame, Stamp, 4);
            code.Swap(0, 4);
            code.Store(Frame, at + 8, 0, 4);
            code.Jump(done);
            code.Bind(other);
        }

        code.Bind(done);
    }

    private void StorePacket(int from, int lengthBytes)
    {
        if (place == Place.Own)
        {
            Copy(Frame, from, Context, 0, lengthBytes);
            Copy(Frame, Options, Context, lengthBytes, TcpOptions.BytesMax);
            return;
        }

        code.AluRegister(Opcodes.Move, 1, Context);
        code.Alu(Opcodes.Move, 2, 0);
        Address(3, from);
        code.Alu(Opcodes.Move, 4, lengthBytes);
        code.Alu(Opcodes.Move, 5, 0);   // the sum of the whole packet stays: what changes under a checksum, the checksum makes up for
        code.Call(StoreBytes);
    }

    private void ClearOptions(int lengthBytes)
    {
        for (int at = 0; at < lengthBytes; at += 8)
        {
            code.StoreImmediate(Frame, Options + at, 0, 8);
        }
    }

    private void SumTcp(int into)
    {
        code.Alu(Opcodes.Move, into, 0);
        Sum(into, Tcp, TcpSegment.FixedBytes);
        Sum(into, Options, TcpOptions.BytesMax);
        Fold32(into);
    }

    // Adds words of the frame, in the machine's byte order, of which a one's complement sum knows nothing.
    private void Sum(int into, int at, int lengthBytes)
    {
        for (int i = 0; i < lengthBytes; i += 4)
        {
            code.Load(1, Frame, at + i, 4);
            code.AluRegister(Opcodes.Add, into, 1);
        }
    }

    private void Fold32(int register)
    {
        for (int i = 0; i < 2; i++)
        {
            code.AluRegister(Opcodes.Move, 1, register);
            code.Alu(Opcodes.ShiftRight, 1, 32);
            code.Wide(2, uint.MaxValue);
            code.AluRegister(Opcodes.And, register, 2);
            code.AluRegister(Opcodes.Add, register, 1);
        }
    }

    private void Fold16(int register)
    {
        Fold32(register);
        for (int i = 0; i < 3; i++)
        {
            code.AluRegister(Opcodes.Move, 1, register);
            code.Alu(Opcodes.ShiftRight, 1, 16);
            code.Alu(Opcodes.And, register, 0xFFFF);
            code.AluRegister(Opcodes.Add, register, 1);
        }
    }

    private void InEither(Action v4, Action v6)
    {
        int other = code.Label(), end = code.Label();
        code.JumpIf(Opcodes.JumpNotEqual, TcpAt, EthernetFrame.SizeBytes + Ipv4Packet.SizeBytes, 1, other);
        v4();
        code.Jump(end);
        code.Bind(other);
        v6();
        code.Bind(end);
    }

    private void Unless(int at, ulong value, int widthBytes, byte refused = Opcodes.JumpNotEqual)
    {
        code.Load(0, Frame, at, widthBytes);
        code.JumpIf(refused, 0, value, 1, pass);
    }

    private void Copy(int fromPointer, int from, int toPointer, int to, int lengthBytes)
    {
        for (int i = 0; i < lengthBytes; i += 2)
        {
            code.Load(0, fromPointer, from + i, 2);
            code.Store(toPointer, to + i, 0, 2);
        }
    }

    private void Address(int register, int at)
    {
        code.AluRegister(Opcodes.Move, register, Frame);
        code.Alu(Opcodes.Add, register, at);
    }

    // A field in network byte order as a number of the machine.
    private static ushort Network(ushort value) => BinaryPrimitives.ReverseEndianness(value);

    private static uint Network(uint value) => BinaryPrimitives.ReverseEndianness(value);
}
