// SPDX-License-Identifier: MIT
namespace Exo.Core.Net;

/// <summary>
/// A packet to be sent: a header, then payload where it lies. Payload slices are in a vector beside the packets, so that a batch is two spans:
/// <code>
///   packets  | header, 0, 2, offload | header, 2, 1, offload | ...
///   slices   | payload | payload     | payload               | ...
/// </code>
/// </summary>
/// <param name="Header">The first bytes; at least the Ethernet header of 14 bytes.</param>
/// <param name="FirstSlice">Where its payload begins in the vector of slices.</param>
/// <param name="SliceCount">How many slices of payload; may be 0.</param>
/// <param name="Offload">What the device is to do to it; the default is nothing.</param>
public readonly record struct TransmitPacket(PacketSlice Header, int FirstSlice = 0, int SliceCount = 0, PacketOffload Offload = default);
