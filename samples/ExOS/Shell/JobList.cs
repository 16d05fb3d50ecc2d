// SPDX-License-Identifier: MIT
namespace ExOS.Shell;

/// <summary>What a shell has running in the background.</summary>
internal sealed class JobList
{
    private readonly SortedDictionary<int, (int Id, string Text)> _jobs = [];

    public IEnumerable<(int Number, int Id, string Text)> All => _jobs.Select(job => (job.Key, job.Value.Id, job.Value.Text));

    public int Add(int id, string text)
    {
        int number = 1;
        while (_jobs.ContainsKey(number))
        {
            number++;
        }

        _jobs.Add(number, (id, text));
        return number;
    }

    /// <summary>A process has ended; if it was a job, it is none any more.</summary>
    public (int Number, string Text)? Remove(int id)
    {
        foreach ((int number, (int Id, string Text) job) in _jobs)
        {
            if (job.Id == id)
            {
                _ = _jobs.Remove(number);
                return (number, job.Text);
            }
        }

        return null;
    }
}
