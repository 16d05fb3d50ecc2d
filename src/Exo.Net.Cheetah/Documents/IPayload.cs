// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Exo.Net.Cheetah.Tcp;

namespace Exo.Net.Cheetah;

/// <summary>Bytes in frames that a response names: a document, or a range of one that is too large to be at hand whole. Whoever sends them holds them.</summary>
internal interface IPayload : ISendSource
{
    /// <summary>Describes bytes by addresses, as many as fit; returns how many vectors were used.</summary>
    /// <param name="offsetBytes">First byte wanted.</param>
    /// <param name="lengthBytes">Bytes wanted; inside the payload.</param>
    /// <param name="vectors">Room for at least one.</param>
    /// <param name="gatheredBytes">Bytes the vectors cover.</param>
    int Gather(long offsetBytes, long lengthBytes, Span<IoVector> vectors, out long gatheredBytes);

    /// <summary>Bytes from an offset on: as many as lie together, at most <paramref name="maxBytes"/>.</summary>
    ReadOnlySpan<byte> BytesAt(long offsetBytes, int maxBytes);
}
