// SPDX-License-Identifier: MIT
using System.Diagnostics;

namespace Exo.FileSystems.CFFS.Commit;

/// <summary>
/// Whom the next commit waits for, and until when: those whom the last one served and those who were waiting already. Programs that make things durable do so again and again; where the time between is short
/// beside a commit's, those who are let go together would otherwise fall into two groups, each of which waits while the other is written.
/// <para>The wait ends when nobody has come for twice as long as the last commit took (10 ms at most: a disk may have been stuck), whoever is missing. When it is in vain again and again it is left out for a while, longer each time, so that it costs
/// next to nothing where callers do something else first. Where commits are quick nobody is waited for: callers are not back before the next one could be over. Guarded by the lock of the turns.</para>
/// </summary>
internal sealed class CommitGathering
{
    private const int FailuresMax = 6;

    // A commit of less than that, as a mean of the last ones, is over before sixteen callers have done what they do between two.
    private static readonly long s_quick = Stopwatch.Frequency / 1000;

    private static readonly long s_patienceMax = Stopwatch.Frequency / 100;

    // How many callers the next commit waits for, and until when, by the stopwatch; how long it is worth to wait for each.
    private int _expected;
    private long _until;
    private long _patience;

    // Waits in vain, one after the other, and how many commits nobody waits for because of that.
    private int _failures;
    private int _pauses;

    // How long a commit takes, a sliding mean.
    private long _typical;

    /// <summary>Commits take so little that nobody is worth waiting for.</summary>
    private bool IsQuick => _typical < s_quick;

    /// <summary>A caller has come, as one of so many.</summary>
    /// <returns>Nobody is missing, or nobody is waited for at this moment.</returns>
    public bool IsWholeWith(int callers, long now)
    {
        // Not the first: he may have come alone, long after.
        if (callers > 1 && now < _until)
        {
            _until = now + _patience;
        }

        return Left(callers, now) <= TimeSpan.Zero;
    }

    /// <summary>How long to wait for more than so many callers.</summary>
    public TimeSpan Left(int callers, long now) => callers >= _expected ? TimeSpan.Zero : Stopwatch.GetElapsedTime(now, _until);

    /// <summary>A commit has ended.</summary>
    /// <param name="served">Its callers.</param>
    /// <param name="waiting">Callers of the next one who have come already.</param>
    /// <param name="began">When it began, by the stopwatch.</param>
    /// <param name="now">This moment.</param>
    public void Ended(int served, int waiting, long began, long now)
    {
        long took = Math.Min(now - began, s_patienceMax);
        _typical = _typical == 0 ? took : _typical + ((took - _typical) / 8);
        if (_pauses > 0)
        {
            _pauses--;
        }
        else if (served >= _expected)
        {
            _failures = 0;
        }
        else
        {
            _pauses = (1 << _failures) - 1;
            _failures = Math.Min(_failures + 1, FailuresMax);
        }

        _expected = _pauses > 0 || IsQuick ? 0 : served + waiting;
        _patience = Math.Min(2 * (now - began), s_patienceMax);
        _until = now + _patience;
    }
}
