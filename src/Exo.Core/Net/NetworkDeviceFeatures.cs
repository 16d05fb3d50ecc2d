// SPDX-License-Identifier: MIT
namespace Exo.Core.Net;

/// <summary>What a device is and can do. A snapshot: <see cref="NetworkDevice.Refresh"/> takes a new one, for instance when the MTU may have changed.</summary>
public sealed record NetworkDeviceFeatures
{
    /// <summary>How the device is driven, e.g. "packet socket" or "AF_XDP, driver mode, copy".</summary>
    public required string Driver { get; init; }

    /// <summary>The interface's own address.</summary>
    public required MacAddress Address { get; init; }

    /// <summary>The longest IP packet in bytes; a frame has 14 more for the Ethernet header.</summary>
    public required int MtuBytes { get; init; }

    /// <summary>Whether checksums may be left to the device: <see cref="PacketOffload.NeedsChecksum"/>.</summary>
    public bool TransmitChecksum { get; init; }

    /// <summary>Whether packets may come in with a checksum that needs no verifying.</summary>
    public bool ReceiveChecksum { get; init; }

    /// <summary>Whether super-packets of TCP over IPv4 may be sent.</summary>
    public bool SegmentationV4 { get; init; }

    /// <summary>Whether super-packets of TCP over IPv6 may be sent.</summary>
    public bool SegmentationV6 { get; init; }

    /// <summary>Whether super-packets may come in.</summary>
    public bool ReceiveSuperPackets { get; init; }

    /// <summary>The longest super-packet that may be sent, headers included; 0 without segmentation. Its segments obey the MTU.</summary>
    public int SuperPacketBytesMax { get; init; }

    /// <summary>The most pieces of one packet: its header and its payload slices. (A device that cannot send pieces puts them together.)</summary>
    public int TransmitSlicesMax { get; init; } = 1;

    /// <summary>Whether packets leave from the frames they lie in; otherwise they are copied while <see cref="NetworkDevice.Transmit(ReadOnlySpan{TransmitPacket}, ReadOnlySpan{PacketSlice})"/> runs, once by the kernel, or, short ones, into memory shared with it first.</summary>
    public bool TransmitsFromFrames { get; init; }

    /// <summary>Why it is not a better one: what was asked of the kernel and refused. Null if nothing was.</summary>
    public string? Note { get; init; }

    /// <summary>The longest packet that may be sent with that kind of segmentation, Ethernet header included; 0 = none.</summary>
    public int PacketBytesMax(SegmentationKind kind) => kind switch
    {
        SegmentationKind.None => MtuBytes + NetworkDevice.EthernetHeaderBytes,
        SegmentationKind.Tcp4 => SegmentationV4 ? SuperPacketBytesMax : 0,
        SegmentationKind.Tcp6 => SegmentationV6 ? SuperPacketBytesMax : 0,
        _ => 0,
    };
}
