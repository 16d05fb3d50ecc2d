// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah;

/// <summary>
/// Which document leaves the cache when there is no room for another (<see cref="CheetahServerOptions.EvictionPolicy"/>). It serves one cache. <see cref="Added"/>, <see cref="Removed"/> and
/// <see cref="Victim"/> are called under the cache's lock, one at a time, and must be quick and not call the server; <see cref="Used"/> is called without any, for every hit, by all reactors at once.
/// What a policy throws is ignored: a document that it would not take is not kept, and one that it cannot name is not evicted.
/// </summary>
public interface IEvictionPolicy
{
    /// <summary>A document is in the cache from now on.</summary>
    void Added(CachedDocument document);

    /// <summary>A document at hand answers a request; it may be removed at the same time. No lock, no allocation, no waiting: this is the server's hot path.</summary>
    void Used(CachedDocument document);

    /// <summary>A document that was added is not in the cache any more: evicted, out of date, or replaced.</summary>
    void Removed(CachedDocument document);

    /// <summary>
    /// The document to go next: one that has been added and not removed, and of which nothing is being sent (<see cref="CachedDocument.IsInUse"/>); null when there is none, then nothing new is kept. Taking it out, and
    /// <see cref="Removed"/>, follow; asked again until there is room.
    /// </summary>
    CachedDocument? Victim();
}
