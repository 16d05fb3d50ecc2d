// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.Net;

/// <summary>
/// The transmit ring of a packet socket (PACKET_TX_RING, TPACKET_V2): packets are written into slots that are mapped here, and one call sends all that have been, without
/// the kernel's reading a message header and a vector for each of them.
/// <code>
///   slot, 2048 bytes   | status length ... | virtio header | packet ...
///
///   free --TryAdd--> asked for --Send--> under way (a device has it) --> free
/// </code>
/// The whole packet counts as header (virtio's hdr_len), so that the kernel copies it. What lies behind the header it would send by reference to the slot's pages; but where
/// the other end is a stack of the same machine, as on veth, such a packet is copied on the way (skb_orphan_frags), page by page, which is dearer than sendmsg's copy.
/// <para>The ring needs a socket of its own, because the kernel sends from nowhere else on a socket that has one. It hears nothing.</para>
/// </summary>
internal sealed unsafe class PacketTransmitRing : IDisposable
{
    private const int SlotBytes = 2048;
    private const int BlockBytes = 16 * 4096;

    // The longest packet that a slot holds.
    private static readonly int PacketBytesMax = SlotBytes - sizeof(PacketSlot) - sizeof(VirtioHeader);

    private readonly SafeFileHandle _socket;
    private readonly MappedRegion _region;
    private readonly int _slots;

    // Where the kernel goes on sending, and the slots from there on that are asked for.
    private int _first;
    private int _asked;

    private PacketTransmitRing(SafeFileHandle socket, MappedRegion region, int slots)
    {
        _socket = socket;
        _region = region;
        _slots = slots;
    }

    public int Descriptor => (int)_socket.DangerousGetHandle();

    /// <summary>Slots.</summary>
    public int Capacity => _slots;

    /// <summary>Slots whose packets the kernel has not sent, counted one by one backwards from the youngest.</summary>
    public int Waiting
    {
        get
        {
            int count = _asked;
            while (count < _slots && Volatile.Read(ref SlotAt(_slots - 1 - (count - _asked))->Status) != PacketAbi.TP_STATUS_AVAILABLE)
            {
                count++;
            }

            return count;
        }
    }

    /// <summary>Gives a socket that hears nothing, speaks virtio headers and is bound a ring, and takes it over. Null: the kernel has not the memory or the right.</summary>
    /// <param name="socket">The packet socket; disposed of if there is no ring.</param>
    /// <param name="slots">Rounded up to whole blocks of the kernel's memory.</param>
    public static PacketTransmitRing? TryOpen(SafeFileHandle socket, int slots)
    {
        int fd = (int)socket.DangerousGetHandle();
        int version = PacketAbi.TPACKET_V2, skips = 1;
        int blocks = (slots + BlockBytes / SlotBytes - 1) / (BlockBytes / SlotBytes);
        slots = blocks * (BlockBytes / SlotBytes);
        PacketRingRequest request = new() { BlockBytes = BlockBytes, BlockCount = (uint)blocks, FrameBytes = SlotBytes, FrameCount = (uint)slots };
        if (Libc.SetSocketOption(fd, PacketAbi.SOL_PACKET, PacketAbi.PACKET_VERSION, &version, sizeof(int)) != 0
            || Libc.SetSocketOption(fd, PacketAbi.SOL_PACKET, PacketAbi.PACKET_LOSS, &skips, sizeof(int)) != 0
            || Libc.SetSocketOption(fd, PacketAbi.SOL_PACKET, PacketAbi.PACKET_TX_RING, (int*)&request, (uint)sizeof(PacketRingRequest)) != 0)
        {
            socket.Dispose();
            return null;
        }

        try
        {
            return new PacketTransmitRing(socket, MappedRegion.Shared(fd, (long)slots * SlotBytes, 0, Abi.MAP_POPULATE), slots);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Whether a packet of that length goes this way.</summary>
    public static bool Takes(in TransmitPacket packet, long lengthBytes) => lengthBytes <= PacketBytesMax && !packet.Offload.IsSuperPacket;

    /// <summary>Writes a packet into the next slot. False when that is not free yet.</summary>
    public bool TryAdd(in TransmitPacket packet, ReadOnlySpan<PacketSlice> payload, nint memory, int lengthBytes)
    {
        PacketSlot* slot = SlotAt(_asked);
        if (_asked == _slots || Volatile.Read(ref slot->Status) != PacketAbi.TP_STATUS_AVAILABLE)
        {
            return false;
        }

        var header = (VirtioHeader*)(slot + 1);
        *header = VirtioVectors.HeaderOf(packet.Offload) with { HeaderBytes = (ushort)lengthBytes };
        byte* at = Copy(packet.Header, memory, (byte*)(header + 1));
        foreach (ref readonly PacketSlice slice in payload)
        {
            at = Copy(slice, memory, at);
        }

        slot->LengthBytes = (uint)(sizeof(VirtioHeader) + lengthBytes);
        Volatile.Write(ref slot->Status, PacketAbi.TP_STATUS_SEND_REQUEST);
        _asked++;
        return true;
    }

    /// <summary>Asks the kernel to send what has been added.</summary>
    /// <param name="errno">Why it did not take the next one; 0: it took all, or has no room for more now.</param>
    /// <returns>Packets it took, from the first on. The others are still there.</returns>
    public int Send(out int errno)
    {
        nint sent;
        do
        {
            sent = Libc.SendTo(Descriptor, null, 0, Libc.MessageDontWait, null, 0);
            errno = sent < 0 ? Errno.Last : 0;
        }
        while (errno == Errno.EINTR);

        // It goes from slot to slot and stops at one it cannot send, which it leaves, or makes again, as it was.
        int taken = 0;
        while (_asked > 0 && Volatile.Read(ref SlotAt(0)->Status) != PacketAbi.TP_STATUS_SEND_REQUEST)
        {
            _first = _first + 1 == _slots ? 0 : _first + 1;
            _asked--;
            taken++;
        }

        return taken;
    }

    /// <summary>Takes back what the kernel did not take: it goes on at the same slot.</summary>
    /// <returns>How many packets.</returns>
    public int TakeBack()
    {
        int count = _asked;
        while (_asked > 0)
        {
            Volatile.Write(ref SlotAt(--_asked)->Status, PacketAbi.TP_STATUS_AVAILABLE);
        }

        return count;
    }

    public void Dispose()
    {
        _region.Dispose();
        _socket.Dispose();
    }

    private PacketSlot* SlotAt(int index)
    {
        int at = _first + index;
        return (PacketSlot*)((byte*)_region.Address + (nint)(at >= _slots ? at - _slots : at) * SlotBytes);
    }

    // The slice was checked: it lies inside the pool.
    private static byte* Copy(PacketSlice slice, nint memory, byte* to)
    {
        byte* from = (byte*)memory + (nint)slice.Frame.Value * Memory.FramePool.FrameBytes + slice.OffsetBytes;
        new ReadOnlySpan<byte>(from, slice.LengthBytes).CopyTo(new Span<byte>(to, slice.LengthBytes));
        return to + slice.LengthBytes;
    }
}
