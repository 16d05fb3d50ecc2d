// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Tcp;

namespace Exo.Net.Cheetah.Raw;

/// <summary>
/// Responses go straight into the send queue of a connection: heads are written into frames of the stack, documents are the cache's own. What one
/// turn of a connection queues leaves together, head and payload in one super-packet, or in one packet when it is small.
/// </summary>
internal sealed class RawResponseQueue(TcpLayer tcp) : ResponseQueue
{
    private readonly byte[] overflow = new byte[HeadBytesMax];

    /// <summary>Whose responses are being written.</summary>
    public RawConnection? Current { get; set; }

    public long PayloadBytes { get; private set; }

    /// <summary>The pool had no frame for a head: the connection cannot be answered.</summary>
    public bool HasFailed { get; set; }

    public override Span<byte> Room
    {
        get
        {
            Span<byte> room = tcp.Arena.Room(HeadBytesMax);
            HasFailed |= room.IsEmpty;
            return room.IsEmpty ? overflow : room;
        }
    }

    public override void Add(int headBytes, IPayload? payload = null, long offsetBytes = 0, long lengthBytes = 0)
    {
        RawConnection connection = Current!;
        if (HasFailed || !connection.Tcp.CanSend)
        {
            payload?.Release();
            return;
        }

        if (headBytes > 0)
        {
            ISendSource head = tcp.Arena.Commit(headBytes, out int headOffset);
            tcp.Queue(connection.Tcp, head, headOffset, headBytes);
            connection.QueuedBytes += headBytes;
            SpeakUnlessMerging(connection.Tcp);
        }

        if (lengthBytes > 0)
        {
            connection.QueuedBytes += lengthBytes;
            PayloadBytes += lengthBytes;
            if ((tcp.Options.Without & Ablations.MergedCache) == 0)
            {
                tcp.Queue(connection.Tcp, payload!, offsetBytes, lengthBytes);
            }
            else
            {
                Copy(connection.Tcp, payload!, offsetBytes, lengthBytes);
            }

            SpeakUnlessMerging(connection.Tcp);
        }
        else
        {
            payload?.Release();
        }
    }

    // Without merging every piece leaves when it is queued, behind an acknowledgment of its own.
    private void SpeakUnlessMerging(TcpConnection connection)
    {
        if ((tcp.Options.Without & Ablations.PacketMerging) != 0)
        {
            if (connection.LastAckSent != connection.RcvNxt)
            {
                SegmentOutput.SendAck(connection);
            }

            SegmentOutput.Run(connection);
        }
    }

    private void Copy(TcpConnection connection, IPayload payload, long offsetBytes, long lengthBytes)
    {
        while (lengthBytes > 0)
        {
            ReadOnlySpan<byte> bytes = payload.BytesAt(offsetBytes, (int)Math.Min(lengthBytes, int.MaxValue));
            if (!tcp.TryQueueCopy(connection, bytes))
            {
                HasFailed = true;
                break;
            }

            offsetBytes += bytes.Length;
            lengthBytes -= bytes.Length;
        }

        payload.Release();
    }
}
