// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Exo.Core.Net;
using Exo.Net.Cheetah.Http;

namespace Exo.Net.Cheetah.Tcp.Answers;

/// <summary>
/// What a handler answers requests from where packets come in, in memory that it shares with the stack: requests byte for byte, their responses with their sums, and the
/// connections that the stack has lent it (<see cref="Handshake.HandshakeProgram"/> reads and writes the same).
/// <code>
///   0      epoch, number of the date     |  16 dates, the one that holds and those before it
///   4096   a scratch area for each processor: the request that came; what it has answered; the terms of a connection that has just begun
///          connections, 128 bytes each: who, sequence numbers, what was answered last     found by their names, one place for each
///          answers, 2688 bytes each: a request, its response                              found by the request's bytes, one place for each
///          brief connections, 64 bytes each (<see cref="BriefConnection"/>)               found by their names, one place for each
/// </code>
/// <para><b>Connections.</b> One word decides who has one: <c>number * 4 + 1</c> = lent, <c>+ 2</c> = the handler is answering, 0 = the stack's. Both sides take it by compare and exchange; the
/// number differs each time a place is lent, so what was read before the word was taken is of the same loan.</para>
/// <para><b>Answers.</b> One holds while its epoch is that of the table: all of them cease to hold by one store (<see cref="Withdraw"/>). Before bytes of an answer change it ceases to hold, and
/// the readers that counted themselves in before are waited for: they are programs that run to their end.</para>
/// <para><b>Dates.</b> A second later the next of 16 places is written and then named, so a reader would have to stand still for 15 s within a program to see one change.</para>
/// </summary>
internal sealed unsafe class AnswerTable : IDisposable
{
    // The layout, for the program too.
    public const int RequestBytesMax = 1024, ResponseBytesMax = 1448, Connections = 4096, Answers = 1024, Processors = 64;
    public const int EpochAt = 0, DateNumberAt = 64, DatesAt = 128, DateBytes = 64, Dates = 16, DateSumAt = 32, DateOddSumAt = 36, DateSecondsAt = 40;
    public const int ScratchAt = 4096, ScratchBytes = 1216, AnsweredAt = 1040, AnsweredBytesAt = 1048, AnsweredBodyBytesAt = 1056, AnsweredConnectionsAt = 1064, TermsAt = 1088;
    public const int ConnectionsAt = ScratchAt + (Processors * ScratchBytes), ConnectionBytes = 128;
    public const int AnswersAt = ConnectionsAt + (Connections * ConnectionBytes), AnswerBytes = 2688;
    public const int AnswerEpochAt = 0, ReadersAt = 8, RequestLengthAt = 16, ResponseLengthAt = 20, RequestSumAt = 24, ResponseSumAt = 28, DatePlaceAt = 32, BodyLengthAt = 36, UsedAt = 40, NumberAt = 48, PlaceAt = 56, ClosesAt = 60;
    public const int RequestAt = 128, ResponseAt = 128 + 1088;
    public const int BriefsAt = AnswersAt + (Answers * AnswerBytes), Briefs = 1 << BriefBits, BriefBits = 14, BriefBytes = 64, SizeBytes = BriefsAt + (Briefs * BriefBytes);

    /// <summary>What a request's bytes are multiplied by, one double word after the other.</summary>
    public const int HashFactor = 0x5BD1_E995;

    private readonly HandlerMemory memory;
    private readonly ulong[] seen = new ulong[Answers];
    private ulong numbers;
    private long dateSeconds = long.MinValue;

    /// <summary>A table without answers and with all connections the stack's.</summary>
    /// <param name="interfaceName">For messages.</param>
    /// <param name="key">A secret: where things lie depends on it, so that nobody can choose names or requests that share a place.</param>
    /// <exception cref="NetworkDeviceException">The kernel refused the memory.</exception>
    public AnswerTable(string interfaceName, ulong key)
    {
        Key = key | 1;
        memory = HandlerMemory.Create(interfaceName, SizeBytes);
        Volatile.Write(ref At<ulong>(EpochAt), 1);
    }

    public int Descriptor => memory.Descriptor;

    /// <summary>Odd.</summary>
    public ulong Key { get; }

    /// <summary>The memory, for tests.</summary>
    internal Span<byte> Bytes => new((void*)memory.Address, SizeBytes);

    /// <summary>What all processors have answered.</summary>
    public AnsweredCounts Answered
    {
        get
        {
            AnsweredCounts sum = default;
            for (int i = 0; i < Processors; i++)
            {
                int at = ScratchAt + (i * ScratchBytes);
                sum.Requests += Volatile.Read(ref At<long>(at + AnsweredAt));
                sum.Bytes += Volatile.Read(ref At<long>(at + AnsweredBytesAt));
                sum.BodyBytes += Volatile.Read(ref At<long>(at + AnsweredBodyBytesAt));
                sum.Connections += Volatile.Read(ref At<long>(at + AnsweredConnectionsAt));
            }

            return sum;
        }
    }

