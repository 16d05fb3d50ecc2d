// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.Globalization;
using System.Net;
using System.Runtime.InteropServices;
using System.Text.Json;
using Exo.Adapters.Fuse;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.Benchmarks.Peers.Packets;
using Exo.Benchmarks.Peers.Rows;
using Exo.Benchmarks.Peers.Web;
using Exo.Benchmarks.Peers.Wire;
using Exo.Core.Blocks;
using Exo.Core.Net;
using Exo.Net.Cheetah;
using Spectre.Console;

// Exo and its peers on the same work, by turns. Every row is listed here.
string[] ring = ["io_uring", "--registerfiles", "--fixedbufs"];
Func<IPeerRow>[] rows =
[
    () => new ImportRow(),
    () => new ColdReadRow(),
    () => new SmallFileRow("small-create", SmallFileWork.Create),
    () => new SmallFileRow("small-read-cold", SmallFileWork.ReadCold),
    () => new SmallFileRow("small-read-shuffled", SmallFileWork.ReadColdShuffled),
    () => new SmallFileRow("small-read-warm", SmallFileWork.ReadWarm),
    () => new SmallFileRow("small-overwrite", SmallFileWork.OverwriteCold),
    () => new SmallFileRow("small-delete", SmallFileWork.Delete),
    () => new SmallFileRow("small-durable", SmallFileWork.CreateDurably),
    () => new SmallFileRow("small-durable-16", SmallFileWork.CreateDurablyByMany),
    () => new SmallFileRow("small-stat-cold", SmallFileWork.StatCold),
    () => new LargeFileRow("large-read-cold", isWrite: false),
    () => new LargeFileRow("large-write", isWrite: true),
    .. SmallFileAblationRows(),
    .. AgedRows(),
    () => new BlobRow("blobs-read", BlobWork.Read),
    () => new BlobRow("blobs-lend", BlobWork.Lend),
    () => new BlobRow("blobs-find", BlobWork.Find),
    () => new BlobRow("blobs-overwrite", BlobWork.Overwrite),
    () => new KeyValueRow("kv-load", KeyValueWork.Load),
    () => new KeyValueRow("kv-read", KeyValueWork.Read),
    () => new KeyValueRow("kv-put", KeyValueWork.PutDurably),
    () => new KeyValueRow("kv-put-file", KeyValueWork.PutDurably, besideFile: true),
    () => new KeyValueRow("kv-load-file", KeyValueWork.Load, besideFile: true),
    () => new ExosRow("exos-pipe", forks: false),
    () => new ExosRow("exos-fork", forks: true),
    .. MountRows(),
    () => new CopyRow("xcp", CopiedTree.Small(), isCold: false, shares: false),
    () => new CopyRow("xcp-cold", CopiedTree.Small(), isCold: true, shares: false),
    () => new CopyRow("xcp-shared", CopiedTree.Small(), isCold: false, shares: true),
    () => new CopyRow("xcp-shared-cold", CopiedTree.Small(), isCold: true, shares: true),
    () => new CopyRow("xcp-2g", CopiedTree.Large(), isCold: false, shares: false),
    () => new CopyRow("xcp-2g-cold", CopiedTree.Large(), isCold: true, shares: false),
    () => new CopyRow("xcp-2g-shared", CopiedTree.Large(), isCold: false, shares: true),
    () => new CopyRow("xcp-2g-shared-cold", CopiedTree.Large(), isCold: true, shares: true),
    () => new FsMarkRow("mount-fsmark", new FuseMountOptions { Transport = FuseTransport.IoUring }, threads: 1),
    () => new FsMarkRow("mount-fsmark-16", new FuseMountOptions { Transport = FuseTransport.IoUring }, threads: 16),
    () => new BuildRow("mount-build", "io_uring,nowriteback"),
    () => new BuildRow("mount-build-writeback", "io_uring,writeback"),
    () => new BuildRow("mount-build-device", "noio_uring,nowriteback"),
    () => new VarmailRow(),
    () => new HugeDirectoryRow("huge-stat-cold", HugeDirectoryWork.StatCold),
    () => new HugeDirectoryRow("huge-stat-warm", HugeDirectoryWork.StatWarm),
    () => new HugeDirectoryRow("huge-walk-cold", HugeDirectoryWork.WalkCold),
    () => new ProtectionRow(),
    () => new PageFaultRow(),
    () => new HostRow("ipc-call", HostWork.Call),
    () => new HostRow("ipc-cached-read", HostWork.CachedRead),
    () => new HostRow("ipc-pipe", HostWork.Pipe),
    () => new ShareDiskRow("share-disk", 1, 1),
    () => new ShareDiskRow("share-disk-weighted", 2, 1),
    () => new ShareNetRow("share-net", 1, 1),
    () => new ShareNetRow("share-net-weighted", 2, 1),
    () => new PagesRow("pages-cold", fetchesBoth: false),
    () => new PagesRow("pages-cold-placement", fetchesBoth: true),
    () => new ServeRow("serve-1k", 1 << 10),
    () => new ServeRow("serve-100k", 100 << 10),
    () => new ServeRow("serve-1g", 1 << 30, isLarge: true),
    () => new PacketRow("packets-64", "packet", 64),
    () => new PacketRow("packets-1448", "packet", 1448),
    () => new PacketRow("packets-10k", "packet", 10_000),
    () => new PacketRow("packets-62k", "packet", 62_000),
    () => new PacketRow("tap-64", "tap", 64),
    () => new PacketRow("tap-62k", "tap", 62_000),
    () => new PacketRow("xdp-driver-64", "xdp-driver", 64),
    () => new PacketRow("xdp-driver-1448", "xdp-driver", 1448),
    () => new PacketRow("xdp-generic-64", "xdp-generic", 64),
    () => new LoadGeneratorRow("load-keep-alive", keepsAlive: true),
    () => new LoadGeneratorRow("load-close", keepsAlive: false),
    () => new WebRow("sockets-1k-nginx", 1 << 10, keepsAlive: true, WebServer.Exo, WebServer.Nginx),
    () => new WebRow("sockets-1k-epoll", 1 << 10, keepsAlive: true, WebServer.Exo, WebServer.Epoll),
    () => new WebRow("sockets-1k-close-nginx", 1 << 10, keepsAlive: false, WebServer.Exo, WebServer.Nginx),
    () => new WebRow("sockets-10k-nginx", 10 << 10, keepsAlive: true, WebServer.Exo, WebServer.Nginx),
    () => new WebRow("sockets-100k-nginx", 100 << 10, keepsAlive: true, WebServer.Exo, WebServer.Nginx),
    () => new WebRow("raw-0-nginx", 0, keepsAlive: true, WebServer.Raw, WebServer.Nginx),
    () => new WebRow("raw-1k-nginx", 1 << 10, keepsAlive: true, WebServer.Raw, WebServer.Nginx),
    () => new WebRow("raw-1k-epoll", 1 << 10, keepsAlive: true, WebServer.Raw, WebServer.Epoll),
    () => new WebRow("raw-1k-handlers-nginx", 1 << 10, keepsAlive: true, WebServer.RawHandlers, WebServer.Nginx, countsBoth: true),
    () => new WebRow("raw-1k-handlers-epoll", 1 << 10, keepsAlive: true, WebServer.RawHandlers, WebServer.Epoll, countsBoth: true),
    () => new WebRow("raw-1k-custom-nginx", 1 << 10, keepsAlive: true, WebServer.RawCustom, WebServer.Nginx),
    () => new WebRow("raw-1k-close-nginx", 1 << 10, keepsAlive: false, WebServer.Raw, WebServer.Nginx),
    () => new WebRow("raw-1k-close-handlers-nginx", 1 << 10, keepsAlive: false, WebServer.RawHandlers, WebServer.Nginx, countsBoth: true),
    () => new WebRow("raw-1k-close-epoll", 1 << 10, keepsAlive: false, WebServer.Raw, WebServer.Epoll),
    () => new WebRow("raw-10k-nginx", 10 << 10, keepsAlive: true, WebServer.Raw, WebServer.Nginx),
    () => new WebRow("raw-100k-nginx", 100 << 10, keepsAlive: true, WebServer.Raw, WebServer.Nginx),
    () => new LatencyRow("latency-1k-nginx", busyPollUs: 0),
    () => new LatencyRow("latency-1k-nginx-poll", busyPollUs: 50),
    () => new WebRow("kestrel-1k", 1 << 10, keepsAlive: true, WebServer.RawKestrel, WebServer.Kestrel),
    () => new WebRow("kestrel-100k", 100 << 10, keepsAlive: true, WebServer.RawKestrel, WebServer.Kestrel),
    () => new WebRow("kestrel-1k-close", 1 << 10, keepsAlive: false, WebServer.RawKestrel, WebServer.Kestrel),
    () => new AblationRow("without-cache-10k", 10 << 10, keepsAlive: true, Ablations.MergedCache),
    () => new AblationRow("without-cache-100k", 100 << 10, keepsAlive: true, Ablations.MergedCache),
    () => new AblationRow("without-sums-10k", 10 << 10, keepsAlive: true, Ablations.StoredChecksums, always: Ablations.Offload),
    () => new AblationRow("without-offload-10k", 10 << 10, keepsAlive: true, Ablations.Offload),
    () => new AblationRow("without-merging-1k", 1 << 10, keepsAlive: true, Ablations.PacketMerging),
    () => new AblationRow("without-merging-1k-close", 1 << 10, keepsAlive: false, Ablations.PacketMerging),
    () => new AblationRow("without-heads-1k", 1 << 10, keepsAlive: true, Ablations.PrebuiltHeads),
    () => new AblationRow("without-handlers-1k-close", 1 << 10, keepsAlive: false, Ablations.None, whole: WebServer.RawHandlers),
    () => new AblationRow("without-batching-1k", 1 << 10, keepsAlive: true, Ablations.Batching),
    () => new SumsRow("sums-4k", 4 << 10),
    () => new SumsRow("sums-64k", 64 << 10),
    () => new SumsRow("sums-192k", 192 << 10),
    () => new LossRow("loss-0", new WireFaults(0, 0, 10)),
    () => new LossRow("loss-0.1", new WireFaults(0.001, 0, 10)),
    () => new LossRow("loss-1", new WireFaults(0.01, 0, 10)),
    () => new LossRow("loss-5", new WireFaults(0.05, 0, 10)),
    () => new LossRow("loss-reordered", new WireFaults(0.001, 0.02, 10)),
    () => new DiskRow { Name = "disk-random-read", Depth = 32, Engine = ring },
    () => new DiskRow { Name = "disk-random-write", IsWrite = true, Depth = 32, Engine = ring },
    () => new DiskRow { Name = "disk-sequential", IsSequential = true, BlocksPerRequest = 256, Depth = 8, Engine = ring },
    () => new DiskRow { Name = "disk-cached-read", IsCached = true, Depth = 32, Engine = ring },
    () => new DiskRow { Name = "disk-sync-read", Engine = ["psync"] },
    () => new DiskRow { Name = "portable-random-read", Driver = BlockDriver.Portable, Depth = 32, Engine = ["libaio"] },
    () => new DiskRow { Name = "nbd-random-read", IsNbd = true, IsCached = true, Depth = 32, Engine = ["nbd"] },
];

