// SPDX-License-Identifier: MIT
using Exo.Cli.Output;

namespace Exo.Cli.Transfer;

/// <summary>
/// Runs ahead of an import and counts names, so that the progress bar knows its end. Only for people who watch: the import
/// itself reads each directory once and waits for nobody.
/// </summary>
internal sealed class TreeCount : IDisposable
{
    private readonly CancellationTokenSource _stop = new();

    private TreeCount()
    {
    }

    public static TreeCount Start(string folder, StepCounts counts)
    {
        TreeCount count = new();
        CancellationToken stop = count._stop.Token;
        Thread thread = new(() => Run(folder, counts, stop)) { IsBackground = true, Name = "exo tree count" };
        thread.Start();
        return count;
    }

    public void Dispose() => _stop.Cancel();

    private static void Run(string folder, StepCounts counts, CancellationToken stop)
    {
        EnumerationOptions all = new() { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.None, ReturnSpecialDirectories = false };
        long items = 0;
        try
        {
            foreach (string _ in Directory.EnumerateFileSystemEntries(folder, "*", all).TakeWhile(_ => !stop.IsCancellationRequested))
            {
                items++;
            }

            counts.Expect(items);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // The import itself will say what cannot be read; without an end the bar only shows that something moves.
        }
    }
}
