// SPDX-License-Identifier: MIT
namespace Exo.Core.Net;

/// <summary>How a super-packet is cut into packets.</summary>
public enum SegmentationKind : byte
{
    /// <summary>Not at all: it is one packet.</summary>
    None = 0,

    /// <summary>TCP over IPv4 (TSO).</summary>
    Tcp4 = 1,

    /// <summary>TCP over IPv6 (TSO6).</summary>
    Tcp6 = 4,
}

/// <summary>What is known of the checksum of a packet that came in.</summary>
public enum ChecksumState : byte
{
    /// <summary>Nothing: the receiver has to verify it.</summary>
    Unknown = 0,

    /// <summary>The device has verified it.</summary>
    Verified = 1,

    /// <summary>
    /// The packet has not been on a wire and nobody has computed its checksum: the field holds the sum of the pseudo-header. The bytes are good. Who
    /// passes it on completes it from <see cref="PacketOffload.ChecksumStartBytes"/> on.
    /// </summary>
    Partial = 2,
}

/// <summary>
/// What is left to do to a packet: the fields of virtio's packet header (virtio 1.3, 5.1.6), which are what TAP and AF_PACKET speak.
/// <para><b>Checksum.</b> The 16-bit field at ChecksumStart + ChecksumOffset holds the folded, not inverted sum of the pseudo-header; the device
/// replaces it by the inverted sum of all bytes from ChecksumStart to the end.</para>
/// <para><b>Segmentation.</b> The packet is a super-packet: the first HeaderBytes are repeated in front of every SegmentBytes of payload; IP
/// lengths and identifications, TCP sequence numbers, FIN, PSH and CWR, and the checksums are put right by whoever cuts it. The pseudo-header sum of a
/// super-packet contains the length of the whole. Needs a checksum too.</para>
/// </summary>
/// <param name="ChecksumStartBytes">From the packet's first byte; 0 = no checksum is to be completed.</param>
/// <param name="ChecksumOffsetBytes">From ChecksumStart: 16 for TCP, 6 for UDP.</param>
/// <param name="Segmentation">How it is to be cut.</param>
/// <param name="SegmentBytes">Payload of each packet, the last excepted.</param>
/// <param name="HeaderBytes">All headers, Ethernet's included.</param>
public readonly record struct PacketOffload(
    ushort ChecksumStartBytes, ushort ChecksumOffsetBytes, SegmentationKind Segmentation = SegmentationKind.None, ushort SegmentBytes = 0, ushort HeaderBytes = 0)
{
    /// <summary>Whether a checksum is to be completed.</summary>
    public bool NeedsChecksum => ChecksumStartBytes != 0;

    /// <summary>Whether it is a super-packet.</summary>
    public bool IsSuperPacket => Segmentation != SegmentationKind.None;
}
