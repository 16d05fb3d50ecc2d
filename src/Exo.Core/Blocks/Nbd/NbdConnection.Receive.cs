// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Linux;
using Exo.Core.Memory;

namespace Exo.Core.Blocks.Nbd;

/// <summary>The receiver: from bytes to answers. Everything the server says is checked against what was asked.</summary>
internal sealed unsafe partial class NbdConnection
{
    /// <summary>Many small replies come with one system call; the rest of a large one goes straight into frames.</summary>
    private const int InputBytes = 128 << 10;

    /// <summary>The longest payload that is read as a whole: an error's words, a status of 4,096 stretches.</summary>
    private const int WholePayloadBytesMax = 4 + 8 * 4096;

    private readonly byte* _input;
    private readonly IoVector* _receiveVectors;
    private int _inputStart;
    private int _inputEnd;

    private int Buffered => _inputEnd - _inputStart;

    /// <summary>Waits for bytes and handles all replies that are complete.</summary>
    private void ReceiveSome()
    {
        if (_inputStart == _inputEnd)
        {
            _inputStart = _inputEnd = 0;
        }
        else if (_inputStart > 0)
        {
            // Less than one message is left over.
            new Span<byte>(_input + _inputStart, Buffered).CopyTo(new Span<byte>(_input, InputBytes));
            _inputEnd = Buffered;
            _inputStart = 0;
        }

        Invariant.Check(_inputEnd < InputBytes);
        var vector = new IoVector { Base = (nint)(_input + _inputEnd), LengthBytes = (nuint)(InputBytes - _inputEnd) };
        _inputEnd += (int)Receive(&vector, 1);
        while (TryHandleReply())
        {
        }
    }

    private long Receive(IoVector* vectors, int count)
    {
        _device.CountSystemCall();
        long received = _transport.Receive(vectors, count);
        return received > 0 ? received : throw NbdConnectionException.Closed();
    }

    /// <returns>False: more bytes are needed.</returns>
    private bool TryHandleReply()
    {
        if (Buffered < NbdProtocol.SimpleReplyBytes)
        {
            return false;
        }

        var input = new ReadOnlySpan<byte>(_input + _inputStart, Buffered);
        uint magic = BinaryPrimitives.ReadUInt32BigEndian(input);
        if (magic == NbdProtocol.ChunkMagic && _export.IsStructured)
        {
            return TryHandleChunk(input);
        }

        if (magic != NbdProtocol.SimpleReplyMagic)
        {
            throw NbdConnectionException.Violation($"what begins with {magic:x8} is no reply");
        }

        uint error = BinaryPrimitives.ReadUInt32BigEndian(input[4..]);
        int index = Find(BinaryPrimitives.ReadUInt64BigEndian(input[8..]));
        ref NbdSlot slot = ref _slots[index];
        if ((slot.Command == NbdProtocol.CommandRead && _export.IsStructured) || slot.ChunkCount > 0
            || (slot.Command == NbdProtocol.CommandBlockStatus && error == 0))
        {
            throw NbdConnectionException.Violation("a simple reply where chunks were agreed on");
        }

        _inputStart += NbdProtocol.SimpleReplyBytes;
        slot.Error = NbdProtocol.ErrnoOf(error);
        if (slot.Command == NbdProtocol.CommandRead && error == 0)
        {
            ReceivePayload(ref slot, 0, slot.LengthBytes);
        }

        Answered(index);
        return true;
    }

