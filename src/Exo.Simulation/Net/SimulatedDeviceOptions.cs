// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Net;

namespace Exo.Simulation.Net;

/// <summary>What a <see cref="SimulatedNetworkDevice"/> is and can do.</summary>
public sealed record SimulatedDeviceOptions
{
    /// <summary>Its address; null: 02:00:00:00:00:NN, the NN-th device on its wire.</summary>
    public MacAddress? Address { get; init; }

    /// <summary>The longest IP packet in bytes.</summary>
    public int MtuBytes { get; init; } = 1500;

    /// <summary>Whether checksums may be left to it.</summary>
    public bool TransmitChecksum { get; init; } = true;

    /// <summary>Whether it cuts super-packets. Needs <see cref="TransmitChecksum"/>.</summary>
    public bool Segmentation { get; init; } = true;

    /// <summary>Whether it says of packets that the sender's device computed their checksum, and that no bit of them is wrong.</summary>
    public bool ReceiveChecksum { get; init; } = true;

    /// <summary>Whether it takes super-packets as they were sent, checksum left open, when the wire has no impairments: as two virtual interfaces of one machine do.</summary>
    public bool ReceiveSuperPackets { get; init; }

    /// <summary>Whether it also takes packets for others.</summary>
    public bool IsPromiscuous { get; init; }

    /// <summary>Whether it keeps the frames of a packet until the packet has left, as a card that reads them itself does. Bytes changed meanwhile are noticed: <see cref="SimulatedNetworkDevice.ChangedInFlight"/>.</summary>
    public bool TransmitsFromFrames { get; init; }

    /// <summary>The most packets that it has not sent yet; what is beyond is not accepted. Only with <see cref="TransmitsFromFrames"/>.</summary>
    public int TransmitRingPackets { get; init; } = 1024;

    /// <summary>The most packets under way to it; what is beyond is lost.</summary>
    public int ReceiveQueuePackets { get; init; } = 65_536;

    /// <summary>Frames that it receives into, allocated when it is attached.</summary>
    public int ReceiveFrameCount { get; init; } = 256;

    /// <summary>For whom they are allocated; null: the pool's root.</summary>
    public Credential? FrameOwner { get; init; }
}
