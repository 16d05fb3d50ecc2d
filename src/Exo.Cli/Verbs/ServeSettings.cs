// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Net;
using Exo.Cli.Arguments;
using Exo.Cli.Output;
using Exo.Net.Cheetah;

namespace Exo.Cli.Verbs;

/// <summary>What <c>exo serve</c> was told, checked: all that can be known before anything is opened.</summary>
/// <param name="Server">The server's settings, but for its device.</param>
/// <param name="Folder">Those of a folder, if it serves one.</param>
/// <param name="DrainTimeout">How long responses under way may take once the server is told to stop.</param>
internal sealed record ServePlan(CheetahServerOptions Server, FolderDocumentOptions Folder, TimeSpan DrainTimeout);

/// <summary>
/// The settings of <c>exo serve</c>, each an option that says which property it is and where it means something. What it may be <see cref="CheetahServerOptions.Validate"/> knows;
/// here is which option says it, and that one which would do nothing is refused.
/// </summary>
internal sealed class ServeSettings
{
    private static readonly CheetahServerOptions Server = new();
    private static readonly NetworkStackOptions Network = new() { Addresses = [] };
    private static readonly AccessLogOptions Log = new();
    private static readonly FolderDocumentOptions Folder = new();
    private static readonly TimeSpan Drain = TimeSpan.FromSeconds(5);

    private readonly Option<string?> status = new("--status") { Description = "Path of a page that shows connections, cache and rings; PATH/metrics is the same as text. For clients on this machine", HelpName = "PATH" };
    private readonly Option<bool> statusPublic = new("--status-public") { Description = "Show it to whoever asks" };
    private readonly Option<string?> log = new("--log") { Description = "File that gets a line for each response, - for standard output; SIGHUP opens it anew. With it the kernel answers no requests (--handlers)", HelpName = "PATH" };