    /// <summary>The number that an answer must have to hold.</summary>
    public ulong Epoch => Volatile.Read(ref At<ulong>(EpochAt));

    /// <summary>From now on no answer holds. For any thread.</summary>
    public void Withdraw() => Interlocked.Increment(ref At<ulong>(EpochAt));

    /// <summary>The second that responses say they are of.</summary>
    public void SetTime(long unixSeconds)
    {
        if (unixSeconds == dateSeconds)
        {
            return;
        }

        dateSeconds = unixSeconds;
        ulong next = (At<ulong>(DateNumberAt) + 1) % Dates;
        int at = DatesAt + ((int)next * DateBytes);
        Span<byte> date = Bytes.Slice(at, HttpDate.LengthBytes);
        HttpDate.Format(unixSeconds, date);
        uint sum = Sum(date);
        At<uint>(at + DateSumAt) = sum;
        At<uint>(at + DateOddSumAt) = BinaryPrimitives.ReverseEndianness((ushort)sum);
        At<long>(at + DateSecondsAt) = unixSeconds;
        Volatile.Write(ref At<ulong>(DateNumberAt), next);
    }

    /// <summary>Where the answer to a request is, or would be.</summary>
    public int PlaceOf(ReadOnlySpan<byte> request)
    {
        ulong hash = Key;
        Span<byte> word = stackalloc byte[8];
        for (int i = 0; i < request.Length; i += 8)
        {
            word.Clear();
            request[i..Math.Min(i + 8, request.Length)].CopyTo(word);
            hash = (hash ^ BitConverter.ToUInt64(word)) * HashFactor;
            hash ^= hash >> 29;
        }

        return (int)((hash * Key) >> 54);
    }

    /// <summary>Whether a request came twice in a row at its place: others would come and go for nothing.</summary>
    public bool IsSeenAgain(int place, ReadOnlySpan<byte> request)
    {
        var code = new HashCode();
        code.AddBytes(request);
        ulong mark = ((ulong)(uint)code.ToHashCode() << 32) | (uint)request.Length;
        bool isAgain = seen[place] == mark;
        seen[place] = mark;
        return isAgain;
    }

    /// <summary>Whether the place may be written: nothing holds there, or it was not used since this was asked last.</summary>
    public bool MayReplace(int place)
    {
        ref ulong used = ref At<ulong>(AnswerAt(place) + UsedAt);
        bool isUsed = Volatile.Read(ref used) != 0 && At<ulong>(AnswerAt(place) + AnswerEpochAt) == Epoch;
        Volatile.Write(ref used, 0);
        return !isUsed;
    }

    /// <summary>Whether a place holds the answer to a request.</summary>
    public bool Holds(int place, ReadOnlySpan<byte> request)
    {
        int at = AnswerAt(place);
        return At<ulong>(at + AnswerEpochAt) == Epoch && At<int>(at + RequestLengthAt) == request.Length && Bytes.Slice(at + RequestAt, request.Length).SequenceEqual(request);
    }

    /// <summary>From now on the place's answer does not hold, and nobody reads it.</summary>
    public void Clear(int place)
    {
        Volatile.Write(ref At<ulong>(AnswerAt(place) + AnswerEpochAt), 0);
        Interlocked.MemoryBarrier();   // a reader counts itself in and then looks at the epoch
        SpinWait spin = default;
        while (Volatile.Read(ref At<ulong>(AnswerAt(place) + ReadersAt)) != 0)
        {
            spin.SpinOnce(sleep1Threshold: -1);
        }
    }

    /// <summary>Writes an answer into a place that was cleared.</summary>
    /// <param name="place">Where.</param>
    /// <param name="request">At most <see cref="RequestBytesMax"/>.</param>
    /// <param name="response">At most <see cref="ResponseBytesMax"/>; its date is not looked at.</param>
    /// <param name="datePlace">Where in it the date is.</param>
    /// <param name="bodyBytes">How much of it is document.</param>
    /// <param name="epoch">What <see cref="Epoch"/> said before it was known that the response holds.</param>
    /// <param name="closes">Whether the response ends its connection.</param>
    public void Write(int place, ReadOnlySpan<byte> request, ReadOnlySpan<byte> response, int datePlace, int bodyBytes, ulong epoch, bool closes = false)
    {
        Invariant.Check(request.Length is > 0 and <= RequestBytesMax && response.Length is >= HttpDate.LengthBytes and <= ResponseBytesMax);
        Invariant.Check(datePlace >= 0 && datePlace + HttpDate.LengthBytes <= response.Length);
        int at = AnswerAt(place);
        Span<byte> answer = Bytes.Slice(at, AnswerBytes);
        answer[RequestAt..].Clear();
        request.CopyTo(answer[RequestAt..]);
        response.CopyTo(answer[ResponseAt..]);
        Span<byte> dated = answer.Slice(ResponseAt, response.Length);
        dated.Slice(datePlace, HttpDate.LengthBytes).Clear();
        At<int>(at + RequestLengthAt) = request.Length;
        At<int>(at + ResponseLengthAt) = response.Length;
        At<uint>(at + RequestSumAt) = Sum(request);
        At<uint>(at + ResponseSumAt) = Sum(dated);
        At<int>(at + DatePlaceAt) = datePlace;
        At<int>(at + BodyLengthAt) = bodyBytes;
        At<ulong>(at + UsedAt) = 0;
        At<ulong>(at + NumberAt) = ++numbers;
        At<int>(at + PlaceAt) = place + 1;
        At<int>(at + ClosesAt) = closes ? 1 : 0;
        Volatile.Write(ref At<ulong>(at + AnswerEpochAt), epoch);
    }

