// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Watching;
using Exo.Net.Cheetah.Tcp.Answers;

namespace Exo.Net.Cheetah;

/// <summary>A source that says beforehand when what it gave may cease to hold. Only documents of such a source can be answered with where nobody asks (<see cref="IDocumentSource.IsCurrent"/>).</summary>
internal interface IAnnouncedSource
{
    /// <summary>Where it says so.</summary>
    DocumentChanges Changes { get; }
}

/// <summary>
/// Changes of a source's documents, as those hear of them who answer without asking: <see cref="Begin"/> before a change can be seen by anybody, <see cref="End"/> when it can be.
/// Who takes a document up in between would take the old one up as the new: so nobody does.
/// <code>
///   the source     Begin: counted, then all answers cease to hold    the change is seen    End
///   who takes up   epoch, then nothing is counted, then IsCurrent, then an answer of that epoch
/// </code>
/// If the change is counted after the second step, the epoch is an old one by then; if before, and ended, it is seen in the third.
/// </summary>
internal sealed class DocumentChanges : IVersionObserver
{
    private readonly Lock gate = new();
    private volatile AnswerTable[] tables = [];
    private int changing;

    /// <summary>A change is under way.</summary>
    public bool IsChanging => Volatile.Read(ref changing) != 0;

    /// <summary>A table whose answers are of this source's documents.</summary>
    public void Add(AnswerTable table)
    {
        lock (gate)
        {
            tables = [.. tables, table];
        }
    }

    /// <summary>The table is not touched from now on.</summary>
    public void Remove(AnswerTable table)
    {
        lock (gate)
        {
            tables = [.. tables.Where(other => other != table)];
        }
    }

    /// <summary>Something is about to change. For any thread.</summary>
    public void Begin()
    {
        Interlocked.Increment(ref changing);
        if (tables.Length > 0)
        {
            lock (gate)
            {
                foreach (AnswerTable table in tables)
                {
                    table.Withdraw();
                }
            }
        }
    }

    /// <summary>It has changed.</summary>
    public void End() => Interlocked.Decrement(ref changing);
}
