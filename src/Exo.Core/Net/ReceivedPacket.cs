// SPDX-License-Identifier: MIT
namespace Exo.Core.Net;

/// <summary>A packet that came in; its bytes are the slices of <see cref="ReceiveBatch.Slices"/>.</summary>
/// <param name="LengthBytes">All bytes, from the Ethernet header on, without the frame check sequence.</param>
/// <param name="FirstSlice">Where its slices begin in the batch.</param>
/// <param name="SliceCount">How many slices, at least 1. The first holds at least the first 1,024 bytes, or the whole packet.</param>
/// <param name="Checksum">What is known of its transport checksum.</param>
/// <param name="Offload">
/// With <see cref="ChecksumState.Partial"/> where the checksum is missing; for a super-packet, put together by the other side or never cut,
/// the kind and the size of the segments. (HeaderBytes is only a hint here, as virtio says.)
/// </param>
public readonly record struct ReceivedPacket(int LengthBytes, int FirstSlice, int SliceCount, ChecksumState Checksum, PacketOffload Offload);
