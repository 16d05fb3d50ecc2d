// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah;

/// <summary>
/// The default: CLOCK. A use marks a document; the hand that looks for a victim takes marks away and stops at the first document without one, so one that was used since the hand last passed stays. A hit writes
/// only where there is no mark yet.
/// </summary>
public sealed class ClockEviction : IEvictionPolicy
{
    private readonly List<CachedDocument> ring = [];
    private int hand;

    /// <inheritdoc/>
    public void Added(CachedDocument document)
    {
        ArgumentNullException.ThrowIfNull(document);
        document.PolicyIndex = ring.Count;
        ring.Add(document);
    }

    /// <inheritdoc/>
    public void Used(CachedDocument document)
    {
        ArgumentNullException.ThrowIfNull(document);
        if (!document.PolicyMark)
        {
            document.PolicyMark = true;
        }
    }

    /// <inheritdoc/>
    public void Removed(CachedDocument document)
    {
        ArgumentNullException.ThrowIfNull(document);
        Invariant.Check(ring[document.PolicyIndex] == document);
        CachedDocument last = ring[^1];
        ring[document.PolicyIndex] = last;
        last.PolicyIndex = document.PolicyIndex;
        ring.RemoveAt(ring.Count - 1);
    }

    /// <inheritdoc/>
    public CachedDocument? Victim()
    {
        // At most twice round: once to take marks away, once to find a document without one that is held by the cache alone.
        for (int steps = ring.Count * 2; steps > 0; steps--)
        {
            hand = hand >= ring.Count ? 0 : hand;
            CachedDocument document = ring[hand];
            if (!document.IsInUse)
            {
                if (!document.PolicyMark)
                {
                    return document;
                }

                document.PolicyMark = false;
            }

            hand++;
        }

        return null;
    }
}