    private readonly Setting[] settings =
    [
        Number("--backlog", "Sockets: connections waiting to be accepted, for each thread", Server.Backlog, Where.Sockets, nameof(Server.Backlog), (said, value) => said with { Server = said.Server with { Backlog = value } }),
        Number("--max-connections", "Open connections, for each thread; on sockets more wait, on an interface they are reset", Server.ConnectionsMax, Where.Anywhere, nameof(Server.ConnectionsMax), (said, value) => said with { Server = said.Server with { ConnectionsMax = value } }),
        Number("--max-request-line", "Longest request line, in bytes; longer ones get 414", Server.RequestLineBytesMax, Where.Anywhere, nameof(Server.RequestLineBytesMax), (said, value) => said with { Server = said.Server with { RequestLineBytesMax = value } }),
        Number("--max-request-head", "Longest request head, in bytes; longer ones get 431", Server.RequestHeadBytesMax, Where.Anywhere, nameof(Server.RequestHeadBytesMax), (said, value) => said with { Server = said.Server with { RequestHeadBytesMax = value } }),
        Number("--max-fields", "Most header fields in a request; more get 431", Server.FieldCountMax, Where.Anywhere, nameof(Server.FieldCountMax), (said, value) => said with { Server = said.Server with { FieldCountMax = value } }),
        Size("--max-discarded-body", "Longest body that is read past; a longer one gets 413", Server.DiscardedBodyBytesMax, Where.Anywhere, nameof(Server.DiscardedBodyBytesMax), (said, value) => said with { Server = said.Server with { DiscardedBodyBytesMax = value } }),
        Time("--idle-timeout", "How long a connection may stay between requests", Server.IdleTimeout, Where.Anywhere, nameof(Server.IdleTimeout), (said, value) => said with { Server = said.Server with { IdleTimeout = value } }),
        Time("--request-timeout", "How long a request may take to come; then 408", Server.RequestTimeout, Where.Anywhere, nameof(Server.RequestTimeout), (said, value) => said with { Server = said.Server with { RequestTimeout = value } }),
        Time("--document-timeout", "How long reading a document may take; then 503", Server.DocumentTimeout, Where.Anywhere, nameof(Server.DocumentTimeout), (said, value) => said with { Server = said.Server with { DocumentTimeout = value } }),
        Size("--document-window", "What one response may hold of a document that is not kept whole, because it is large", Server.DocumentWindowBytes, Where.Anywhere, nameof(Server.DocumentWindowBytes), (said, value) => said with { Server = said.Server with { DocumentWindowBytes = value } }),
        Time("--send-timeout", "How often the pace of a slow client is judged", Server.SendTimeout, Where.Anywhere, nameof(Server.SendTimeout), (said, value) => said with { Server = said.Server with { SendTimeout = value } }),
        Number("--min-send-rate", "Bytes per second that a client must take, or it is cut off", Server.SendBytesPerSecondMin, Where.Anywhere, nameof(Server.SendBytesPerSecondMin), (said, value) => said with { Server = said.Server with { SendBytesPerSecondMin = value } }),
        Several("--cache-control", "Cache-Control of documents by path: '/assets/*=max-age=3600', or a value alone for all; of several that fit the first counts", "PATTERN=VALUE", nameof(Server.DocumentFields), (said, text) => said with { Server = said.Server with { DocumentFields = [.. said.Server.DocumentFields, CacheControl(text)] } }),
        Several("--header", "Further header field of documents by path: '*=X-Content-Type-Options: nosniff'", "PATTERN=NAME: VALUE", nameof(Server.DocumentFields), (said, text) => said with { Server = said.Server with { DocumentFields = [.. said.Server.DocumentFields, Header(text)] } }),
        Several("--media-type", "Media type of an extension: 'wasm=application/wasm'", "EXTENSION=TYPE", nameof(Server.MediaTypes), (said, text) => said with { Server = said.Server with { MediaTypes = With(said.Server.MediaTypes, Split("--media-type", text)) } }),
        Several("--error-page", "Document that is the page of 404, 500 or 503: '404=/404.html'", "STATUS=PATH", nameof(Server.ErrorPages), (said, text) => said with { Server = said.Server with { ErrorPages = With(said.Server.ErrorPages, ErrorPage(text)) } }),
        Flag("--precompressed", "Answer with FILE.br, FILE.zst or FILE.gz where FILE is asked for by one who accepts that", Where.Anywhere, said => said with { Server = said.Server with { Precompressed = ContentCodings.All } }),
        Time("--drain-time", "How long responses under way may take when the server is told to stop", Drain, Where.Anywhere, nameof(ServePlan.DrainTimeout), (said, value) => said with { DrainTimeout = value }),

        Time("--keep-alive", "Interface: a connection silent for so long is probed, 0 never; on sockets time-outs alone end it", Network.KeepAlive, Where.Interface, nameof(Network.KeepAlive), (said, value) => said with { Network = said.Network! with { KeepAlive = value } }),
        Time("--keep-alive-interval", "Interface: how long one probe waits for its answer [default: as --keep-alive, at most 75s]", null, Where.Interface, nameof(Network.KeepAliveInterval), (said, value) => said with { Network = said.Network! with { KeepAliveInterval = value } }),
        Number("--keep-alive-probes", "Interface: probes without an answer that end a connection", Network.KeepAliveProbes, Where.Interface, nameof(Network.KeepAliveProbes), (said, value) => said with { Network = said.Network! with { KeepAliveProbes = value } }),
        Number("--max-half-open", "Interface: handshakes under way; beyond, SYN cookies are sent and nothing is kept", Network.HalfOpenMax, Where.Interface, nameof(Network.HalfOpenMax), (said, value) => said with { Network = said.Network! with { HalfOpenMax = value } }),
        Size("--receive-window", "Interface: the receive window of a connection", Network.ReceiveWindowBytes, Where.Interface, nameof(Network.ReceiveWindowBytes), (said, value) => said with { Network = said.Network! with { ReceiveWindowBytes = (int)Math.Min(value, int.MaxValue) } }),
        Size("--receive-memory", "Interface: what may wait on all connections together; more is dropped and comes again", Network.ReceiveMemoryBytesMax, Where.Interface, nameof(Network.ReceiveMemoryBytesMax), (said, value) => said with { Network = said.Network! with { ReceiveMemoryBytesMax = value } }),
        Time("--delayed-ack", "Interface: how long an acknowledgment may wait for company", Network.DelayedAcknowledgment, Where.Interface, nameof(Network.DelayedAcknowledgment), (said, value) => said with { Network = said.Network! with { DelayedAcknowledgment = value } }),
        Time("--time-wait", "Interface: how long a closed connection's names are kept", Network.TimeWait, Where.Interface, nameof(Network.TimeWait), (said, value) => said with { Network = said.Network! with { TimeWait = value } }),
        Number("--max-time-wait", "Interface: so many of them; beyond, the oldest go", Network.TimeWaitMax, Where.Interface, nameof(Network.TimeWaitMax), (said, value) => said with { Network = said.Network! with { TimeWaitMax = value } }),
        Number("--max-resets", "Interface: resets a second to segments that belong to nothing", Network.ResetsPerSecond, Where.Interface, nameof(Network.ResetsPerSecond), (said, value) => said with { Network = said.Network! with { ResetsPerSecond = value } }),
        Number("--max-challenges", "Interface: challenge acknowledgments a second", Network.ChallengeAcksPerSecond, Where.Interface, nameof(Network.ChallengeAcksPerSecond), (said, value) => said with { Network = said.Network! with { ChallengeAcksPerSecond = value } }),

        Choice<AccessLogFormat>("--log-format", "Form of the log's lines [default: combined]", "common|combined", Where.Log, (said, value) => said with { Log = said.Log! with { Format = value } }),
        Choice<AccessLogOverflow>("--log-when-full", "When the log's output is too slow: leave lines out and count them, or wait with all connections [default: drop]", "drop|wait", Where.Log, (said, value) => said with { Log = said.Log! with { WhenFull = value } }),
        Size("--log-ring", "Memory for what is not written yet, for each thread", Log.RingBytes, Where.Log, nameof(Log.RingBytes), (said, value) => said with { Log = said.Log! with { RingBytes = (int)Math.Min(value, int.MaxValue) } }),
        Time("--log-flush", "How long a line may wait for others to be written with", Log.FlushInterval, Where.Log, nameof(Log.FlushInterval), (said, value) => said with { Log = said.Log! with { FlushInterval = value } }),

        Flag("--dot-names", "Folder: serve names that begin with a dot", Where.Folder, said => said with { Folder = said.Folder with { ServesDotNames = true } }),
        Number("--max-watches", "Folder: directories and documents that are watched; what is not is read anew for each request", Folder.WatchesMax, Where.Folder, nameof(Folder.WatchesMax), (said, value) => said with { Folder = said.Folder with { WatchesMax = value } }),
    ];

