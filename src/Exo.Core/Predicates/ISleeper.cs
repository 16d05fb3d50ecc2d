// SPDX-License-Identifier: MIT
namespace Exo.Core.Predicates;

/// <summary>Who is told that a sleep on a <see cref="WakeupPredicate"/> is over.</summary>
internal interface ISleeper
{
    /// <summary>
    /// A predicate that stands by holds: under the lock of its watch, before <see cref="SleepEnded"/>. As short as that one, and takes no lock.
    /// </summary>
    /// <returns>Whether words of the frame were changed, so that the predicates of others may hold now.</returns>
    bool HoldsLocked() => false;

    /// <summary>Once for each sleep, on the thread of whoever ended it: to be short, and to run no code of the sleeper's. The predicate may be slept on again.</summary>
    /// <param name="tag">The tag of the product that held; 0 with a failure.</param>
    /// <param name="failure">Why nothing will hold; null: a product holds.</param>
    void SleepEnded(ulong tag, Exception? failure);
}
