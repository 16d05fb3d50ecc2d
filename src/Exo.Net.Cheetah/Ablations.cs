// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah;

/// <summary>
/// What a stack and the server on it do without: the ideas of Cheetah (SOSP '97 section 7.3), each of which can be left out, so that it can be measured whether it still
/// pays. Everything stays right without them.
/// </summary>
[Flags]
internal enum Ablations
{
    None = 0,

    /// <summary>Documents are copied into send buffers of the connection instead of being sent and sent again from the cache.</summary>
    MergedCache = 1,

    /// <summary>Payload is read to sum it up when it is sent. Matters where the device computes no checksums.</summary>
    StoredChecksums = 2,

    /// <summary>The acknowledgment of a request, the head of the response, its payload and the FIN leave as packets of their own.</summary>
    PacketMerging = 4,

    /// <summary>Heads are put together for each response.</summary>
    PrebuiltHeads = 8,

    /// <summary>One packet for each call of the device, both ways.</summary>
    Batching = 16,

    /// <summary>Checksums and segments are not left to the device, as on an interface that has neither.</summary>
    Offload = 32,
}