    private enum Where
    {
        Anywhere,
        Sockets,
        Interface,
        Log,
        Folder,
    }

    /// <summary>What has been said so far.</summary>
    private sealed record Draft(CheetahServerOptions Server, NetworkStackOptions? Network, AccessLogOptions? Log, FolderDocumentOptions Folder, TimeSpan DrainTimeout);

    /// <summary>An option, the property that it sets, where it means something, and how it is put in if it was said.</summary>
    private sealed record Setting(Option Option, string Property, Where Where, Func<ParseResult, Draft, Draft> Apply);

    public void AddTo(Command command)
    {
        foreach (Option option in (IEnumerable<Option>)[.. settings.TakeWhile(setting => setting.Where != Where.Log).Select(setting => setting.Option), status, statusPublic, log, .. settings.SkipWhile(setting => setting.Where != Where.Log).Select(setting => setting.Option)])
        {
            command.Add(option);
        }
    }

    /// <summary>What was said.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="endPoint">Where to listen.</param>
    /// <param name="reactors">Threads.</param>
    /// <param name="network">The addresses of the server's own stack; null: sockets.</param>
    /// <param name="isFolder">A folder is served, not an image.</param>
    /// <exception cref="UsageException">Something is out of its range, or would do nothing.</exception>
    public ServePlan Read(ParseResult parsed, IPEndPoint endPoint, int reactors, NetworkStackOptions? network, bool isFolder)
    {
        string? path = parsed.GetValue(log);
        string? statusPath = parsed.GetValue(status);
        bool statusIsPublic = parsed.GetValue(statusPublic);
        if (statusIsPublic && statusPath is null)
        {
            throw new UsageException("--status-public: only with --status");
        }

        if (statusPath is not null && network is not null && !statusIsPublic)
        {
            throw new UsageException("--status: nobody on this machine reaches an interface that the server drives itself; add --status-public");
        }

        var said = new Draft(
            new CheetahServerOptions { EndPoint = endPoint, Reactors = reactors, StatusPath = statusPath, StatusIsPublic = statusIsPublic },
            network,
            path is null ? null : new AccessLogOptions { Path = path == "-" ? null : path, Output = path == "-" ? Console.OpenStandardOutput() : null },
            Folder, Drain);
        foreach (Setting setting in settings.Where(setting => parsed.GetResult(setting.Option) is { Implicit: false }))
        {
            string? only = setting.Where switch
            {
                Where.Sockets when network is not null => "with sockets; an interface has handshakes under way (--max-half-open)",
                Where.Interface when network is null => "with --device tap:, packet: or xdp:",
                Where.Log when path is null => "with --log",
                Where.Folder when !isFolder => "for a folder",
                _ => null,
            };
            said = only is null ? setting.Apply(parsed, said) : throw new UsageException($"{setting.Option.Name}: only {only}");
        }

        if (said.Folder.WatchesMax < 0)
        {
            throw new UsageException("--max-watches: at least 0");
        }

        if (said.DrainTimeout > TimeSpan.FromDays(1))
        {
            throw new UsageException("--drain-time: at most a day");
        }

        CheetahServerOptions options = said.Server with { Network = said.Network, AccessLog = said.Log };
        try
        {
            options.Validate();
        }
        catch (ArgumentException failure) when (failure.ParamName == nameof(options.StatusPath))
        {
            throw new UsageException($"--status: '{statusPath}' is no path like /-/status");
        }
        catch (ArgumentException failure) when (failure.ParamName == nameof(options.HandlerBodyBytesMax))
        {
            throw new UsageException($"--receive-window: with --status at least {ByteSize.Format(options.RequestHeadBytesMax + options.HandlerBodyBytesMax)}");
        }
        catch (ArgumentException failure) when (failure.ParamName is nameof(options.DocumentFields) or nameof(options.MediaTypes) or nameof(options.ErrorPages))
        {
            string[] names = [.. settings.Where(setting => setting.Property == failure.ParamName).Select(setting => setting.Option.Name)];
            throw new UsageException($"{string.Join(", ", names)}: {Said(failure)}");
        }
        catch (ArgumentOutOfRangeException failure) when (settings.FirstOrDefault(setting => setting.Property == failure.ParamName) is { } setting)
        {
            throw new UsageException($"{setting.Option.Name}: {Said(failure).ToLowerInvariant()}");
        }

        return new ServePlan(options, said.Folder, said.DrainTimeout);
    }

