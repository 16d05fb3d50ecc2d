// SPDX-License-Identifier: MIT
namespace Exo.Core.Net;

/// <summary>How full the rings are that a device shares with the kernel; all zero for a device without rings.</summary>
/// <param name="ReceiveWaiting">Packets (AF_XDP: pieces) that have come and were not fetched.</param>
/// <param name="ReceiveCapacity">Slots of the receive ring.</param>
/// <param name="TransmitWaiting">Packets (AF_XDP: pieces) that the kernel has not taken, or not given back the slots of.</param>
/// <param name="TransmitCapacity">Slots of the transmit ring.</param>
public readonly record struct NetworkDeviceRings(int ReceiveWaiting, int ReceiveCapacity, int TransmitWaiting, int TransmitCapacity);
