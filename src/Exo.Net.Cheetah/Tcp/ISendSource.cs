// SPDX-License-Identifier: MIT
using Exo.Core.Net;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// Bytes in frames that a connection sends, and sends again, from where they lie: a document of the cache, a block of response heads, a
/// buffer of an application. The bytes do not change while a connection holds them.
/// </summary>
internal interface ISendSource
{
    /// <summary>Describes bytes by slices, as many as fit; returns how many slices were used, and the bytes they cover.</summary>
    int Gather(long offsetBytes, int lengthBytes, Span<PacketSlice> slices, out int gatheredBytes);

    /// <summary>The partial checksum of bytes, from what is stored where that is less work.</summary>
    ushort PartialSum(long offsetBytes, int lengthBytes);

    /// <summary>One stretch less is held: all its bytes are acknowledged or given up.</summary>
    void Release();
}
