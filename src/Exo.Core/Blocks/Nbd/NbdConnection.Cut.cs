// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Exo.Core.Linux;
using Exo.Core.Memory;

namespace Exo.Core.Blocks.Nbd;

/// <summary>The pump's knife: from requests on blocks to requests of the protocol, of a size that server and vectors can take.</summary>
internal sealed unsafe partial class NbdConnection
{
    /// <summary>Bytes per piece: enough to hide the header, small enough that pieces of one request overlap.</summary>
    private const int PieceBytesMax = 1 << 20;

    /// <summary>Bytes per piece that carries none.</summary>
    private const long EmptyPieceBytesMax = 1 << 30;

    private const int ZeroBytes = 65536;

    /// <summary>Zeroes for servers that cannot write them by themselves. Never freed, never written.</summary>
    private static readonly nint Zeroes = (nint)NativeMemory.AllocZeroed(ZeroBytes);

    /// <summary>Passes over requests that need nothing from this server; false at the batch's end.</summary>
    private bool HasMore(NbdBatch batch)
    {
        if (batch.Query is not null)
        {
            return batch.NextRequest == 0;
        }

        if (batch.IsFlushing)
        {
            if (batch.NextRequest == 0 && batch.LossesSeen != _device.Losses)
            {
                // What this flush was to make durable may have gone with the server that acknowledged it.
                batch.FailDurable(Libc.ErrnoConnectionReset);
                batch.NextRequest++;
            }

            return batch.NextRequest == 0;
        }

        for (; batch.NextRequest < batch.Count; batch.NextRequest++)
        {
            switch (batch.Requests[batch.NextRequest].Operation)
            {
                case BlockOperation.Flush:
                    int errno = _device.BeginFlush(out long covers);
                    if (errno != 0)
                    {
                        batch.Fail(batch.NextRequest, errno);
                    }
                    else if (_export.Has(NbdProtocol.ExportFlush))
                    {
                        return true;
                    }
                    else
                    {
                        _device.EndFlush(covers);
                    }

                    break;
                case BlockOperation.Discard when !_export.Has(NbdProtocol.ExportTrim):
                    break; // A discard is advice.
                default:
                    return true;
            }
        }

        return false;
    }

    /// <summary>Fills a slot with the next piece of a batch that has one.</summary>
    private void Cut(NbdBatch batch, ref NbdSlot slot)
    {
        slot.Generation++;
        slot.Flags = 0;
        slot.ReceivedBytes = 0;
        slot.ChunkCount = 0;
        slot.Error = 0;
        slot.RequestOffsetBytes = 0;
        if (batch.Query is { } query)
        {
            slot.Request = -1;
            slot.Command = NbdProtocol.CommandBlockStatus;
            slot.OffsetBytes = query.OffsetBytes;
            slot.LengthBytes = query.LengthBytes;
            batch.NextRequest = 1;
            return;
        }

        slot.Request = batch.IsFlushing ? -1 : batch.NextRequest;
        if (batch.IsFlushing || batch.Requests[batch.NextRequest].Operation == BlockOperation.Flush)
        {
            slot.Command = NbdProtocol.CommandFlush;
            slot.OffsetBytes = 0;
            slot.LengthBytes = 0;
            slot.Covers = _device.AcknowledgedWrites;
            batch.NextRequest++;
            return;
        }

        ref readonly BlockRequest request = ref batch.Requests[batch.NextRequest];
        long length = (long)request.BlockCount * FramePool.FrameBytes;
        long left = length - batch.NextOffsetBytes;
        slot.RequestOffsetBytes = batch.NextOffsetBytes;
        slot.OffsetBytes = request.FirstBlock.Value * FramePool.FrameBytes + (ulong)batch.NextOffsetBytes;
        slot.Command = request.Operation switch
        {
            BlockOperation.Read => NbdProtocol.CommandRead,
            BlockOperation.Write => NbdProtocol.CommandWrite,
            BlockOperation.Discard => NbdProtocol.CommandTrim,
            _ => _export.Has(NbdProtocol.ExportWriteZeroes) ? NbdProtocol.CommandWriteZeroes : NbdProtocol.CommandWrite,
        };
        if (request.Operation is BlockOperation.Read or BlockOperation.Write)
        {
            // How many frames one vector array describes is how long the piece is; Describe and the receiver find the same.
            _ = FrameVector.Build(
                _device.Frames, request.Frames.Span, batch.NextOffsetBytes, Math.Min(PieceBytesMax, _export.MaximumPayloadBytes), _sendVectors + _vectorCount, out int described);
            slot.LengthBytes = (uint)described;
        }
        else
        {
            long limit = slot.Command == NbdProtocol.CommandWrite ? Math.Min(PieceBytesMax, _export.MaximumPayloadBytes) : EmptyPieceBytesMax;
            slot.LengthBytes = (uint)Math.Min(left, limit);
        }

        if (request.ForceUnitAccess && slot.Command is NbdProtocol.CommandWrite or NbdProtocol.CommandWriteZeroes)
        {
            if (_export.Has(NbdProtocol.ExportForceUnitAccess))
            {
                slot.Flags = NbdProtocol.CommandForceUnitAccess;
            }
            else if (_export.Has(NbdProtocol.ExportFlush) && !batch.NeedsFlush)
            {
                batch.NeedsFlush = true;
                batch.LossesSeen = _device.Losses;
            }
        }

        Invariant.Check(slot.LengthBytes > 0 && slot.LengthBytes <= left);
        batch.NextOffsetBytes += slot.LengthBytes;
        if (batch.NextOffsetBytes == length)
        {
            batch.NextRequest++;
            batch.NextOffsetBytes = 0;
        }
    }

    /// <summary>Writes a slot's header and appends it, and what it carries, to the vectors. There is room.</summary>
    private void Describe(int index)
    {
        ref NbdSlot slot = ref _slots[index];
        byte* header = _headers + index * NbdProtocol.RequestBytes;
        var bytes = new Span<byte>(header, NbdProtocol.RequestBytes);
        BinaryPrimitives.WriteUInt32BigEndian(bytes, NbdProtocol.RequestMagic);
        BinaryPrimitives.WriteUInt16BigEndian(bytes[4..], slot.Flags);
        BinaryPrimitives.WriteUInt16BigEndian(bytes[6..], slot.Command);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[8..], (ulong)slot.Generation << 32 | (uint)index);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[16..], slot.OffsetBytes);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[24..], slot.LengthBytes);
        _sendVectors[_vectorCount++] = new IoVector { Base = (nint)header, LengthBytes = NbdProtocol.RequestBytes };
        if (slot.Command != NbdProtocol.CommandWrite)
        {
            return;
        }

        ref readonly BlockRequest request = ref slot.Batch!.Requests[slot.Request];
        if (request.Operation == BlockOperation.Write)
        {
            _vectorCount += FrameVector.Build(
                _device.Frames, request.Frames.Span, slot.RequestOffsetBytes, (int)slot.LengthBytes, _sendVectors + _vectorCount, out int described);
            Invariant.Check(described == slot.LengthBytes);
            return;
        }

        for (uint left = slot.LengthBytes; left > 0; left -= Math.Min(left, ZeroBytes))
        {
            _sendVectors[_vectorCount++] = new IoVector { Base = Zeroes, LengthBytes = Math.Min(left, ZeroBytes) };
        }
    }
}