    // Without the parameter's name.
    private static string Said(ArgumentException failure) => failure.Message[..failure.Message.IndexOf(" (Parameter", StringComparison.Ordinal)].TrimEnd('.');

    private static Setting Number(string name, string description, int whenAbsent, Where where, string property, Func<Draft, int, Draft> put)
    {
        Option<int?> option = new(name) { Description = $"{description} [default: {whenAbsent}]", HelpName = "N" };
        return new Setting(option, property, where, (parsed, said) => put(said, parsed.GetValue(option)!.Value));
    }

    private static Setting Size(string name, string description, long whenAbsent, Where where, string property, Func<Draft, long, Draft> put)
    {
        Option<long?> option = Symbols.Size(name, $"{description} [default: {whenAbsent switch { >= 1 << 20 => (whenAbsent >> 20).ToString(CultureInfo.InvariantCulture) + "M", _ => (whenAbsent >> 10).ToString(CultureInfo.InvariantCulture) + "K" }}]");
        return new Setting(option, property, where, (parsed, said) => put(said, parsed.GetValue(option)!.Value));
    }

    private static Setting Time(string name, string description, TimeSpan? whenAbsent, Where where, string property, Func<Draft, TimeSpan, Draft> put)
    {
        Option<TimeSpan?> option = new(name)
        {
            Description = whenAbsent is { } time ? $"{description} [default: {(time > TimeSpan.Zero && time.TotalSeconds < 1 ? $"{time.TotalMilliseconds}ms" : $"{time.TotalSeconds}s")}]" : description,
            HelpName = "TIME",
            CustomParser = result =>
            {
                if (Duration.TryParse(result.Tokens[0].Value, out TimeSpan time))
                {
                    return time;
                }

                result.AddError($"{name}: '{result.Tokens[0].Value}' is not a time; write 250ms, 30s, 1.5m or 2h");
                return null;
            },
        };
        return new Setting(option, property, where, (parsed, said) => put(said, parsed.GetValue(option)!.Value));
    }