    private bool TryHandleChunk(ReadOnlySpan<byte> input)
    {
        if (input.Length < NbdProtocol.ChunkBytes)
        {
            return false;
        }

        ushort flags = BinaryPrimitives.ReadUInt16BigEndian(input[4..]);
        ushort type = BinaryPrimitives.ReadUInt16BigEndian(input[6..]);
        int index = Find(BinaryPrimitives.ReadUInt64BigEndian(input[8..]));
        uint length = BinaryPrimitives.ReadUInt32BigEndian(input[16..]);
        ref NbdSlot slot = ref _slots[index];
        bool isData = type == NbdProtocol.ChunkOffsetData;

        // Data is received where it belongs; everything else is small and waited for.
        if (!isData && length > WholePayloadBytesMax)
        {
            throw NbdConnectionException.Violation($"a chunk of type {type} with {length} bytes");
        }

        if (input.Length < NbdProtocol.ChunkBytes + (isData ? sizeof(ulong) : (int)length))
        {
            return false;
        }

        // Every chunk of a read has at least one byte for it, so an honest server needs no more chunks than bytes; one that
        // cuts finer than sectors is not worth serving.
        if (++slot.ChunkCount > 64 + slot.LengthBytes / 512)
        {
            throw NbdConnectionException.Violation("chunks without end");
        }

        ReadOnlySpan<byte> payload = input[NbdProtocol.ChunkBytes..];
        _inputStart += NbdProtocol.ChunkBytes + (isData ? sizeof(ulong) : (int)length);
        switch (type)
        {
            case NbdProtocol.ChunkNone when length == 0 && (flags & NbdProtocol.ChunkDone) != 0:
                break;
            case NbdProtocol.ChunkOffsetData when length > sizeof(ulong):
                uint dataBytes = length - sizeof(ulong);
                ReceivePayload(ref slot, Within(in slot, BinaryPrimitives.ReadUInt64BigEndian(payload), dataBytes), dataBytes);
                break;
            case NbdProtocol.ChunkOffsetHole when length == 12:
                uint holeBytes = BinaryPrimitives.ReadUInt32BigEndian(payload[8..]);
                Clear(in slot, Within(in slot, BinaryPrimitives.ReadUInt64BigEndian(payload), holeBytes), holeBytes);
                slot.ReceivedBytes += holeBytes;
                break;
            case NbdProtocol.ChunkBlockStatus when slot.Command == NbdProtocol.CommandBlockStatus:
                ReadStatus(in slot, payload[..(int)length]);
                break;
            default:
                ReadError(ref slot, type, payload[..(int)length]);
                break;
        }

        if ((flags & NbdProtocol.ChunkDone) != 0)
        {
            bool isComplete = slot.Command switch
            {
                NbdProtocol.CommandRead => slot.ReceivedBytes == slot.LengthBytes,
                NbdProtocol.CommandBlockStatus => slot.Batch!.Query!.Answer.Count > 0,
                _ => true,
            };
            if (slot.Error == 0 && !isComplete)
            {
                throw NbdConnectionException.Violation("the last chunk came before all was said");
            }

            Answered(index);
        }

        return true;
    }

    private void Answered(int index)
    {
        _device.NoteProgress();
        Complete(index);
    }

    private int Find(ulong cookie)
    {
        uint index = (uint)cookie;
        if (index >= (uint)_slots.Length || _slots[index].Batch is null || _slots[index].Generation != (uint)(cookie >> 32))
        {
            throw NbdConnectionException.Violation("a reply to what was not asked");
        }

        return (int)index;
    }

    /// <summary>Where in a read a chunk's data belongs.</summary>
    private static long Within(in NbdSlot slot, ulong offset, uint length)
    {
        // Written so that nothing overflows; ReceivedBytes also stops chunks that repeat themselves.
        if (slot.Command != NbdProtocol.CommandRead || length == 0 || offset < slot.OffsetBytes || offset - slot.OffsetBytes > slot.LengthBytes
            || length > slot.LengthBytes - (offset - slot.OffsetBytes) || slot.ReceivedBytes + length > slot.LengthBytes)
        {
            throw NbdConnectionException.Violation("data that was not asked for");
        }

        return (long)(offset - slot.OffsetBytes);
    }

    private static void ReadError(ref NbdSlot slot, ushort type, ReadOnlySpan<byte> payload)
    {
        if ((type & NbdProtocol.ChunkErrorBit) == 0 || payload.Length < 6
            || BinaryPrimitives.ReadUInt16BigEndian(payload[4..]) > payload.Length - 6
            || BinaryPrimitives.ReadUInt32BigEndian(payload) == 0)
        {
            throw NbdConnectionException.Violation($"a chunk of type {type} with {payload.Length} bytes");
        }

        slot.Error = slot.Error == 0 ? NbdProtocol.ErrnoOf(BinaryPrimitives.ReadUInt32BigEndian(payload)) : slot.Error;
    }

