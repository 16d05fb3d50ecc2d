// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// An application's own frames while a connection sends them: each frame has one holder more until every byte is acknowledged or given up, then the application is told, once, at a moment when it may call
/// the connection again. An object of the layer's, used again.
/// <code>
/// spare --Begin--> held by one send queue --Release--> finished --Tell--> spare
/// </code>
/// </summary>
internal sealed class FrameSend(TcpLayer tcp) : ISendSource
{
    private PacketSlice[] slices = new PacketSlice[4];
    private int count;
    private Action<object?>? released;
    private object? state;

    /// <summary>Bytes of all slices.</summary>
    public long LengthBytes { get; private set; }

    private FramePool Frames => tcp.Link.Frames;

    /// <exception cref="ArgumentException">A slice is empty or not in allocated frames of the pool; nothing is held then.</exception>
    public void Begin(ReadOnlySpan<PacketSlice> bytes, Action<object?>? whenReleased, object? ofCaller)
    {
        Invariant.Check(count == 0);
        foreach (ref readonly PacketSlice slice in bytes)
        {
            ThrowUnlessHeld(slice);
        }

        if (slices.Length < bytes.Length)
        {
            slices = new PacketSlice[bytes.Length];
        }

        bytes.CopyTo(slices);
        count = bytes.Length;
        released = whenReleased;
        state = ofCaller;
        LengthBytes = 0;
        foreach (ref readonly PacketSlice slice in bytes)
        {
            LengthBytes += slice.LengthBytes;
            for (uint i = 0; i < (uint)slice.FrameCount; i++)
            {
                Frames.Retain(new FrameNumber(slice.Frame.Value + i));
            }
        }
    }

    public int Gather(long offsetBytes, int lengthBytes, Span<PacketSlice> room, out int gatheredBytes)
    {
        int used = 0;
        gatheredBytes = 0;
        for (int i = Find(ref offsetBytes); gatheredBytes < lengthBytes && used < room.Length; i++, offsetBytes = 0)
        {
            int take = (int)Math.Min(lengthBytes - gatheredBytes, slices[i].LengthBytes - offsetBytes);
            room[used++] = slices[i].Slice((int)offsetBytes, take);
            gatheredBytes += take;
        }

        return used;
    }

    public ushort PartialSum(long offsetBytes, int lengthBytes)
    {
        ushort sum = 0;
        for (int i = Find(ref offsetBytes), summed = 0; summed < lengthBytes; i++, offsetBytes = 0)
        {
            int take = (int)Math.Min(lengthBytes - summed, slices[i].LengthBytes - offsetBytes);
            sum = InternetChecksum.Combine(sum, summed, InternetChecksum.Partial(slices[i].Slice((int)offsetBytes, take).Bytes(Frames)));
            summed += take;
        }

        return sum;
    }

    public void Release()
    {
        Invariant.Check(count > 0);
        foreach (ref readonly PacketSlice slice in slices.AsSpan(0, count))
        {
            for (uint i = 0; i < (uint)slice.FrameCount; i++)
            {
                Frames.Release(new FrameNumber(slice.Frame.Value + i));
            }
        }

        count = 0;
        tcp.Finish(this);
    }

    /// <summary>Tells the application. It may send again, even with this object.</summary>
    public void Tell(Stack<FrameSend> spare)
    {
        Action<object?>? action = released;
        object? argument = state;
        released = null;
        state = null;
        spare.Push(this);
        action?.Invoke(argument);
    }

    // The slice with a byte, whose offset becomes the slice's.
    private int Find(ref long offsetBytes)
    {
        int i = 0;
        while (offsetBytes >= slices[i].LengthBytes)
        {
            offsetBytes -= slices[i++].LengthBytes;
            Invariant.Check(i < count);
        }

        return i;
    }

    private void ThrowUnlessHeld(in PacketSlice slice)
    {
        bool isInside = slice.LengthBytes > 0 && (uint)slice.OffsetBytes < FramePool.FrameBytes && slice.Frame.Value + (long)slice.FrameCount <= Frames.FrameCount;
        for (uint i = 0; isInside && i < (uint)slice.FrameCount; i++)
        {
            isInside = Frames.ReferenceCount(new FrameNumber(slice.Frame.Value + i)) > 0;
        }

        if (!isInside)
        {
            throw new ArgumentException("A slice is empty or not in allocated frames of the device's pool.", nameof(slice));
        }
    }
}
