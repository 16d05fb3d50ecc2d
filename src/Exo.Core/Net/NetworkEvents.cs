// SPDX-License-Identifier: MIT
namespace Exo.Core.Net;

/// <summary>What a wait was for, and what ended it.</summary>
[Flags]
public enum NetworkEvents : byte
{
    /// <summary>The time is up.</summary>
    None = 0,

    /// <summary>Packets may be received.</summary>
    Receivable = 1,

    /// <summary>Packets may be sent: after <see cref="NetworkDevice.Transmit(ReadOnlySpan{TransmitPacket}, ReadOnlySpan{PacketSlice})"/> accepted less than it was given.</summary>
    Transmittable = 2,

    /// <summary>Somebody called <see cref="NetworkDevice.Wake"/>.</summary>
    Woken = 4,
}
