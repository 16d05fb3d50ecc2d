// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah;

/// <summary>A document in the server's cache as an <see cref="IEvictionPolicy"/> sees it.</summary>
public abstract class CachedDocument
{
    private protected CachedDocument()
    {
    }

    /// <summary>The decoded path that it is cached under (<see cref="IDocumentSource.FindAsync"/>).</summary>
    public ReadOnlyMemory<byte> Path => CacheKey;

    /// <summary>Bytes of the document.</summary>
    public abstract long LengthBytes { get; }

    /// <summary>Bytes that it takes of <see cref="CheetahServerOptions.CacheBytes"/>, its variants, heads and sums included.</summary>
    public abstract long CostBytes { get; private protected set; }

    /// <summary>A response is being sent from it, so its memory would not be free if it left the cache. May change at any time.</summary>
    public abstract bool IsInUse { get; }

    /// <summary>The policy's own. Null when the document is added.</summary>
    public object? PolicyState { get; set; }

    /// <summary>The policy's own, for a place in a list. 0 when the document is added.</summary>
    public int PolicyIndex { get; set; }

    /// <summary>The policy's own, for <see cref="IEvictionPolicy.Used"/>: written and read without a lock. False when the document is added.</summary>
    public bool PolicyMark { get; set; }

    internal byte[] CacheKey { get; set; } = [];
}
