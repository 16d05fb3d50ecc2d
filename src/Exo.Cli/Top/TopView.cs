// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Cli.Arguments;
using Exo.Core.Memory;
using Exo.Core.Observation;
using Exo.Host;
using Exo.Storage.XN;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Exo.Cli.Top;

/// <summary>A snapshot for the terminal. What other processes call themselves is shown as text: never as markup, and without control characters.</summary>
/// <param name="now">What there is.</param>
/// <param name="before">What there was, for what is told for a second.</param>
/// <param name="order">What lists are sorted by.</param>
/// <param name="widthColumns">Width to keep to: columns that matter less are left out.</param>
/// <param name="rowsMax">Rows of each list.</param>
internal sealed class TopView(ExokernelSnapshot now, ExokernelSnapshot? before, TopOrder order, int widthColumns, int rowsMax)
{
    private static readonly Style s_title = new(decoration: Decoration.Bold);
    private static readonly Style s_quiet = new(Color.Grey);
    private static readonly Style s_active = new(Color.Green);
    private static readonly Style s_bad = new(Color.Red);
    private readonly Growth _growth = new(now, before);

    /// <summary>The same as plain text, for what is no terminal.</summary>
    public string ToText()
    {
        using StringWriter text = new(CultureInfo.InvariantCulture);
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Ansi = AnsiSupport.No, ColorSystem = ColorSystemSupport.NoColors, Interactive = InteractionSupport.No, Out = new AnsiConsoleOutput(text) });
        console.Profile.Width = widthColumns;
        console.Write(Draw());
        return string.Join('\n', text.ToString().ReplaceLineEndings("\n").Split('\n').Select(line => line.TrimEnd()));
    }

    public IRenderable Draw()
    {
        List<IRenderable> parts = [new Text($"{Plain(now.Name)}, process {now.ProcessId}", s_title), Summary()];
        Add(parts, "Library OSes in other processes", now.Clients, Sorted(now.Clients, client => client.Name, client => client.RanMicroseconds, client => client.FramesHeld + client.BlockFramesHeld, client => client.Requests), ClientColumns());
        Add(parts, "Environments", now.Environments, Sorted(now.Environments, one => one.Name, one => one.RanMicroseconds, one => one.FramesHeld, one => one.Wakes), EnvironmentColumns());
        Add(parts, "Pipes and rings", now.Rings, now.Rings, RingColumns());
        Add(parts, "Sleeping on predicates", now.Predicates, now.Predicates, [new("ENVIRONMENT", one => one.Environment), new("WAITS FOR", one => one.Condition)]);
        IReadOnlyList<TemplateUse> templates = now.Registry?.Templates ?? [];
        Add(parts, "Blocks in core, by template", templates, templates.OrderByDescending(use => use.InCore),
            [new("TEMPLATE", use => use.Name), new("IN CORE", use => Count(use.InCore)) { IsNumber = true }, new("DIRTY", use => Count(use.Dirty)) { IsNumber = true }]);
        if (!now.IsComplete)
        {
            parts.Add(new Text("There is more than is shown: lists are cut.", s_quiet));
        }

        return new Rows(parts);
    }

    private static string Count(long number) => number.ToString("N0", CultureInfo.InvariantCulture);

    private static string Count(ulong number) => number.ToString("N0", CultureInfo.InvariantCulture);

    private static string Plain(string text) => string.Concat(text.Select(c => char.IsControl(c) ? '?' : c));

    private static string Duration(long microseconds) => string.Create(CultureInfo.InvariantCulture, $"{microseconds / 1e6:F2} s");

    private static string Rate(double? perSecond) => perSecond is { } rate ? string.Create(CultureInfo.InvariantCulture, $"{rate:N0}/s") : "-";

    private static string Percent(double? microsecondsPerSecond) => microsecondsPerSecond is { } time ? string.Create(CultureInfo.InvariantCulture, $"{time / 1e4:F1}%") : "-";

    private static Style StyleOf(string state) => state switch
    {
        "running" or "serving" => s_active,
        "corrupt" or "revoked" or "ended" => s_bad,
        _ => Style.Plain,
    };

    private IEnumerable<T> Sorted<T>(IReadOnlyList<T> list, Func<T, string> name, Func<T, long> time, Func<T, long> frames, Func<T, long> activity) => order switch
    {
        TopOrder.Time => list.OrderByDescending(time),
        TopOrder.Frames => list.OrderByDescending(frames),
        TopOrder.Activity => list.OrderByDescending(activity),
        TopOrder.Name => list.OrderBy(name, StringComparer.Ordinal),
        _ => list,
    };

    private Grid Summary()
    {
        Grid grid = new Grid().AddColumn().AddColumn();
        void Row(string title, params string[] parts) => grid.AddRow(new Text(title, s_quiet), new Text(string.Join(", ", parts)));
        if (now.Frames is { } frames)
        {
            Row("frames", $"{Count(frames.Held)} of {Count(frames.FrameCount)} held ({ByteSize.Format((long)frames.Held * FramePool.FrameBytes)})", $"{Count(frames.Shared)} shared", $"{Count(frames.Pinned)} pinned",
                $"{Count(frames.Watched)} slept on", $"{Count(frames.Exported)} seen by other processes", $"{Count(frames.Draining)} still in use");
            Row("owners", [.. frames.Owners.Take(8).Select(owner => $"{Plain(owner.Name)} {Count(owner.Frames)}")]);
        }

        if (now.Registry is { } registry)
        {
            string Done(string what, Func<XnCounters, long> counter) => $"{Count(counter(registry.Counters))} {what} ({Rate(_growth.PerSecond(snapshot => snapshot.Registry is { } its ? counter(its.Counters) : null))})";
            Row("registry", $"{Count(registry.InCore)} blocks in core ({ByteSize.Format(registry.RegistryBytes)})", $"{Count(registry.Dirty)} dirty", $"{Count(registry.OnTheWay)} on the way to the disk",
                $"{Count(registry.Unflushed)} not flushed");
            Row("log", registry.LogBlocks == 0 ? "none" : $"{Count(registry.LogPosition)} of {Count(registry.LogBlocks)} blocks", $"{Count(registry.InLog)} blocks live");
            Row("disk", $"{Count(registry.FreeBlocks)} of {Count(registry.BlockCount)} blocks free", $"{Count(registry.WillFreeBlocks)} will be");
            Row("done", Done("transactions", counters => counters.Transactions), Done("blocks read", counters => counters.BlocksRead), Done("written", counters => counters.BlocksWritten),
                Done("commits", counters => counters.Commits), Done("flushes", counters => counters.Flushes));
        }

        if (now.Scheduler is { } scheduler)
        {
            Row("scheduler", $"{scheduler.Busy} of {scheduler.Processors} processors busy", $"{Count(scheduler.Runnable)} runnable", $"{Count(scheduler.SlicesTaken)} of {Count(scheduler.SliceCount)} slices taken");
        }

        foreach (CounterSnapshot counter in now.Counters)
        {
            Row(Plain(counter.Name), $"{Count(counter.Value)} ({Rate(_growth.PerSecond(snapshot => snapshot.Counters, its => its.Name == counter.Name, its => its.Value))})");
        }

        return grid;
    }

    private Column<ClientSnapshot>[] ClientColumns() =>
    [
        new("PROCESS", client => client.ProcessId.ToString(CultureInfo.InvariantCulture)) { IsNumber = true },
        new("CAPABILITY", client => client.Name),
        new("USER", client => client.User.ToString(CultureInfo.InvariantCulture)) { IsNumber = true, IsExtra = true },
        new("STATE", client => client.IsServed ? "serving" : "waiting") { IsState = true },
        new("REQUESTS", client => Count(client.Requests)) { IsNumber = true },
        new("RATE", client => Rate(_growth.PerSecond(snapshot => snapshot.Clients, other => other.ProcessId == client.ProcessId, other => other.Requests))) { IsNumber = true },
        new("REFUSED", client => Count(client.Refused)) { IsNumber = true, IsExtra = true },
        new("TIME", client => Duration(client.RanMicroseconds)) { IsNumber = true },
        new("TO READ", client => $"{Count(client.BlockFramesHeld)}/{Count(client.BlockFrames)}") { IsNumber = true },
        new("TO WRITE", client => $"{Count(client.FramesHeld)}/{Count(client.Frames)}") { IsNumber = true },
        new("DISK", client => ByteSize.Format(client.DiskBytes)) { IsNumber = true, IsExtra = true },
        new("WEIGHT", client => Count(client.DiskWeight)) { IsNumber = true, IsExtra = true },
        new("ALLOCATED", client => client.DiskBlocksMax is { } most ? $"{Count(client.DiskBlocks)}/{Count(most)}" : Count(client.DiskBlocks)) { IsNumber = true, IsExtra = true },
    ];

    private Column<EnvironmentSnapshot>[] EnvironmentColumns() =>
    [
        new("ENVIRONMENT", one => one.Label is null ? one.Name : $"{one.Name} \"{one.Label}\""),
        new("STATE", one => one.State.ToString().ToLowerInvariant()) { IsState = true },
        new("CPU", one => Percent(_growth.PerSecond(snapshot => snapshot.Environments, other => other.Name == one.Name, other => other.RanMicroseconds))) { IsNumber = true },
        new("TIME", one => Duration(one.RanMicroseconds)) { IsNumber = true },
        new("SLICES", one => Count(one.Slices)) { IsNumber = true, IsExtra = true },
        new("FRAMES", one => one.FramesQuota is { } quota ? $"{Count(one.FramesHeld)}/{Count(quota)}" : Count(one.FramesHeld)) { IsNumber = true },
        new("RINGS", one => Count(one.Rings)) { IsNumber = true, IsExtra = true },
        new("ASLEEP ON", one => Count(one.PredicatesAsleep)) { IsNumber = true },
        new("WAKES", one => Count(one.Wakes)) { IsNumber = true },
        new("CAPS", one => Count(one.Capabilities)) { IsNumber = true, IsExtra = true },
        new("REFUSED", one => Count(one.Refusals)) { IsNumber = true, IsExtra = true },
    ];

    private static Column<RingSnapshot>[] RingColumns() =>
    [
        new("WHOSE", ring => ring.Environment),
        new("KIND", ring => ring.Kind.ToString().ToLowerInvariant()),
        new("END", ring => ring.Writes ? "writes" : "reads"),
        new("FRAME", ring => ring.Frame?.ToString(CultureInfo.InvariantCulture) ?? "-") { IsNumber = true },
        new("IN IT", ring => Count(ring.Depth)) { IsNumber = true },
        new("CAPACITY", ring => Count(ring.Capacity)) { IsNumber = true, IsExtra = true },
        new("PASSED", ring => Count(ring.Passed)) { IsNumber = true },
        new("LOST", ring => Count(ring.Lost)) { IsNumber = true, IsExtra = true },
        new("STATUS", ring => ring.Status.ToString().ToLowerInvariant()) { IsState = true },
    ];

    private void Add<T>(List<IRenderable> parts, string title, IReadOnlyList<T> list, IEnumerable<T> sorted, Column<T>[] columns)
    {
        if (list.Count == 0)
        {
            return;
        }

        const int Gap = 2;
        T[] rows = [.. sorted.Take(rowsMax)];
        int WidthOf(Column<T> column) => Gap + rows.Select(row => column.Plain(row).Length).Append(column.Title.Length).Max();
        if (columns.Sum(WidthOf) > widthColumns)
        {
            columns = [.. columns.Where(column => !column.IsExtra)];
        }

        Table table = new() { Border = TableBorder.None, ShowRowSeparators = false };
        foreach (Column<T> column in columns)
        {
            table.AddColumn(new TableColumn(new Text(column.Title, s_quiet)) { Alignment = column.IsNumber ? Justify.Right : Justify.Left, Padding = new Padding(0, 0, Gap, 0), NoWrap = true });
        }

        foreach (T row in rows)
        {
            table.AddRow(columns.Select(column => column.Cell(row)));
        }

        parts.Add(new Text(""));
        parts.Add(new Text(list.Count > rowsMax ? $"{title} ({Count(list.Count)}, of which {Count(rowsMax)} are shown)" : $"{title} ({Count(list.Count)})", s_title));
        parts.Add(table);
    }

    private sealed class Column<T>(string title, Func<T, string> text)
    {
        public string Title => title;

        public bool IsNumber { get; init; }

        public bool IsState { get; init; }

        /// <summary>Left out where there is no room.</summary>
        public bool IsExtra { get; init; }

        public string Plain(T row) => TopView.Plain(text(row));

        public Text Cell(T row)
        {
            string shown = Plain(row);
            return new Text(shown, IsState ? StyleOf(shown) : Style.Plain);
        }
    }
}
