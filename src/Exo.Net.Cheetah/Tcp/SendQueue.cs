// SPDX-License-Identifier: MIT
using Exo.Core.Net;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// The stream a connection has promised to deliver, from the first byte not acknowledged on, as stretches of sources: the retransmission
/// buffer is the place where the bytes are anyway.
/// <code>
/// sequence   SND.UNA              SND.NXT
/// stretches  |head|document A.........|head|document B....|        ring; released one by one as they are acknowledged
///             ^ releasedBytes of the first are gone already
/// </code>
/// </summary>
internal sealed class SendQueue
{
    private Stretch[] stretches = new Stretch[4];
    private int first;
    private int count;
    private long startOffset;   // of the first stretch, already acknowledged

    // Where the last look-up ended, for the next one usually begins there: stretch index from first, and the queue offset of its start.
    private int cursor;
    private long cursorStart;

    private struct Stretch
    {
        public ISendSource Source;
        public long OffsetBytes;
        public long LengthBytes;
    }

    /// <summary>Bytes in the queue, sent and not sent.</summary>
    public long LengthBytes { get; private set; }

    /// <summary>Stretches in the queue.</summary>
    public int Count => count;

    /// <summary>Appends; the hold on the source passes to the queue.</summary>
    public void Add(ISendSource source, long offsetBytes, long lengthBytes)
    {
        Invariant.Check(lengthBytes > 0);
        if (count == stretches.Length)
        {
            var larger = new Stretch[count * 2];
            for (int i = 0; i < count; i++)
            {
                larger[i] = At(i);
            }

            stretches = larger;
            first = 0;
        }

        stretches[(first + count++) & (stretches.Length - 1)] = new Stretch { Source = source, OffsetBytes = offsetBytes, LengthBytes = lengthBytes };
        LengthBytes += lengthBytes;
    }

    /// <summary>Takes acknowledged bytes off the front; sources done with are handed to <paramref name="releases"/>.</summary>
    public void Acknowledge(long bytes, DeferredReleases releases)
    {
        Invariant.Check(bytes <= LengthBytes);
        LengthBytes -= bytes;
        startOffset += bytes;
        while (count > 0 && startOffset >= At(0).LengthBytes)
        {
            ref Stretch stretch = ref At(0);
            startOffset -= stretch.LengthBytes;
            releases.Add(stretch.Source);
            stretch.Source = null!;
            first = (first + 1) & (stretches.Length - 1);
            count--;
        }

        cursor = 0;
        cursorStart = -startOffset;
        Invariant.Check(count > 0 || startOffset == 0);
    }

    /// <summary>Gives everything up.</summary>
    public void Clear(DeferredReleases releases)
    {
        Acknowledge(LengthBytes, releases);
        Invariant.Check(count == 0);
    }

    /// <summary>
    /// Slices of bytes counted from the first that is not acknowledged. Fewer bytes than asked for are covered when the slices run out.
    /// </summary>
    public int Gather(long offsetBytes, int lengthBytes, Span<PacketSlice> slices, out int gatheredBytes)
    {
        int used = 0;
        gatheredBytes = 0;
        Seek(offsetBytes);
        for (int i = cursor; gatheredBytes < lengthBytes && used < slices.Length; i++)
        {
            ref Stretch stretch = ref At(i);
            long skip = offsetBytes - cursorStart;
            int take = (int)Math.Min(lengthBytes - gatheredBytes, stretch.LengthBytes - skip);
            used += stretch.Source.Gather(stretch.OffsetBytes + skip, take, slices[used..], out int got);
            gatheredBytes += got;
            offsetBytes += got;
            if (got < take || gatheredBytes == lengthBytes)
            {
                break;
            }

            cursorStart += stretch.LengthBytes;
            cursor = i + 1;
        }

        return used;
    }

    /// <summary>The partial checksum of bytes counted from the first that is not acknowledged.</summary>
    public ushort PartialSum(long offsetBytes, int lengthBytes)
    {
        ushort sum = 0;
        Seek(offsetBytes);
        long start = cursorStart;
        for (int i = cursor, summed = 0; summed < lengthBytes; i++)
        {
            ref Stretch stretch = ref At(i);
            long skip = offsetBytes + summed - start;
            int take = (int)Math.Min(lengthBytes - summed, stretch.LengthBytes - skip);
            sum = InternetChecksum.Combine(sum, summed, stretch.Source.PartialSum(stretch.OffsetBytes + skip, take));
            summed += take;
            start += stretch.LengthBytes;
        }

        return sum;
    }

    private void Seek(long offsetBytes)
    {
        if (offsetBytes < cursorStart || cursor >= count)
        {
            cursor = 0;
            cursorStart = -startOffset;
        }

        while (offsetBytes >= cursorStart + At(cursor).LengthBytes)
        {
            cursorStart += At(cursor).LengthBytes;
            cursor++;
            Invariant.Check(cursor < count);
        }
    }

    private ref Stretch At(int index) => ref stretches[(first + index) & (stretches.Length - 1)];
}

/// <summary>
/// Sources to be released. While packets that no device has accepted yet may still name their frames, releases wait.
/// </summary>
internal sealed class DeferredReleases
{
    private readonly List<ISendSource> waiting = [];

    /// <summary>Packets not accepted exist.</summary>
    public bool IsHeld { get; set; }

    public void Add(ISendSource source)
    {
        if (IsHeld)
        {
            waiting.Add(source);
        }
        else
        {
            source.Release();
        }
    }

    /// <summary>No packet that could name their frames is left.</summary>
    public void Flush()
    {
        IsHeld = false;
        foreach (ISendSource source in waiting)
        {
            source.Release();
        }

        waiting.Clear();
    }
}
