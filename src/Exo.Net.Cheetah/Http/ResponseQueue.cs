// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Http;

/// <summary>Where responses are put together: heads are written in place, documents follow by reference. One per transport.</summary>
internal abstract class ResponseQueue
{
    /// <summary>No response writes more head bytes than this.</summary>
    public const int HeadBytesMax = 8192;

    /// <summary>Where the next head is written; at least <see cref="HeadBytesMax"/> bytes.</summary>
    public abstract Span<byte> Room { get; }

    /// <summary>
    /// Adds bytes that were written into <see cref="Room"/>, and behind them a stretch of a document or of a range of one, for which a hold passes to the queue.
    /// </summary>
    public abstract void Add(int headBytes, IPayload? payload = null, long offsetBytes = 0, long lengthBytes = 0);
}