    private static Setting Choice<T>(string name, string description, string choices, Where where, Func<Draft, T, Draft> put)
        where T : struct, Enum
    {
        Option<T?> option = new(name) { Description = description, HelpName = choices };
        return new Setting(option, typeof(T).Name, where, (parsed, said) => put(said, parsed.GetValue(option)!.Value));
    }

    private static Setting Several(string name, string description, string form, string property, Func<Draft, string, Draft> put)
    {
        Option<string[]> option = new(name) { Description = description + "; may be given several times", HelpName = form };
        return new Setting(option, property, Where.Anywhere, (parsed, said) => (parsed.GetValue(option) ?? []).Aggregate(said, put));
    }

    private static DocumentField CacheControl(string text)
    {
        bool hasPattern = text.Length > 0 && text[0] is '/' or '*' && text.Contains('=', StringComparison.Ordinal);
        (string pattern, string value) = hasPattern ? Split("--cache-control", text) : ("*", text);
        return new DocumentField(pattern, "Cache-Control", value);
    }

    private static DocumentField Header(string text)
    {
        (string pattern, string line) = Split("--header", text);
        int colon = line.IndexOf(':', StringComparison.Ordinal);
        return colon < 0 ? throw new UsageException($"--header: '{text}' is not PATTERN=NAME: VALUE") : new DocumentField(pattern, line[..colon], line[(colon + 1)..].Trim());
    }

    private static (int Status, string Path) ErrorPage(string text)
    {
        (string status, string path) = Split("--error-page", text);
        return int.TryParse(status, NumberStyles.None, CultureInfo.InvariantCulture, out int number) ? (number, path) : throw new UsageException($"--error-page: '{status}' is no status");
    }

    private static (string Left, string Right) Split(string option, string text)
    {
        int at = text.IndexOf('=', StringComparison.Ordinal);
        return at > 0 ? (text[..at], text[(at + 1)..]) : throw new UsageException($"{option}: '{text}' has no '='");
    }

    private static Dictionary<TKey, string> With<TKey>(IReadOnlyDictionary<TKey, string> there, (TKey Key, string Value) more)
        where TKey : notnull => new(there) { [more.Key] = more.Value };

    private static Setting Flag(string name, string description, Where where, Func<Draft, Draft> put)
    {
        Option<bool> option = new(name) { Description = description };
        return new Setting(option, name, where, (parsed, said) => parsed.GetValue(option) ? put(said) : said);
    }
}
