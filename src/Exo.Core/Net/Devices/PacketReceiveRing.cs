// SPDX-License-Identifier: MIT
using Exo.Core.Linux;

namespace Exo.Core.Net;

/// <summary>
/// The receive ring of a packet socket (PACKET_RX_RING, TPACKET_V2): the kernel puts packets into slots that are mapped here, so fetching one is looking at a word.
/// <code>
///   slot, 2048 bytes   | status length captured mac ... | address | virtio header | packet ...
///                                              \------------------------------------^
/// </code>
/// A packet longer than a slot waits whole in the socket's queue as well (PACKET_COPY_THRESH), and its slot says so; slot order is the order of arrival for both.
/// </summary>
internal sealed unsafe class PacketReceiveRing : IDisposable
{
    private const int SlotBytes = 2048;
    private const int BlockBytes = 16 * 4096;

    private readonly MappedRegion _region;
    private readonly int _slots;
    private int _next;

    private PacketReceiveRing(MappedRegion region, int slots)
    {
        _region = region;
        _slots = slots;
    }

    /// <summary>The oldest packet not taken, or null. Its slot stays as it is until <see cref="Advance"/>.</summary>
    public PacketSlot* Oldest => IsFilled(_next) ? SlotAt(_next) : null;

    /// <summary>Slots.</summary>
    public int Capacity => _slots;

    /// <summary>Packets not taken, counted one by one.</summary>
    public int Waiting
    {
        get
        {
            int count = 0;
            while (count < _slots && IsFilled((_next + count) % _slots))
            {
                count++;
            }

            return count;
        }
    }

    /// <summary>Gives a socket that hears nothing yet, and speaks virtio headers, a ring. Null: the kernel has not the memory or the right; the queue serves too.</summary>
    /// <param name="socket">The packet socket.</param>
    /// <param name="slots">Rounded up to whole blocks of the kernel's memory.</param>
    public static PacketReceiveRing? TryOpen(int socket, int slots)
    {
        int version = PacketAbi.TPACKET_V2, copies = 1;
        int blocks = (slots + BlockBytes / SlotBytes - 1) / (BlockBytes / SlotBytes);
        slots = blocks * (BlockBytes / SlotBytes);
        PacketRingRequest request = new() { BlockBytes = BlockBytes, BlockCount = (uint)blocks, FrameBytes = SlotBytes, FrameCount = (uint)slots };
        if (Libc.SetSocketOption(socket, PacketAbi.SOL_PACKET, PacketAbi.PACKET_VERSION, &version, sizeof(int)) != 0
            || Libc.SetSocketOption(socket, PacketAbi.SOL_PACKET, PacketAbi.PACKET_COPY_THRESH, &copies, sizeof(int)) != 0
            || Libc.SetSocketOption(socket, PacketAbi.SOL_PACKET, PacketAbi.PACKET_RX_RING, (int*)&request, (uint)sizeof(PacketRingRequest)) != 0)
        {
            return null;
        }

        return new PacketReceiveRing(MappedRegion.Shared(socket, (long)slots * SlotBytes, 0, Abi.MAP_POPULATE), slots);
    }

    /// <summary>The kernel may use the slot of <see cref="Oldest"/> again.</summary>
    public void Advance(PacketSlot* slot)
    {
        Volatile.Write(ref slot->Status, PacketAbi.TP_STATUS_KERNEL);
        _next = _next + 1 == _slots ? 0 : _next + 1;
    }

    public void Dispose() => _region.Dispose();

    private bool IsFilled(int index) => (Volatile.Read(ref SlotAt(index)->Status) & PacketAbi.TP_STATUS_USER) != 0;

    private PacketSlot* SlotAt(int index) => (PacketSlot*)((byte*)_region.Address + (nint)index * SlotBytes);
}