static IEnumerable<Func<IPeerRow>> SmallFileAblationRows() =>
    from idea in Enum.GetValues<LeftOut>()
    from work in Enum.GetValues<AblationWork>()
    where idea != LeftOut.Embedding || work is not (AblationWork.Create or AblationWork.CreateDurably)
    select (Func<IPeerRow>)(() => new SmallFileAblationRow(idea, work));

static IEnumerable<Func<IPeerRow>> AgedRows()
{
    (string Name, AgedWork Work)[] works =
    [
        ("create", AgedWork.Create), ("read-cold", AgedWork.ReadCold), ("overwrite", AgedWork.Overwrite), ("delete", AgedWork.Delete), ("large", AgedWork.Large),
    ];
    return works.SelectMany(work => (Func<IPeerRow>[])
    [
        () => new AgedRow($"aged-{work.Name}", work.Work),
        () => new AgedRow($"aged-90-{work.Name}", work.Work, percentFull: 90),
        () => new AgedRow($"aged-90-defragmented-{work.Name}", work.Work, percentFull: 90, defragmented: true),
    ]);
}

static IEnumerable<Func<IPeerRow>> MountRows()
{
    (string Name, SmallFileWork Work)[] works =
    [
        ("create", SmallFileWork.Create), ("read-cold", SmallFileWork.ReadCold), ("read-shuffled", SmallFileWork.ReadColdShuffled), ("read-warm", SmallFileWork.ReadWarm),
        ("overwrite", SmallFileWork.OverwriteCold), ("delete", SmallFileWork.Delete), ("durable", SmallFileWork.CreateDurably), ("durable-16", SmallFileWork.CreateDurablyByMany),
        ("stat-cold", SmallFileWork.StatCold),
    ];
    (string Suffix, FuseMountOptions Options)[] mounts =
    [
        ("", new FuseMountOptions { Transport = FuseTransport.IoUring }),
        ("-device", new FuseMountOptions { Transport = FuseTransport.Device }),
        ("-plain", new FuseMountOptions { Transport = FuseTransport.Device, FileHandles = true }),
    ];
    string extra = Environment.GetEnvironmentVariable("EXO_MOUNT_OPTIONS") ?? "";
    return mounts.SelectMany(mount => works.Select<(string Name, SmallFileWork Work), Func<IPeerRow>>(
        work => () => new SmallFileRow($"mount-{work.Name}{mount.Suffix}", work.Work, mount.Options.With(extra))));
}

