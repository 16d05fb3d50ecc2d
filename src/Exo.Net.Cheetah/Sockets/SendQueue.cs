// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Exo.Core.Linux;

namespace Exo.Net.Cheetah.Sockets;

/// <summary>
/// Responses on their way into one socket: heads in a scratch area, payload by reference. What fits into one system call goes
/// with one, however many responses it is.
/// <code>
/// scratch |head 1|head 2|head 3|part head|...|        bytes written here, small
/// items    (head 1, doc A 0..1023) (head 2, none) (head 3, doc B 4096..8191) ...
/// sendmsg  {head 1, A...}{head 2 + head 3, B...}       neighbouring heads are one vector
/// </code>
/// Each item with a document holds it once; the hold ends when the item has been sent, or the connection given up.
/// </summary>
internal sealed unsafe class SendQueue(int scratchBytes, int itemsMax) : Http.ResponseQueue
{
    /// <summary>Scratch and items of the queue a reactor writes responses into.</summary>
    public const int FullScratchBytes = 16384, FullItemsMax = 128;

    /// <summary>Scratch and items of the queue a slow connection keeps when little is left.</summary>
    public const int SmallScratchBytes = 1024, SmallItemsMax = 4;

    /// <summary>Vectors offered to one call. More does not pay: the socket's buffer is full before.</summary>
    public const int VectorsMax = 256;

    private readonly byte[] scratch = GC.AllocateUninitializedArray<byte>(scratchBytes, pinned: true);
    private readonly Item[] items = new Item[itemsMax];
    private int scratchUsed;
    private int itemCount;
    private int firstItem;

    private struct Item
    {
        public int HeadStart;
        public int HeadBytes;
        public IPayload? Payload;
        public long OffsetBytes;
        public long LengthBytes;
    }

    /// <summary>Everything has been sent.</summary>
    public bool IsEmpty => firstItem == itemCount;

    /// <summary>There is room for another response: a multipart one needs the most.</summary>
    public bool HasRoom => itemCount + Http.ByteRanges.CountMax + 2 <= items.Length && scratchUsed + HeadBytesMax <= scratch.Length;

    /// <summary>Where the next head is written; only while <see cref="HasRoom"/>.</summary>
    public override Span<byte> Room => scratch.AsSpan(scratchUsed);

    /// <summary>
    /// Adds <paramref name="headBytes"/> bytes that were written into <see cref="Room"/>, and behind them a stretch of a
    /// document, for which a hold passes to the queue.
    /// </summary>
    public override void Add(int headBytes, IPayload? payload = null, long offsetBytes = 0, long lengthBytes = 0)
    {
        Invariant.Check(headBytes <= scratch.Length - scratchUsed);
        items[itemCount++] = new Item
        {
            HeadStart = scratchUsed,
            HeadBytes = headBytes,
            Payload = payload,
            OffsetBytes = offsetBytes,
            LengthBytes = lengthBytes,
        };
        scratchUsed += headBytes;
    }

    /// <summary>
    /// Sends until all is gone or the socket takes no more. False = it takes no more for now; an error number other than 0 =
    /// the connection is dead.
    /// </summary>
    public bool TrySend(int socket, Span<IoVector> vectors, ref SendTally tally, out int errno)
    {
        errno = 0;
        fixed (IoVector* first = vectors)
        {
            while (!IsEmpty)
            {
                int count = Gather(vectors);
                var message = new Libc.MessageHeader { Vectors = first, VectorCount = (nuint)count };
                tally.Calls++;
                nint sent = Libc.SendMessage(socket, &message, Libc.MessageDontWait | Libc.MessageNoSignal);
                if (sent < 0)
                {
                    errno = Errno.Last;
                    if (errno == Errno.EINTR)
                    {
                        continue;
                    }

                    errno = errno == Errno.EAGAIN ? 0 : errno;
                    return false;
                }

                Advance(sent, ref tally);
            }
        }

        Reset();
        return true;
    }

    /// <summary>The queue is of the large kind.</summary>
    public bool IsFullSize => items.Length == FullItemsMax;

    /// <summary>What is left fits into a small queue.</summary>
    public bool IsSmall =>
        itemCount - firstItem <= SmallItemsMax && (itemCount == firstItem || scratchUsed - items[firstItem].HeadStart <= SmallScratchBytes);

    /// <summary>Moves what is left, holds included, into an empty queue that has room for it. Only heads are copied.</summary>
    public void MoveTo(SendQueue other)
    {
        Invariant.Check(other.IsEmpty && other.itemCount == 0);
        for (; firstItem < itemCount; firstItem++)
        {
            ref Item item = ref items[firstItem];
            scratch.AsSpan(item.HeadStart, item.HeadBytes).CopyTo(other.Room);
            other.Add(item.HeadBytes, item.Payload, item.OffsetBytes, item.LengthBytes);
            item.Payload = null;
        }

        Reset();
    }

    /// <summary>Gives up what has not been sent.</summary>
    public void Clear()
    {
        for (; firstItem < itemCount; firstItem++)
        {
            items[firstItem].Payload?.Release();
            items[firstItem].Payload = null;
        }

        Reset();
    }

    private void Reset() => scratchUsed = itemCount = firstItem = 0;

    // Scratch is pinned and documents are held, so the addresses stay good until the call is over.
    private int Gather(Span<IoVector> vectors)
    {
        int count = 0;
        nint scratchAddress = (nint)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(scratch));
        nint headEnd = 0;
        for (int i = firstItem; i < itemCount && count < vectors.Length; i++)
        {
            ref Item item = ref items[i];
            if (item.HeadBytes > 0)
            {
                nint address = scratchAddress + item.HeadStart;
                if (count > 0 && headEnd == address)
                {
                    vectors[count - 1].LengthBytes += (nuint)item.HeadBytes;
                }
                else
                {
                    vectors[count++] = new IoVector { Base = address, LengthBytes = (nuint)item.HeadBytes };
                }

                headEnd = address + item.HeadBytes;
            }

            if (item.LengthBytes > 0)
            {
                if (count == vectors.Length)
                {
                    break;
                }

                int used = item.Payload!.Gather(item.OffsetBytes, item.LengthBytes, vectors[count..], out long gatheredBytes);
                count += used;
                headEnd = 0;
                if (gatheredBytes < item.LengthBytes)
                {
                    break;   // out of vectors inside a document
                }
            }
        }

        return count;
    }

    private void Advance(long sentBytes, ref SendTally tally)
    {
        tally.Bytes += sentBytes;
        while (firstItem < itemCount)
        {
            ref Item item = ref items[firstItem];
            int head = (int)Math.Min(sentBytes, item.HeadBytes);
            item.HeadStart += head;
            item.HeadBytes -= head;
            sentBytes -= head;
            long payload = Math.Min(sentBytes, item.LengthBytes);
            item.OffsetBytes += payload;
            item.LengthBytes -= payload;
            sentBytes -= payload;
            tally.PayloadBytes += payload;
            if (item.HeadBytes > 0 || item.LengthBytes > 0)
            {
                break;
            }

            item.Payload?.Release();
            item.Payload = null;
            firstItem++;
        }

        Invariant.Check(sentBytes == 0);
    }
}

/// <summary>Counts of a reactor's sending.</summary>
internal struct SendTally
{
    public long Calls;
    public long Bytes;
    public long PayloadBytes;
}
