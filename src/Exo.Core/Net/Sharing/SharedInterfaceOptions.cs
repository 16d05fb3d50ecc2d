// SPDX-License-Identifier: MIT
namespace Exo.Core.Net;

/// <summary>An environment's part of a <see cref="SharedInterface"/>.</summary>
public sealed record SharedInterfaceOptions
{
    /// <summary>Packets that may wait to be fetched, 1 to 65,536; more are lost.</summary>
    public int ReceiveSlots { get; init; } = 1024;

    /// <summary>Packets that may wait to be sent, 1 to 65,536; more are not accepted.</summary>
    public int TransmitPacketsMax { get; init; } = 256;

    /// <summary>Its part of what is sent, in proportion to those of the others who have something to send: 1 to 1,000,000.</summary>
    public int Weight { get; init; } = 1;
}
