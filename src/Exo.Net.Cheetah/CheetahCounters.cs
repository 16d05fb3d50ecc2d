// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah;

/// <summary>What a server has done since it started, summed over its reactors; a snapshot that may be a few events apart.</summary>
public readonly record struct CheetahCounters
{
    /// <summary>Connections accepted.</summary>
    public long ConnectionsAccepted { get; init; }

    /// <summary>On a raw device: connections reset because there were too many, or because the server stops. On sockets they wait in the kernel.</summary>
    public long ConnectionsRefused { get; init; }

    /// <summary>Connections open now.</summary>
    public long ConnectionsOpen { get; init; }

    /// <summary>Requests whose head was read to its end.</summary>
    public long Requests { get; init; }

    /// <summary>Requests that were malformed or beyond a limit.</summary>
    public long RequestsRefused { get; init; }

    /// <summary>Requests that custom handlers answered, whatever came of it.</summary>
    public long RequestsHandled { get; init; }

    /// <summary>Times that a custom handler threw.</summary>
    public long HandlerFailures { get; init; }

    /// <summary>Bytes sent, heads and payload.</summary>
    public long BytesSent { get; init; }

    /// <summary>Bytes of documents sent, and of handlers' responses that did not fit behind their heads.</summary>
    public long PayloadBytesSent { get; init; }

    /// <summary>
    /// Bytes of documents that this process has copied to have them in frames: those of sources that gave bytes and not frames, once each, custom handlers' responses that did not fit behind their heads, what waits for the hardware address of a
    /// neighbour, and the last response that the kernel's handler gave on a connection when the stack takes that back.
    /// </summary>
    public long PayloadBytesCopied { get; init; }

    /// <summary>
    /// On a raw device: bytes of packets, headers included, that this process has copied to hand them over (<see cref="Exo.Core.Net.NetworkDeviceCounters.TransmitCopiedBytes"/>): on a packet socket those of packets of up to 2 KiB, on others
    /// none. What the kernel copies, there and on sockets, is the kernel's and not counted.
    /// </summary>
    public long PacketBytesCopied { get; init; }

    /// <summary>Bytes of responses copied so that the kernel's handler answers with them: by this process into its table, and by the handler into each packet.</summary>
    public long AnswerBytesCopied { get; init; }

    /// <summary>Documents found at hand.</summary>
    public long CacheHits { get; init; }

    /// <summary>Lookups that went to the source.</summary>
    public long CacheMisses { get; init; }

    /// <summary>Documents evicted for room.</summary>
    public long CacheEvictions { get; init; }

    /// <summary>Bytes of documents at hand.</summary>
    public long CacheBytes { get; init; }

    /// <summary>Ranges read of documents that are not at hand whole.</summary>
    public long RangesRead { get; init; }

    /// <summary>Bytes of frames that responses hold now of documents that are not at hand whole.</summary>
    public long WindowBytes { get; init; }

    /// <summary>Connections ended because a time was up.</summary>
    public long TimeOuts { get; init; }

    /// <summary>Connections ended by an error of the socket, most often a client that went away.</summary>
    public long ConnectionsAborted { get; init; }

    /// <summary>Lines written to the access log.</summary>
    public long AccessLogLines { get; init; }

    /// <summary>Responses that are missing in the access log, because there was no room for them or the output did not take them.</summary>
    public long AccessLogDropped { get; init; }

    /// <summary>System calls for waiting, receiving and sending.</summary>
    public long SystemCalls { get; init; }

    /// <summary>All that was copied by this process, and by the handler that it downloaded.</summary>
    public long BytesCopied => PayloadBytesCopied + PacketBytesCopied + AnswerBytesCopied;

    /// <summary>
    /// <see cref="BytesCopied"/> for each byte sent. 0 where documents lie in frames and the device sends from these; on a packet socket more than 1 for documents of a few hundred bytes, whose packets' headers count too, and near 0 for large ones.
    /// </summary>
    public double BytesCopiedPerByteSent => BytesSent == 0 ? 0 : (double)BytesCopied / BytesSent;
}
