// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Exo.Core.Memory;

namespace Exo.Core.Net;

/// <summary>
/// The memory that packet sockets and TAP are called with: what the kernel reads lies in one region outside the managed heap, made once.
/// <code>
///   to send    messages[64]   headers[64]   pieces[1280]        message i: | header i | packet's header | payload | payload | ...
///   to receive messages[64]   headers[64]   pieces[64][1 + 17]  slot i:    | header i | frame | frame | ... 17 frames
/// </code>
/// A slot has room for the longest super-packet; after a packet only the frames that it filled are replaced.
/// </summary>
internal sealed unsafe class VirtioVectors : IDisposable
{
    public const int MessagesMax = NetworkDevice.BatchPacketsMax;

    /// <summary>Frames of one slot when super-packets come in: 65,535 bytes and an Ethernet header.</summary>
    public const int SuperPacketFrames = 17;

    private const int PiecesMax = 1280;

    private readonly FramePool _frames;
    private readonly ReceiveFrames _source;
    private readonly MappedRegion _region;
    private readonly MultiMessage* _sending;
    private readonly MultiMessage* _receiving;
    private readonly VirtioHeader* _sendHeaders;
    private readonly VirtioHeader* _receiveHeaders;
    private readonly IoVector* _sendPieces;
    private readonly IoVector* _receivePieces;
    private readonly int _slotFrames;
    private readonly FrameNumber[] _slots;

    // The frames from..to of a slot are missing.
    private readonly (byte From, byte To)[] _missing = new (byte, byte)[MessagesMax];
    private readonly PacketSlice[] _slices = new PacketSlice[NetworkDevice.ReceiveSlicesMax];

    public VirtioVectors(FramePool frames, ReceiveFrames source, int slotFrames)
    {
        _frames = frames;
        _source = source;
        _slotFrames = slotFrames;
        _slots = new FrameNumber[MessagesMax * slotFrames];
        int receivePieces = MessagesMax * (1 + slotFrames);
        _region = MappedRegion.Anonymous(
            2L * MessagesMax * (sizeof(MultiMessage) + 16) + ((long)PiecesMax + receivePieces) * sizeof(IoVector));
        _sending = (MultiMessage*)_region.Address;
        _receiving = _sending + MessagesMax;
        _sendPieces = (IoVector*)(_receiving + MessagesMax);
        _receivePieces = _sendPieces + PiecesMax;
        _sendHeaders = (VirtioHeader*)(_receivePieces + receivePieces);
        _receiveHeaders = _sendHeaders + MessagesMax;
        for (int i = 0; i < MessagesMax; i++)
        {
            IoVector* pieces = ReceivePieces(i);
            pieces[0] = new IoVector { Base = (nint)(_receiveHeaders + i), LengthBytes = (nuint)sizeof(VirtioHeader) };
            _receiving[i].Header.Vectors = pieces;
            _receiving[i].Header.VectorCount = (nuint)(1 + slotFrames);
            _missing[i] = (0, (byte)slotFrames);
        }
    }

    public MultiMessage* Sending => _sending;

    public MultiMessage* Receiving => _receiving;

    public int PiecesPerSlot => 1 + _slotFrames;

    public IoVector* ReceivePieces(int slot) => _receivePieces + slot * (1 + _slotFrames);

    /// <summary>Writes messages for as many packets as there is room for, at least one.</summary>
    /// <param name="packets">The packets, checked.</param>
    /// <param name="slices">What they index.</param>
    /// <param name="isContiguous">Whether the whole packet is told to be header, which the kernel keeps in one piece.</param>
    public int Build(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices, bool isContiguous = false)
    {
        // The largest packet that was let in has 64 pieces: it always fits into an empty vector of 1280.
        nint memory = _frames.BaseAddress;
        int used = 0;
        int count = Math.Min(packets.Length, MessagesMax);
        for (int i = 0; i < count; i++)
        {
            ref readonly TransmitPacket packet = ref packets[i];
            int pieces = 2 + packet.SliceCount;
            if (used + pieces > PiecesMax)
            {
                return i;
            }

            IoVector* at = _sendPieces + used;
            used += pieces;
            _sendHeaders[i] = HeaderOf(packet.Offload);
            if (isContiguous)
            {
                _sendHeaders[i].HeaderBytes = (ushort)TransmitLength.Of(packet, slices);
            }

            at[0] = new IoVector { Base = (nint)(_sendHeaders + i), LengthBytes = (nuint)sizeof(VirtioHeader) };
            at[1] = Piece(memory, packet.Header);
            for (int j = 0; j < packet.SliceCount; j++)
            {
                at[2 + j] = Piece(memory, slices[packet.FirstSlice + j]);
            }

            _sending[i].Header.Vectors = at;
            _sending[i].Header.VectorCount = (nuint)pieces;
        }

        return count;
    }

