// SPDX-License-Identifier: MIT
namespace Exo.Core.Net;

/// <summary>What a device has done since it was opened. Read from any thread; changing under the reader.</summary>
/// <param name="TransmittedPackets">Accepted; a super-packet counts as one.</param>
/// <param name="TransmittedBytes">Bytes of those.</param>
/// <param name="TransmitDropped">Of those, how many the kernel or the wire refused afterwards (interface down, packet longer than an MTU that shrank).</param>
/// <param name="TransmitFull">Times that <see cref="NetworkDevice.Transmit(ReadOnlySpan{TransmitPacket}, ReadOnlySpan{PacketSlice})"/> accepted less than it was given.</param>
/// <param name="ReceivedPackets">Delivered in batches.</param>
/// <param name="ReceivedBytes">Bytes of those.</param>
/// <param name="ReceiveDropped">Lost for want of room or frames, or cut short, as far as the device can tell.</param>
/// <param name="SystemCalls">Calls into the kernel to transmit, receive and wait.</param>
public readonly record struct NetworkDeviceCounters(
    long TransmittedPackets, long TransmittedBytes, long TransmitDropped, long TransmitFull,
    long ReceivedPackets, long ReceivedBytes, long ReceiveDropped, long SystemCalls)
{
    /// <summary>
    /// Bytes of packets that this process has copied to hand them over, headers included: into a ring that it shares with the kernel, each time that it tried. What a kernel, a card or a wire copies after that is not known here; a device that only names frames
    /// has 0 (TAP, AF_XDP, a packet socket's packets that do not fit into its ring, the simulated wire).
    /// </summary>
    public long TransmitCopiedBytes { get; init; }

    /// <summary>Of the packets accepted, how many went nowhere because they were said to come from what is not their sender's (<see cref="EnvironmentDevice"/>).</summary>
    public long TransmitRefused { get; init; }
}