Command list = new("list", "Shows the rows, and what this machine lacks for them.");
list.SetAction(_ =>
{
    Table table = new Table().AddColumns("row", "work", "peer", "runs here");
    foreach (Func<IPeerRow> make in rows)
    {
        using IPeerRow row = make();
        table.AddRow(row.Name, row.Work, row.Peer, row.Missing() ?? "yes");
    }

    AnsiConsole.Write(table);
});

Argument<string[]> names = new("NAME") { Description = "Rows to run; none: all.", Arity = ArgumentArity.ZeroOrMore };
Option<int> rounds = new("--rounds") { Description = "Rounds of each row.", DefaultValueFactory = _ => 3 };
Option<bool> json = new("--json") { Description = "Results as JSON on standard output." };
Command run = new("run", "Runs rows and prints medians, spread, and how many times better Exo is.") { names, rounds, json };
run.SetAction(parsed =>
{
    string[] wanted = parsed.GetValue(names) ?? [];
    int count = Math.Max(1, parsed.GetValue(rounds));
    List<Comparison> results = [];
    HashSet<string> unknown = [.. wanted];
    foreach (Func<IPeerRow> make in rows)
    {
        // Disposed of in reverse: first what the row runs, then what it has made.
        using WorkFolder folder = new();
        using IPeerRow row = make();
        unknown.Remove(row.Name);
        if (wanted.Length > 0 && !wanted.Contains(row.Name))
        {
            continue;
        }

        if (row.Missing() is { } reason)
        {
            Console.Error.WriteLine($"{row.Name}: skipped: {reason}");
            continue;
        }

        Console.Error.WriteLine($"{row.Name}: {row.Work}");
        using CancelGuard guard = new(row, folder);
        try
        {
            row.Prepare(folder);
            results.Add(Comparison.Run(row, count));
        }
        catch (Exception) when (guard.IsEnding)
        {
            Thread.Sleep(Timeout.Infinite);   // the guard ends the process
        }
    }

    if (unknown.Count > 0)
    {
        Console.Error.WriteLine($"no such row: {string.Join(", ", unknown)}");
        return 2;
    }

    if (parsed.GetValue(json))
    {
        Console.WriteLine(JsonSerializer.Serialize(results, Report.Json));
    }
    else
    {
        AnsiConsole.Write(Report.Table(results));
    }

    return 0;
});

