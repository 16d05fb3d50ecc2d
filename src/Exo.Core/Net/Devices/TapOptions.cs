// SPDX-License-Identifier: MIT
using Exo.Capabilities;

namespace Exo.Core.Net;

/// <summary>How a <see cref="TapDevice"/> is opened.</summary>
public sealed record TapOptions
{
    /// <summary>Our address on the link; null: that of the kernel's end with its last bit turned.</summary>
    public MacAddress? Address { get; init; }

    /// <summary>Whether the kernel may hand over super-packets and open checksums.</summary>
    public bool ReceiveSuperPackets { get; init; } = true;

    /// <summary>Frames to receive into. The default is room for a whole batch of the longest super-packets, and half of that again for whoever keeps some.</summary>
    public int ReceiveFrameCount { get; init; } = 64 * 17 * 3 / 2;

    /// <summary>For whom they are allocated; null: the pool's root.</summary>
    public Credential? FrameOwner { get; init; }
}
