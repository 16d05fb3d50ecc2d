// SPDX-License-Identifier: MIT
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Exo.Cli.Top;
using Exo.Core.Ipc;
using Exo.Core.Observation;
using Exo.Host;
using Exo.Storage.XN;
using Exo.Tests;

namespace Exo.Cli.Tests;

/// <summary>How a snapshot of an exokernel is shown: the same state, the same characters.</summary>
public sealed partial class TopTests
{
    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };
    private static readonly ExokernelSnapshot s_before = Picture(seconds: 10, work: 0);
    private static readonly ExokernelSnapshot s_now = Picture(seconds: 12, work: 1);

    [Fact]
    public void A_picture_as_text() => Snapshot.Verify(new TopView(s_now, s_before, TopOrder.Tree, widthColumns: 260, rowsMax: int.MaxValue).ToText());

    [Fact]
    public void In_a_narrow_terminal_columns_that_matter_less_are_left_out() =>
        Snapshot.Verify(new TopView(s_now, before: null, TopOrder.Time, widthColumns: 80, rowsMax: 2).ToText());

    [Fact]
    public void The_JSON_is_the_one_written_down()
    {
        using JsonDocument document = JsonDocument.Parse(s_now.ToJson());
        Snapshot.Verify(JsonSerializer.Serialize(document.RootElement, s_indented));
    }

    [Theory]
    [InlineData(TopOrder.Tree, "1, 1.7, 2")]
    [InlineData(TopOrder.Time, "1.7, 1, 2")]
    [InlineData(TopOrder.Frames, "2, 1, 1.7")]
    [InlineData(TopOrder.Activity, "1, 1.7, 2")]
    [InlineData(TopOrder.Name, "1, 1.7, 2")]
    internal void Environments_are_sorted(TopOrder order, string names)
    {
        string[] lines = new TopView(s_now, s_before, order, 260, 100).ToText().Split('\n');
        int first = Array.FindIndex(lines, line => line.StartsWith("ENVIRONMENT", StringComparison.Ordinal)) + 1;
        Assert.Equal(names, string.Join(", ", lines[first..(first + 3)].Select(line => line.Split(' ')[0])));
    }

    [Fact]
    public void What_others_call_themselves_is_shown_as_text()
    {
        ExokernelSnapshot hostile = s_now with { Name = "[red]\u001b[2J\u0007[/]", Counters = [new CounterSnapshot("\u009b31m[link]", 1)] };
        string text = new TopView(hostile, null, TopOrder.Tree, 120, 10).ToText();
        Assert.Contains("[red]?[2J?[/]", text, StringComparison.Ordinal);
        Assert.Contains("?31m[link]", text, StringComparison.Ordinal);
        Assert.DoesNotContain(text, c => char.IsControl(c) && c != '\n');
    }

    [Theory]
    [InlineData("--interval", "0")]
    [InlineData("--interval", "nan")]
    [InlineData("--sort", "colour")]
    [InlineData("--http", "nowhere")]
    public void Wrong_usage_is_one_line(string option, string value) => ExoProcess.Exo("top", "--socket", "s", option, value).Refused(2);

    [Fact]
    public void Nobody_at_the_socket_is_one_line() => Assert.Contains("exo top", ExoProcess.Exo("top", "--socket", "/nosuch/socket", "--once").Refused(1), StringComparison.Ordinal);

    [Fact]
    public async Task The_page_has_everything_in_it_and_lets_nothing_else_in()
    {
        using PageServer server = PageServer.Start(new IPEndPoint(IPAddress.Loopback, 0), _ => Task.FromResult(s_now.ToJson()));
        using HttpClient client = new() { BaseAddress = new Uri(server.Url) };
        string page = await client.GetStringAsync("", TestContext.Current.CancellationToken);
        Assert.DoesNotContain("http://", page.Replace("http://www.w3.org/2000/svg", "", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.DoesNotContain("https://", page, StringComparison.Ordinal);
        Assert.DoesNotMatch("(?i)(src=|@import|url\\(|innerHTML|eval\\(| style=| on[a-z]+=)", page);
        string policy = Policy().Match(page).Groups[1].Value;
        Assert.StartsWith("default-src 'none'; connect-src 'self'", policy, StringComparison.Ordinal);
        foreach (string element in (string[])["style", "script"])
        {
            string inside = Regex.Match(page, $"<{element}>(.*?)</{element}>", RegexOptions.Singleline).Groups[1].Value;
            Assert.Contains($"{element}-src 'sha256-{Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(inside)))}'", policy, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task The_page_and_its_data_are_served_and_a_host_that_has_gone_is_told()
    {
        bool isThere = true;
        using PageServer server = PageServer.Start(new IPEndPoint(IPAddress.Loopback, 0), _ => isThere ? Task.FromResult(s_now.ToJson()) : throw new IOException("gone"));
        using HttpClient client = new() { BaseAddress = new Uri(server.Url) };
        CancellationToken test = TestContext.Current.CancellationToken;
        Assert.Contains("<title>exo top</title>", await client.GetStringAsync("", test), StringComparison.Ordinal);
        using (HttpResponseMessage json = await client.GetAsync("snapshot.json", test))
        {
            Assert.Equal("application/json", json.Content.Headers.ContentType!.MediaType);
            Assert.Equal(s_now.ToJson(), await json.Content.ReadAsByteArrayAsync(test));
        }

        using (HttpResponseMessage nothing = await client.GetAsync("nosuch", test))
        {
            Assert.Equal(HttpStatusCode.NotFound, nothing.StatusCode);
        }

        // What was taken is current for a moment, and then no longer.
        isThere = false;
        HttpStatusCode status;
        do
        {
            using HttpResponseMessage later = await client.GetAsync("snapshot.json", test);
            status = later.StatusCode;
        }
        while (status == HttpStatusCode.OK);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, status);
    }

    [GeneratedRegex("<meta http-equiv=\"Content-Security-Policy\" content=\"([^\"]*)\">")]
    private static partial Regex Policy();

    // An exokernel that has a little of everything, and has done some work.
    private static ExokernelSnapshot Picture(int seconds, int work) => new()
    {
        Name = "exo host disk.img",
        ProcessId = 4711,
        TakenAtMicroseconds = seconds * 1_000_000L,
        IsComplete = work == 0,
        Clients =
        [
            new ClientSnapshot(5000, 0, ".", IsServed: work > 0, Requests: 1_000 + (500 * work), Refused: 3, RanMicroseconds: 250_000, BlockFramesHeld: 12, BlockFrames: 4096, FramesHeld: 255, Frames: 1024, DiskWeight: 2, DiskBytes: 3 << 20, DiskBlocks: 700, DiskBlocksMax: 1000),
            new ClientSnapshot(5001, 1000, "1.232.3", IsServed: false, Requests: 7, Refused: 0, RanMicroseconds: 1_250_000, BlockFramesHeld: 4096, BlockFrames: 4096, FramesHeld: 0, Frames: 1024),
        ],
        Scheduler = new SchedulerSnapshot(Processors: 2, Busy: 1, Runnable: 3, SliceCount: 1024, SlicesTaken: 6, SliceMicroseconds: 5000, Replacements: 1),
        Environments =
        [
            new EnvironmentSnapshot("1", null, 0, EnvironmentState.Unscheduled, 0, 0, 0, 2, 40, null, 0, 0, 0, 0, 0, 0, 900 * work, 0, 0),
            new EnvironmentSnapshot("1.7", "editor", 1, EnvironmentState.Running, 2, 400, 1_500_000 + (1_000_000 * work), 1, 20, 64, 0, 0, 0, 0, 2, 10, 8, 2, 1),
            new EnvironmentSnapshot("2", null, 2, EnvironmentState.Asleep, 1, 12, 0, 32, 1_234, null, 5, 64, 1, 1, 1, 10, 8, 0, 0),
        ],
        Predicates = [new PredicateSnapshot("2", "17[0] != 18[0] | 17[8] != 0", 2, 2, [17, 18], UsesTime: false)],
        Rings =
        [
            new RingSnapshot("1.7", RingKind.Pipe, Writes: true, Frame: 17, Depth: 60_000, Capacity: 65_536, Passed: 12_345_678, Lost: 0, IpcStatus.Ok),
            new RingSnapshot("2", RingKind.Packets, Writes: false, Frame: 99, Depth: 4, Capacity: 64, Passed: 1_000, Lost: 17, IpcStatus.Closed),
            new RingSnapshot("process 5000", RingKind.Requests, Writes: false, Frame: null, Depth: 0, Capacity: 262_144, Passed: 640, Lost: 0, IpcStatus.Corrupt),
        ],
        Frames = new FramesSnapshot(65_536, Free: 60_000, Held: 5_530, Draining: 6, Shared: 12, Pinned: 18, Watched: 2, Exported: 5_120, [new FrameOwnerSnapshot(".", 5_400), new FrameOwnerSnapshot("1.7", 130)], IsComplete: true),
        Registry = new RegistrySnapshot(
            BlockCount: 262_144, FreeBlocks: 200_000, WillFreeBlocks: 12, InCore: 300, Dirty: 7, OnTheWay: 20, Unflushed: 5, InLog: 40, LogBlocks: 1_024, LogPosition: 77, RegistryBytes: 540_672,
            [new TemplateUse(new TemplateId(1), "cffs.slots", 20, 2), new TemplateUse(new TemplateId(4), "cffs.data", 280, 5)],
            new XnCounters(Transactions: 1_000 + (240 * work), OwnsRuns: 2_000, OwnsInstructions: 40_000, BlocksRead: 300, BlocksWritten: 4_000 + (20 * work), Flushes: 12, SharedFlushes: 3, Commits: 90, Checkpoints: 2)),
        Counters = [new CounterSnapshot("requests", 10_000 + (3_000 * work))],
    };
}