    /// <summary>What is left to do to a packet, as the kernel is told.</summary>
    public static VirtioHeader HeaderOf(PacketOffload offload) => new()
    {
        Flags = offload.NeedsChecksum ? PacketAbi.VIRTIO_NET_HDR_F_NEEDS_CSUM : (byte)0,
        SegmentationType = (byte)offload.Segmentation,
        HeaderBytes = offload.HeaderBytes,
        SegmentBytes = offload.SegmentBytes,
        ChecksumStart = offload.ChecksumStartBytes,
        ChecksumOffset = offload.NeedsChecksum ? offload.ChecksumOffsetBytes : (ushort)0,
    };

    /// <summary>Puts frames into the first slots.</summary>
    /// <returns>Slots that are complete, from the first on.</returns>
    public int Fill(int wanted)
    {
        for (int i = 0; i < wanted; i++)
        {
            ref (byte From, byte To) missing = ref _missing[i];
            IoVector* pieces = ReceivePieces(i) + 1;
            while (missing.From < missing.To)
            {
                if (!_source.TryTake(out FrameNumber frame))
                {
                    return i;
                }

                _slots[i * _slotFrames + missing.From] = frame;
                pieces[missing.From] = new IoVector { Base = _frames.Address(frame), LengthBytes = FramePool.FrameBytes };
                missing.From++;
            }
        }

        return wanted;
    }

    /// <summary>Moves the packet that came into a slot to a batch.</summary>
    /// <param name="slot">A complete one.</param>
    /// <param name="lengthBytes">What the kernel wrote, the virtio header included.</param>
    /// <param name="batch">Where to.</param>
    /// <returns>Length of the packet; 0: it was none.</returns>
    public int Take(int slot, int lengthBytes, ReceiveBatch batch)
    {
        int left = lengthBytes - sizeof(VirtioHeader);
        if (left < NetworkDevice.EthernetHeaderBytes || left > _slotFrames * FramePool.FrameBytes)
        {
            return 0;
        }

        ReadOnlySpan<FrameNumber> frames = _slots.AsSpan(slot * _slotFrames, _slotFrames);
        int count = 0;
        byte used = 0;
        for (int rest = left; rest > 0; rest -= FramePool.FrameBytes)
        {
            int piece = Math.Min(rest, FramePool.FrameBytes);
            FrameNumber frame = frames[used++];

            // Frames that happen to follow one another make one piece.
            if (count > 0 && _slices[count - 1] is var last && last.Frame.Value + (uint)last.FrameCount == frame.Value)
            {
                _slices[count - 1] = last with { LengthBytes = last.LengthBytes + piece };
            }
            else
            {
                _slices[count++] = new PacketSlice(frame, 0, piece);
            }
        }

        _missing[slot] = (0, used);
        Add(batch, _source, _slices.AsSpan(0, count), _receiveHeaders[slot]);
        return left;
    }

    /// <summary>Adds a packet with what its virtio header says of it.</summary>
    public static void Add(ReceiveBatch batch, ReceiveFrames source, ReadOnlySpan<PacketSlice> slices, in VirtioHeader header)
    {
        bool isPartial = (header.Flags & PacketAbi.VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0;
        var segmentation = (SegmentationKind)(header.SegmentationType & ~PacketAbi.VIRTIO_NET_HDR_GSO_ECN);
        bool isSuper = segmentation is SegmentationKind.Tcp4 or SegmentationKind.Tcp6;
        batch.Add(
            source,
            slices,
            isPartial ? ChecksumState.Partial
                : (header.Flags & PacketAbi.VIRTIO_NET_HDR_F_DATA_VALID) != 0 ? ChecksumState.Verified : ChecksumState.Unknown,
            new PacketOffload(
                isPartial ? header.ChecksumStart : (ushort)0, isPartial ? header.ChecksumOffset : (ushort)0,
                isSuper ? segmentation : SegmentationKind.None, isSuper ? header.SegmentBytes : (ushort)0, isSuper ? header.HeaderBytes : (ushort)0));
    }

    /// <summary>Gives the slots' frames back. The kernel must be done with them.</summary>
    public void Dispose()
    {
        for (int i = 0; i < MessagesMax; i++)
        {
            for (int j = 0; j < _slotFrames; j++)
            {
                if (j < _missing[i].From || j >= _missing[i].To)
                {
                    _source.Return(_slots[i * _slotFrames + j]);
                }
            }

            _missing[i] = (0, (byte)_slotFrames);
        }

        _region.Dispose();
    }

    // The slice was checked: it lies inside the pool.
    private static IoVector Piece(nint memory, PacketSlice slice) => new()
    {
        Base = memory + (nint)slice.Frame.Value * FramePool.FrameBytes + slice.OffsetBytes,
        LengthBytes = (nuint)slice.LengthBytes,
    };
}