// What a row runs in a process of its own.
Argument<string> image = new("IMAGE");
Command createDelete = new("create-delete", "Makes and removes small files in an image, and prints the seconds.") { image };
createDelete.Hidden = true;
createDelete.SetAction(parsed => Console.WriteLine(CreateDelete.Seconds(parsed.GetValue(image)!).ToString(CultureInfo.InvariantCulture)));

Argument<string> driver = new("DRIVER") { Description = "packet, tap, xdp-driver or xdp-generic." };
Argument<string> link = new("INTERFACE");
Argument<int> bytes = new("BYTES");
Argument<double> seconds = new("SECONDS");
Command packetSend = new("packet-send", "Sends packets of one size, and prints how many and the processor seconds.") { driver, link, bytes, seconds };
packetSend.Hidden = true;
packetSend.SetAction(parsed => PacketSender.Run(parsed.GetValue(driver)!, parsed.GetValue(link)!, parsed.GetValue(bytes), parsed.GetValue(seconds)));

Argument<int[]> weights = new("WEIGHT");
Command shareSend = new("share-send", "Sends packets of several environments by their shares, and prints the Mbit/s of each.") { link, weights };
shareSend.Hidden = true;
shareSend.SetAction(parsed => ShareNetRow.Send(parsed.GetValue(link)!, parsed.GetValue(weights)!));

