// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Watching;
using Exo.Net.Cheetah.Tcp.Answers;

namespace Exo.Net.Cheetah;

/// <summary>
/// A source that says beforehand when what it gave may cease to hold. Only documents of such a source can be answered with where nobody asks (<see cref="IDocumentSource.IsCurrent"/>): by the kernel's handler, on a device that takes
/// one (<see cref="CheetahServerOptions.Device"/>).
/// </summary>
public interface IAnnouncedSource
{
    /// <summary>Where it says so. Always the same object; asked for only if somebody wants to hear.</summary>
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
public sealed class DocumentChanges : IVersionObserver
{
    private readonly Lock gate = new();
    private volatile AnswerTable[] tables = [];
    private int changing;

    /// <summary>A change is under way.</summary>
    internal bool IsChanging => Volatile.Read(ref changing) != 0;

    /// <summary>A table whose answers are of this source's documents.</summary>
    internal void Add(AnswerTable table)
    {
        lock (gate)
        {
            tables = [.. tables, table];
        }
    }

    /// <summary>The table is not touched from now on.</summary>
    internal void Remove(AnswerTable table)
    {
        lock (gate)
        {
            tables = [.. tables.Where(other => other != table)];
        }
    }

    /// <summary>
    /// Something is about to change: what <see cref="IDocumentSource.IsCurrent"/> said yes to, it may say no to. From here to <see cref="End"/> nothing is taken up to be answered with, and what had been is forgotten. For any thread, and
    /// for several at a time; waits for nobody.
    /// </summary>
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

    /// <summary>It has changed, and <see cref="IDocumentSource.IsCurrent"/> says so. Once for each <see cref="Begin"/>.</summary>
    public void End() => Interlocked.Decrement(ref changing);
}
