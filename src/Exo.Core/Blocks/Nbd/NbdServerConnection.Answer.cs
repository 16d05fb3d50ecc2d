// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Linux;

namespace Exo.Core.Blocks.Nbd;

/// <summary>Replies, from frames straight to the socket.</summary>
internal sealed unsafe partial class NbdServerConnection
{
    private const int VectorsMax = 1024;

    /// <summary>The longest reply without data: a chunk with one stretch of a status.</summary>
    private const int HeaderBytesMax = 40;

    private byte* _headers;
    private IoVector* _vectors;
    private int _vectorCount;

    private void Answer()
    {
        _vectorCount = 0;
        for (int i = 0; i < _takenCount; i++)
        {
            ref NbdServerRequest request = ref _taken[i];
            if (_vectorCount == VectorsMax)
            {
                Send();
            }

            byte* header = _headers + i * HeaderBytesMax;
            int length = WriteHeader(in request, new Span<byte>(header, HeaderBytesMax));
            _vectors[_vectorCount++] = new IoVector { Base = (nint)header, LengthBytes = (nuint)length };
            if (request.Command == NbdProtocol.CommandRead && request.Error == 0)
            {
                AppendData(in request);
            }
        }

        Send();
        Array.Clear(_taken, 0, _takenCount);
    }

    private int WriteHeader(in NbdServerRequest request, Span<byte> header)
    {
        bool isRead = request.Command == NbdProtocol.CommandRead;
        uint error = NbdProtocol.ErrorOf(request.Error);
        if (_agreement.IsStructured && (isRead || request.Command == NbdProtocol.CommandBlockStatus))
        {
            BinaryPrimitives.WriteUInt32BigEndian(header, NbdProtocol.ChunkMagic);
            BinaryPrimitives.WriteUInt16BigEndian(header[4..], NbdProtocol.ChunkDone);
            BinaryPrimitives.WriteUInt64BigEndian(header[8..], request.Cookie);
            Span<byte> payload = header[NbdProtocol.ChunkBytes..];
            (ushort type, uint payloadBytes, int headerBytes) = error != 0 ? (NbdProtocol.ChunkError, 6u, 6)
                : isRead ? (NbdProtocol.ChunkOffsetData, sizeof(ulong) + request.LengthBytes, sizeof(ulong))
                : (NbdProtocol.ChunkBlockStatus, 12u, 12);
            BinaryPrimitives.WriteUInt16BigEndian(header[6..], type);
            BinaryPrimitives.WriteUInt32BigEndian(header[16..], payloadBytes);
            payload[..headerBytes].Clear();
            if (error != 0)
            {
                BinaryPrimitives.WriteUInt32BigEndian(payload, error); // And no words.
            }
            else if (isRead)
            {
                BinaryPrimitives.WriteUInt64BigEndian(payload, request.OffsetBytes);
            }
            else
            {
                // A device does not say where its holes are: all of it is data.
                BinaryPrimitives.WriteUInt32BigEndian(payload, NbdServerHandshake.AllocationContext);
                BinaryPrimitives.WriteUInt32BigEndian(payload[4..], request.LengthBytes);
            }

            return NbdProtocol.ChunkBytes + headerBytes;
        }

        BinaryPrimitives.WriteUInt32BigEndian(header, NbdProtocol.SimpleReplyMagic);
        BinaryPrimitives.WriteUInt32BigEndian(header[4..], error);
        BinaryPrimitives.WriteUInt64BigEndian(header[8..], request.Cookie);
        return NbdProtocol.SimpleReplyBytes;
    }

    private void AppendData(in NbdServerRequest request)
    {
        long offset = request.SkipBytes;
        long left = request.LengthBytes;
        while (left > 0)
        {
            if (_vectorCount + FrameVector.CountMax > VectorsMax)
            {
                Send();
            }

            _vectorCount += FrameVector.Build(
                _server.Device.Frames, request.Frames.Span, offset, (int)Math.Min(left, FrameVector.LengthBytesMax), _vectors + _vectorCount, out int described);
            offset += described;
            left -= described;
        }
    }

    private void Send()
    {
        int sentVectors = 0;
        while (sentVectors < _vectorCount)
        {
            long sent = _transport.Send(_vectors + sentVectors, _vectorCount - sentVectors, mayWait: true);
            while (sent > 0)
            {
                ref IoVector vector = ref _vectors[sentVectors];
                long piece = Math.Min(sent, (long)vector.LengthBytes);
                vector.Base += (nint)piece;
                vector.LengthBytes -= (nuint)piece;
                sent -= piece;
                sentVectors += vector.LengthBytes == 0 ? 1 : 0;
            }
        }

        _vectorCount = 0;
    }
}
