// SPDX-License-Identifier: MIT
using Spectre.Console;

namespace Exo.Cli.Output;

/// <summary>Counts that a worker raises and a display reads: plain words, written by one thread.</summary>
internal sealed class StepCounts
{
    private long _items;
    private long _bytes;
    private long _itemsExpected;

    public long Items => Volatile.Read(ref _items);

    public long Bytes => Volatile.Read(ref _bytes);

    /// <summary>How many items there will be as far as is known; 0 while nobody knows.</summary>
    public long ItemsExpected => Volatile.Read(ref _itemsExpected);

    public void Add(long items, long bytes)
    {
        Volatile.Write(ref _items, _items + items);
        Volatile.Write(ref _bytes, _bytes + bytes);
    }

    public void Set(long items, long itemsExpected)
    {
        Volatile.Write(ref _items, items);
        Volatile.Write(ref _itemsExpected, itemsExpected);
    }

    public void Expect(long items) => Volatile.Write(ref _itemsExpected, items);
}

/// <summary>
/// Runs a step and, when standard error is a terminal and the step takes longer than half a second, draws its progress there.
/// Standard output stays clean.
/// </summary>
internal static class StepProgress
{
    private const int QuietMs = 500;
    private const int RefreshMs = 100;

    public static bool IsInteractive { get; } =
        !Console.IsErrorRedirected && Environment.GetEnvironmentVariable("TERM") is not (null or "" or "dumb");

    public static T Run<T>(string title, StepCounts counts, Func<T> step)
    {
        if (!IsInteractive)
        {
            return step();
        }

        Task<T> work = Task.Factory.StartNew(step, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        if (!((IAsyncResult)work).AsyncWaitHandle.WaitOne(QuietMs))
        {
            IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
            console.Progress().AutoClear(true).Columns(
                new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new ElapsedTimeColumn(), new SpinnerColumn())
                .Start(context => Draw(context.AddTask(Markup.Escape(title)), title, counts, work));
        }

        return work.GetAwaiter().GetResult();
    }

    private static void Draw(ProgressTask bar, string title, StepCounts counts, Task work)
    {
        while (!((IAsyncResult)work).AsyncWaitHandle.WaitOne(RefreshMs))
        {
            long expected = counts.ItemsExpected;
            bar.IsIndeterminate = expected <= counts.Items;
            bar.MaxValue = Math.Max(expected, 1);
            bar.Value = Math.Min(counts.Items, expected);
            string bytes = counts.Bytes > 0 ? $", {ByteSize(counts.Bytes)}" : "";
            bar.Description = Markup.Escape($"{title}: {counts.Items:N0}{bytes}");
        }
    }

    private static string ByteSize(long bytes) => Arguments.ByteSize.Format(bytes);
}
