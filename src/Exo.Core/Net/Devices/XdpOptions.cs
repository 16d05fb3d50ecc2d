// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.PacketFilters;

namespace Exo.Core.Net;

/// <summary>Where an XDP program is attached.</summary>
public enum XdpMode : byte
{
    /// <summary>In the driver, or, if it cannot, in the generic path.</summary>
    Any = 0,

    /// <summary>In the driver, before the kernel has made anything of the packet.</summary>
    Driver = 1,

    /// <summary>In the generic path that every interface has.</summary>
    Generic = 2,
}

/// <summary>How an <see cref="XdpDevice"/> is opened.</summary>
public sealed record XdpOptions
{
    /// <summary>Where the program is attached.</summary>
    public XdpMode Mode { get; init; }

    /// <summary>The queue of the interface that this device receives from and sends to; packets of other queues are the kernel's. Null: all queues that it has when the device is opened, and the first to send.</summary>
    public int? Queue { get; init; }

    /// <summary>
    /// Which packets come up; all others go on to the kernel. After changes call <see cref="NetworkDevice.UpdateFilters"/>. Null: all packets come up.
    /// </summary>
    public PacketFilterTree? Filters { get; init; }

    /// <summary>Entries of the ring of packets to be sent, a power of two.</summary>
    public int TransmitRingEntries { get; init; } = 2048;

    /// <summary>Entries of the ring of packets that came in, of each queue, a power of two.</summary>
    public int ReceiveRingEntries { get; init; } = 2048;

    /// <summary>Frames to receive into, of all queues together: those that wait for packets (with several queues at most half of all, each queue the same), those of packets not fetched yet, and those that somebody keeps.</summary>
    public int ReceiveFrameCount { get; init; } = 4096;

    /// <summary>For whom they are allocated; null: the pool's root.</summary>
    public Credential? FrameOwner { get; init; }
}
