// SPDX-License-Identifier: MIT
using Exo.Core.Memory;

namespace Exo.Core.Net;

/// <summary>
/// Packets that came in with one call, in the frames they came into.
/// <para><b>Ownership.</b> The batch holds one reference to every frame of its packets, until it is filled again or cleared. Who wants bytes longer calls
/// <see cref="FramePool.Retain"/> on their frames, and <see cref="FramePool.Release"/> some day, on any thread; frames that nobody retained the device uses again
/// without asking the pool. A packet's frames hold nothing of another packet, so writing into them disturbs nobody.</para>
/// <para>Allocates nothing after it was made. For the thread that uses the device.</para>
/// </summary>
public sealed class ReceiveBatch : IDisposable
{
    private readonly ReceivedPacket[] _packets;
    private readonly PacketSlice[] _slices;
    private ReceiveFrames? _source;
    private int _sliceCount;

    /// <summary>Makes an empty batch.</summary>
    /// <param name="frames">The pool of the devices that will fill it.</param>
    /// <param name="capacity">Packets that fit, 1 to <see cref="NetworkDevice.BatchPacketsMax"/>.</param>
    public ReceiveBatch(FramePool frames, int capacity = NetworkDevice.BatchPacketsMax)
    {
        ArgumentNullException.ThrowIfNull(frames);
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(capacity, NetworkDevice.BatchPacketsMax);
        Frames = frames;
        _packets = new ReceivedPacket[capacity];
        _slices = new PacketSlice[capacity * NetworkDevice.ReceiveSlicesMax];
    }

    /// <summary>The pool that the slices name frames of.</summary>
    public FramePool Frames { get; }

    /// <summary>Packets that fit.</summary>
    public int Capacity => _packets.Length;

    /// <summary>Packets in it.</summary>
    public int Count { get; private set; }

    /// <summary>The packets, in the order in which they came.</summary>
    public ReadOnlySpan<ReceivedPacket> Packets => _packets.AsSpan(0, Count);

    /// <summary>The pieces of a packet, in order.</summary>
    public ReadOnlySpan<PacketSlice> Slices(int index)
    {
        ReceivedPacket packet = Packets[index];
        return _slices.AsSpan(packet.FirstSlice, packet.SliceCount);
    }

    /// <summary>The bytes of a packet's first slice: all headers, and the whole packet if <see cref="ReceivedPacket.SliceCount"/> is 1.</summary>
    public Span<byte> Head(int index) => _slices[Packets[index].FirstSlice].Bytes(Frames);

    /// <summary>Copies a whole packet.</summary>
    /// <returns>Its length in bytes.</returns>
    /// <exception cref="ArgumentException">The destination is too short.</exception>
    public int CopyTo(int index, Span<byte> destination)
    {
        int copied = 0;
        foreach (PacketSlice slice in Slices(index))
        {
            slice.Bytes(Frames).CopyTo(destination[copied..]);
            copied += slice.LengthBytes;
        }

        return copied;
    }

    /// <summary>Gives the frames back.</summary>
    public void Clear()
    {
        foreach (ref readonly PacketSlice slice in _slices.AsSpan(0, _sliceCount))
        {
            uint first = slice.Frame.Value;
            for (uint i = 0; i < (uint)slice.FrameCount; i++)
            {
                Give(new FrameNumber(first + i));
            }
        }

        Count = 0;
        _sliceCount = 0;
        _source = null;
    }

    /// <summary>For drivers: adds a packet, whose references to its frames the batch takes over.</summary>
    /// <param name="source">Whom the frames are returned to; the same for the whole batch. Null: they are released.</param>
    /// <param name="slices">Its pieces, 1 to <see cref="NetworkDevice.ReceiveSlicesMax"/>.</param>
    /// <param name="checksum">What is known of its checksum.</param>
    /// <param name="offload">See <see cref="ReceivedPacket.Offload"/>.</param>
    public void Add(ReceiveFrames? source, ReadOnlySpan<PacketSlice> slices, ChecksumState checksum = ChecksumState.Unknown, PacketOffload offload = default)
    {
        Invariant.Check(Count < _packets.Length && slices.Length is > 0 and <= NetworkDevice.ReceiveSlicesMax);
        Invariant.Check(Count == 0 || ReferenceEquals(_source, source));
        int lengthBytes = 0;
        foreach (PacketSlice slice in slices)
        {
            Invariant.Check(slice.LengthBytes > 0);
            lengthBytes += slice.LengthBytes;
        }

        slices.CopyTo(_slices.AsSpan(_sliceCount));
        _packets[Count++] = new ReceivedPacket(lengthBytes, _sliceCount, slices.Length, checksum, offload);
        _sliceCount += slices.Length;
        _source = source;
    }

    /// <summary>Clears it.</summary>
    public void Dispose() => Clear();

    private void Give(FrameNumber frame)
    {
        if (_source is { } source)
        {
            source.Return(frame);
        }
        else
        {
            Frames.Release(frame);
        }
    }
}