    private void ReadStatus(in NbdSlot slot, ReadOnlySpan<byte> payload)
    {
        NbdAllocationQuery query = slot.Batch!.Query!;
        if (payload.Length < 12 || payload.Length % 8 != 4 || BinaryPrimitives.ReadUInt32BigEndian(payload) != _export.AllocationContext
            || query.Answer.Count > 0)
        {
            throw NbdConnectionException.Violation("a malformed status");
        }

        for (ReadOnlySpan<byte> rest = payload[4..]; !rest.IsEmpty; rest = rest[8..])
        {
            uint length = BinaryPrimitives.ReadUInt32BigEndian(rest);
            uint status = BinaryPrimitives.ReadUInt32BigEndian(rest[4..]);
            if (length == 0)
            {
                throw NbdConnectionException.Violation("a stretch of no bytes");
            }

            query.Answer.Add(new NbdAllocation(length, (status & NbdProtocol.StatusHole) != 0, (status & NbdProtocol.StatusZero) != 0));
        }
    }

    /// <summary>Brings so many bytes into the frames of a read, from the input buffer and then straight from the socket.</summary>
    private void ReceivePayload(ref NbdSlot slot, long offsetBytes, long lengthBytes)
    {
        slot.ReceivedBytes += lengthBytes;
        ReadOnlySpan<FrameNumber> frames = slot.Batch!.Requests[slot.Request].Frames.Span;
        offsetBytes += slot.RequestOffsetBytes;
        while (lengthBytes > 0)
        {
            int count = FrameVector.Build(
                _device.Frames, frames, offsetBytes, (int)Math.Min(lengthBytes, FrameVector.LengthBytesMax), _receiveVectors, out int described);
            int done;
            if (Buffered > 0)
            {
                done = CopyBuffered(count);
            }
            else
            {
                // Behind the payload there is room for what comes next.
                _inputStart = _inputEnd = 0;
                bool isLast = described == lengthBytes;
                if (isLast)
                {
                    _receiveVectors[count++] = new IoVector { Base = (nint)_input, LengthBytes = InputBytes };
                }

                long received = Receive(_receiveVectors, count);
                done = (int)Math.Min(received, described);
                _inputEnd = (int)(received - done);
            }

            offsetBytes += done;
            lengthBytes -= done;
        }
    }

    /// <summary>From the input buffer into the vectors, as far as both go.</summary>
    private int CopyBuffered(int count)
    {
        int done = 0;
        for (int i = 0; i < count && Buffered > 0; i++)
        {
            // Bounds: the vector lies in frames of the request; the piece is no longer than either side.
            int piece = (int)Math.Min(_receiveVectors[i].LengthBytes, (nuint)Buffered);
            new ReadOnlySpan<byte>(_input + _inputStart, piece).CopyTo(new Span<byte>((void*)_receiveVectors[i].Base, piece));
            _inputStart += piece;
            done += piece;
        }

        return done;
    }

    private void Clear(in NbdSlot slot, long offsetBytes, long lengthBytes)
    {
        ReadOnlySpan<FrameNumber> frames = slot.Batch!.Requests[slot.Request].Frames.Span;
        offsetBytes += slot.RequestOffsetBytes;
        while (lengthBytes > 0)
        {
            int count = FrameVector.Build(
                _device.Frames, frames, offsetBytes, (int)Math.Min(lengthBytes, FrameVector.LengthBytesMax), _receiveVectors, out int described);
            for (int i = 0; i < count; i++)
            {
                new Span<byte>((void*)_receiveVectors[i].Base, (int)_receiveVectors[i].LengthBytes).Clear();
            }

            offsetBytes += described;
            lengthBytes -= described;
        }
    }
}
