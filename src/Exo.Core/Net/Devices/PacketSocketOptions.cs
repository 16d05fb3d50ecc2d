// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.PacketFilters;

namespace Exo.Core.Net;

/// <summary>How a <see cref="PacketSocketDevice"/> is opened.</summary>
public sealed record PacketSocketOptions
{
    /// <summary>Whether the interface is to take packets for other addresses too, as long as the device is open.</summary>
    public bool IsPromiscuous { get; init; }

    /// <summary>
    /// Packets go to the driver past the interface's queueing discipline: cheaper, and nothing shapes them. Off where traffic control must see them. Only for
    /// interfaces that take super-packets as they are: for others the kernel cuts them on the ordinary way. <see cref="NetworkDevice.Refresh"/> looks again.
    /// </summary>
    public bool BypassQueueing { get; init; } = true;

    /// <summary>
    /// Devices of one number on one interface share its packets by flow (PACKET_FANOUT), each gets the whole of a connection. 0 = each gets all.
    /// </summary>
    public ushort FanoutGroup { get; init; }

    /// <summary>Room in bytes for packets that have come in and were not fetched yet, and again for those on their way out.</summary>
    public int SocketBufferBytes { get; init; } = 16 << 20;

    /// <summary>
    /// Slots of 2 KiB of a ring shared with the kernel, in which packets are found without a call; longer ones wait in the socket's queue. 0 = no ring, nor where
    /// the kernel has not the memory for it: then all packets are fetched from the queue.
    /// </summary>
    public int ReceiveRingSlots { get; init; } = 2048;

    /// <summary>
    /// Slots of 2 KiB of a ring shared with the kernel, into which packets that fit are written to be sent; longer ones are sent from their frames. 0 = no ring, nor where the
    /// kernel has not the memory for it.
    /// </summary>
    public int TransmitRingSlots { get; init; } = NetworkDevice.BatchPacketsMax;

    /// <summary>
    /// Whether the kernel is to copy a packet that is sent into one piece of memory (up to 128 KiB) rather than page by page: cheaper, above all for super-packets. Where it has no such
    /// piece, packets go page by page for a while. Off where memory is scarce and in small pieces, so that looking for long ones holds the sender up.
    /// </summary>
    public bool ContiguousBuffers { get; init; } = true;

    /// <summary>
    /// How long <see cref="NetworkDevice.Wait"/> looks at the ring before it sleeps: being woken costs both sides more than packets that follow closely. Zero, the default:
    /// not at all. Uses a whole processor while packets come more often than that.
    /// </summary>
    public TimeSpan BusyPoll { get; init; }

    /// <summary>
    /// Whether code can be downloaded to where packets come in (<see cref="NetworkDevice.SetHandler"/>). Needs Linux 6.6, CAP_BPF and CAP_NET_ADMIN; where they are missing the device
    /// is not opened.
    /// </summary>
    public bool TakesHandlers { get; init; }

    /// <summary>
    /// Which packets come up, and do not go on to the kernel; all others go on to the kernel and do not come up, so that its own addresses and connections on the interface are as before.
    /// After changes call <see cref="NetworkDevice.UpdateFilters"/>. Null: all packets come up, and the kernel sees them too. Filters need Linux 6.6, CAP_BPF and CAP_NET_ADMIN; where they are
    /// missing the device is not opened. When it is closed, or its process dies, the interface is as it was.
    /// </summary>
    public PacketFilterTree? Filters { get; init; }

    /// <summary>Frames to receive into. The default is room for a whole batch of the longest super-packets, and half of that again for whoever keeps some.</summary>
    public int ReceiveFrameCount { get; init; } = 64 * 17 * 3 / 2;

    /// <summary>For whom they are allocated; null: the pool's root.</summary>
    public Credential? FrameOwner { get; init; }
}