// Also for use by itself.
Argument<string> client = new("CLIENT") { Description = "The address to use; the kernel must not have it." };
Argument<string> server = new("SERVER") { Description = "ADDRESS:PORT." };
Argument<string> path = new("PATH") { Description = "What to ask for." };
Option<int> connections = new("--connections") { Description = "How many at a time, at most 32,767.", DefaultValueFactory = _ => 32 };
Option<double> duration = new("--seconds") { Description = "How long.", DefaultValueFactory = _ => 5 };
Option<double> rate = new("--rate") { Description = "Requests begun per second; 0: each when the one before is answered." };
Option<bool> keepAlive = new("--keep-alive") { Description = "One connection for many requests.", DefaultValueFactory = _ => true };
Command httpLoad = new("http-load", "Loads an HTTP server through a packet socket, and prints what it saw as JSON.") { link, client, server, path, connections, duration, rate, keepAlive };
httpLoad.SetAction(parsed => Console.WriteLine(JsonSerializer.Serialize(RawHttpLoad.Run(new HttpLoad(
    parsed.GetValue(link)!, IPAddress.Parse(parsed.GetValue(client)!), IPEndPoint.Parse(parsed.GetValue(server)!), parsed.GetValue(path)!,
    parsed.GetValue(connections), parsed.GetValue(keepAlive), parsed.GetValue(duration), parsed.GetValue(rate))))));

Argument<string> address = new("ADDRESS") { Description = "The address to serve on; the kernel must not have it." };
Argument<int> port = new("PORT");
Option<int> busyPoll = new("--busy-poll") { Description = "Microseconds to look for packets before sleeping." };
Option<Ablations> without = new("--without") { Description = "What to leave out of Cheetah." };
Option<bool> handlers = new("--handlers") { Description = "Have the kernel answer SYNs and known requests where they come in." };
Option<bool> custom = new("--custom") { Description = "Have a handler of the application's write each response." };
Command rawServe = new("raw-serve", "Serves /file.bin of that many bytes from memory on a packet socket, until it is killed.") { link, address, port, bytes, busyPoll, without, handlers, custom };
rawServe.Hidden = true;
rawServe.SetAction(parsed => RawServer.Run(parsed.GetValue(link)!, IPAddress.Parse(parsed.GetValue(address)!), parsed.GetValue(port), parsed.GetValue(bytes), parsed.GetValue(busyPoll), parsed.GetValue(without), parsed.GetValue(handlers), parsed.GetValue(custom)));

Option<string?> device = new("--device") { Description = "The interface of a packet socket instead of sockets." };
Command kestrelServe = new("kestrel-serve", "Serves that many bytes from memory by Kestrel, until it is killed.") { address, port, bytes, device };
kestrelServe.Hidden = true;
kestrelServe.SetAction(parsed => KestrelServer.Run(parsed.GetValue(device), IPAddress.Parse(parsed.GetValue(address)!), parsed.GetValue(port), parsed.GetValue(bytes)));

// The loss rows' ends and the wire between them.
Argument<string> secondLink = new("SECOND");
Option<double> loss = new("--loss"), reorder = new("--reorder"), delay = new("--delay");
Command wireRelay = new("wire-relay", "Passes packets between two interfaces, late or not at all, until it is killed.") { link, secondLink, loss, reorder, delay };
wireRelay.Hidden = true;
wireRelay.SetAction(parsed => WireRelay.Run(
    parsed.GetValue(link)!, parsed.GetValue(secondLink)!, new WireFaults(parsed.GetValue(loss), parsed.GetValue(reorder), parsed.GetValue(delay))));