    /// <summary>The bytes that were sent for an answer, with the date of then. The answer is still the one that was sent: whoever lends sees to it.</summary>
    public int CopyResponse(in LentConnection lent, Span<byte> destination)
    {
        int at = AnswerAt((int)lent.LastAnswer - 1), lengthBytes = At<int>(at + ResponseLengthAt);
        Invariant.Check(At<ulong>(at + NumberAt) == lent.LastAnswerNumber);
        Bytes.Slice(at + ResponseAt, lengthBytes).CopyTo(destination);
        HttpDate.Format(lent.LastSeconds, destination[At<int>(at + DatePlaceAt)..]);
        return lengthBytes;
    }

    /// <summary>Where a connection of these names is, or would be.</summary>
    public int PlaceOf(in ConnectionKey key) => (int)(HashOf(key) >> 52);

    /// <summary>A place that is the stack's: the word in it is 0.</summary>
    public ref LentConnection Connection(int place) => ref At<LentConnection>(ConnectionsAt + (place * ConnectionBytes));

    /// <summary>Lends a connection whose place has been filled in.</summary>
    public void Lend(int place) => Volatile.Write(ref Connection(place).Word, (++numbers * 4) + 1);

    /// <summary>Takes a connection back; an answer that is under way is waited for. What its place says is the stack's to read then.</summary>
    public void Recall(int place)
    {
        ref ulong word = ref Connection(place).Word;
        SpinWait spin = default;
        while (true)
        {
            ulong lent = Volatile.Read(ref word);
            Invariant.Check((lent & 3) != 0);
            if ((lent & 3) == 1 && Interlocked.CompareExchange(ref word, 0, lent) == lent)
            {
                return;
            }

            spin.SpinOnce(sleep1Threshold: -1);
        }
    }

    /// <summary>Where a brief connection of these names is, or would be.</summary>
    public int BriefPlaceOf(in ConnectionKey key) => (int)(HashOf(key) >> (64 - BriefBits));

    /// <summary>A place of <see cref="BriefPlaceOf"/>.</summary>
    public ref BriefConnection Brief(int place) => ref At<BriefConnection>(BriefsAt + (place * BriefBytes));

    /// <summary>The stack has a connection of these names: first segments come to it, and so does what follows a brief one of the same names.</summary>
    public void Hold(in ConnectionKey key)
    {
        ref BriefConnection brief = ref Brief(BriefPlaceOf(key));
        Volatile.Write(ref brief.Held, brief.Held + 1);
        if (brief.Names == ConnectionNames.Of(key))
        {
            Volatile.Write(ref brief.Word, 0);
        }
    }

    /// <summary>The stack has it no more.</summary>
    public void LetGo(in ConnectionKey key)
    {
        ref BriefConnection brief = ref Brief(BriefPlaceOf(key));
        Invariant.Check(brief.Held > 0);
        Volatile.Write(ref brief.Held, brief.Held - 1);
    }

    public void Dispose() => memory.Dispose();

    private ulong HashOf(in ConnectionKey key) => (key.Remote.Low ^ ConnectionNames.PortsOf(key)) * Key;

    // A partial sum in the machine's byte order, as the program adds.
    private static uint Sum(ReadOnlySpan<byte> bytes)
    {
        ushort sum = InternetChecksum.Partial(bytes);
        return BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness(sum) : sum;
    }

    private static int AnswerAt(int place)
    {
        Invariant.Check((uint)place < Answers);
        return AnswersAt + (place * AnswerBytes);
    }

    private ref T At<T>(int at)
        where T : unmanaged
    {
        Invariant.Check(at >= 0 && at + sizeof(T) <= SizeBytes);
        return ref Unsafe.AsRef<T>((void*)(memory.Address + at));
    }
}
