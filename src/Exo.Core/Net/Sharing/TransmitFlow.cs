// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Sharing;

namespace Exo.Core.Net;

/// <summary>The packets that wait in one share, in order. Guarded by the lock of the shares. Allocates nothing once its places have held packets of as many pieces.</summary>
internal sealed class TransmitFlow(int weight, int packetsMax) : ShareFlow(weight)
{
    private readonly Entry[] _entries = new Entry[packetsMax];
    private int _first;
    private bool _isClosed;

    /// <summary>The share that it is the inside of.</summary>
    public TransmitShare? Owner { get; set; }

    public bool IsClosed
    {
        get => Volatile.Read(ref _isClosed);
        set => Volatile.Write(ref _isClosed, value);
    }

    public int Count { get; private set; }

    public bool IsFull => Count == _entries.Length;

    /// <summary>Packets that ever were queued.</summary>
    public long Queued { get; private set; }

    /// <summary>Packets that have had their turn.</summary>
    public long Packets { get; private set; }

    /// <summary>Bytes of these.</summary>
    public long Bytes { get; private set; }

    public override long HeadCost => Count == 0 ? -1 : _entries[At(0)].LengthBytes;

    public (PacketSlice Header, PacketSlice[] Payload, int PayloadCount, PacketOffload Offload) Head
    {
        get
        {
            ref Entry entry = ref _entries[At(0)];
            return (entry.Header, entry.Payload, entry.PayloadCount, entry.Offload);
        }
    }

    /// <summary>The port that the first was let through for (<see cref="PortSet.IndexOf"/>); 0: none.</summary>
    public int HeadSource => _entries[At(0)].Source;

    public bool TryAdd(in TransmitPacket packet, ReadOnlySpan<PacketSlice> payload, int source = 0)
    {
        if (IsFull)
        {
            return false;
        }

        ref Entry entry = ref _entries[At(Count)];
        if (entry.Payload is null || entry.Payload.Length < payload.Length)
        {
            entry.Payload = new PacketSlice[Math.Max(2, payload.Length)];
        }

        payload.CopyTo(entry.Payload);
        entry.Header = packet.Header;
        entry.PayloadCount = payload.Length;
        entry.Source = source;
        entry.Offload = packet.Offload;
        entry.LengthBytes = packet.Header.LengthBytes;
        foreach (PacketSlice slice in payload)
        {
            entry.LengthBytes += slice.LengthBytes;
        }

        Count++;
        Queued++;
        return true;
    }

    /// <summary>The first has had its turn.</summary>
    public void Taken(long lengthBytes)
    {
        Packets++;
        Bytes += lengthBytes;
        RemoveHead();
    }

    public void RemoveHead()
    {
        _first = At(1);
        Count--;
    }

    private int At(int index) => (_first + index) % _entries.Length;

    private struct Entry
    {
        public PacketSlice Header;
        public PacketSlice[] Payload;
        public int PayloadCount;
        public int LengthBytes;
        public int Source;
        public PacketOffload Offload;
    }
}

/// <summary>References to the frames of a packet that waits.</summary>
internal static class TransmitFrames
{
    public static void Retain(FramePool frames, PacketSlice header, ReadOnlySpan<PacketSlice> payload)
    {
        Retain(frames, header);
        foreach (PacketSlice slice in payload)
        {
            Retain(frames, slice);
        }
    }

    public static void Release(FramePool frames, PacketSlice header, ReadOnlySpan<PacketSlice> payload)
    {
        Release(frames, header);
        foreach (PacketSlice slice in payload)
        {
            Release(frames, slice);
        }
    }

    private static void Retain(FramePool frames, PacketSlice slice)
    {
        for (uint i = 0; i < (uint)slice.FrameCount; i++)
        {
            frames.Retain(new FrameNumber(slice.Frame.Value + i));
        }
    }

    private static void Release(FramePool frames, PacketSlice slice)
    {
        for (uint i = 0; i < (uint)slice.FrameCount; i++)
        {
            frames.Release(new FrameNumber(slice.Frame.Value + i));
        }
    }
}