Command plainWire = new("plain-wire", "Leaves no checksum and no segmentation of an interface to others.") { link };
plainWire.Hidden = true;
plainWire.SetAction(parsed =>
{
    using NetworkLink opened = NetworkLink.Open(parsed.GetValue(link)!);
    opened.SetTransmitChecksumOffload(false);
});

Argument<int> count = new("CONNECTIONS");
Command bulkReceive = new("bulk-receive", "Reads connections for some seconds, and prints bytes per second.") { server, count, seconds };
bulkReceive.Hidden = true;
bulkReceive.SetAction(parsed => Console.WriteLine(BulkTransfer.Receive(
    IPEndPoint.Parse(parsed.GetValue(server)!), parsed.GetValue(count), parsed.GetValue(seconds)).ToString(CultureInfo.InvariantCulture)));

Command bulkSend = new("bulk-send", "Sends on connections of the kernel until they are closed.") { server, count };
bulkSend.Hidden = true;
bulkSend.SetAction(parsed => BulkTransfer.SendByKernel(IPEndPoint.Parse(parsed.GetValue(server)!), parsed.GetValue(count)));

Command bulkSendExo = new("bulk-send-exo", "Sends on connections of a stack of Exo's until they are closed.") { server, count, link, address };
bulkSendExo.Hidden = true;
bulkSendExo.SetAction(parsed => BulkTransfer.SendByExo(
    parsed.GetValue(link)!, parsed.GetValue(address)!, IPEndPoint.Parse(parsed.GetValue(server)!), parsed.GetValue(count)));

return new RootCommand("Exo beside its peers.")
{
    list, run, createDelete, packetSend, shareSend, httpLoad, rawServe, kestrelServe, wireRelay, plainWire, bulkReceive, bulkSend, bulkSendExo,
}.Parse(args).Invoke();

/// <summary>Ctrl-C and SIGTERM take back what a row has made.</summary>
internal sealed class CancelGuard : IDisposable
{
    private readonly PosixSignalRegistration[] _registrations;
    private readonly IPeerRow _row;
    private readonly WorkFolder _folder;

    public CancelGuard(IPeerRow row, WorkFolder folder)
    {
        (_row, _folder) = (row, folder);
        _registrations = [PosixSignalRegistration.Create(PosixSignal.SIGINT, End), PosixSignalRegistration.Create(PosixSignal.SIGTERM, End)];
    }

    /// <summary>A signal has come: whatever the row's tools say now is not to be believed, and nothing but the end is to be waited for.</summary>
    public bool IsEnding { get; private set; }

    public void Dispose()
    {
        foreach (PosixSignalRegistration registration in _registrations)
        {
            registration.Dispose();
        }
    }

    private void End(PosixSignalContext context)
    {
        context.Cancel = true;
        IsEnding = true;
        try
        {
            _row.Dispose();
        }
        catch (Exception failure) when (failure is InvalidOperationException or IOException)
        {
            Console.Error.WriteLine($"could not clean up: {failure.Message}");
        }

        _folder.Dispose();
        Environment.Exit(128 + (context.Signal == PosixSignal.SIGINT ? 2 : 15));
    }
}

/// <summary>What a run prints.</summary>
internal static class Report
{
    public static JsonSerializerOptions Json { get; } = new() { WriteIndented = true, PropertyNamingPolicy = JsonNamingPolicy.CamelCase };

    public static Table Table(List<Comparison> results)
    {
        Table table = new Table().AddColumns("row", "Exo, median (range)", "peer, median (range)", "peer", "Exo is");
        foreach (Comparison result in results)
        {
            table.AddRow(
                result.Name, $"{Spread(result.Exo)} {result.Unit}", $"{Spread(result.Others)} {result.Unit}", result.Peer,
                string.Create(CultureInfo.InvariantCulture, $"{result.Ratio:0.00} x"));
        }

        return table;
    }

    private static string Spread(IReadOnlyList<double> values) => string.Create(
        CultureInfo.InvariantCulture, $"{Comparison.Median(values):#,0.##} ({values.Min():#,0.##}..{values.Max():#,0.##})");
}
