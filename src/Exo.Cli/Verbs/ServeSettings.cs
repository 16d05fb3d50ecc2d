// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.Net;
using Exo.Cli.Arguments;
using Exo.Core.Net;
using Exo.Net.Cheetah;

namespace Exo.Cli.Verbs;

/// <summary>What <c>exo serve</c> says of limits, times, the status page and the log. What an option may be <see cref="CheetahServerOptions.Validate"/> knows; here is which option says it.</summary>
internal sealed class ServeSettings
{
    private static readonly CheetahServerOptions Defaults = new();

    private readonly Option<int> backlog = Number("--backlog", "Connections waiting to be accepted, for each thread", Defaults.Backlog);
    private readonly Option<int> connections = Number("--max-connections", "Open connections, for each thread; more wait", Defaults.ConnectionsMax);
    private readonly Option<int> requestLine = Number("--max-request-line", "Longest request line, in bytes", Defaults.RequestLineBytesMax);
    private readonly Option<int> requestHead = Number("--max-request-head", "Longest request head, in bytes", Defaults.RequestHeadBytesMax);
    private readonly Option<int> fields = Number("--max-fields", "Most header fields in a request", Defaults.FieldCountMax);
    private readonly Option<long?> body = Symbols.Size("--max-discarded-body", "Longest body that is read past [default: 64K]");
    private readonly Option<TimeSpan?> idle = Time("--idle-timeout", "How long a connection may stay between requests", Defaults.IdleTimeout);
    private readonly Option<TimeSpan?> request = Time("--request-timeout", "How long a request may take to come", Defaults.RequestTimeout);
    private readonly Option<TimeSpan?> document = Time("--document-timeout", "How long reading a document may take", Defaults.DocumentTimeout);
    private readonly Option<TimeSpan?> send = Time("--send-timeout", "How often the pace of a slow client is judged", Defaults.SendTimeout);
    private readonly Option<int> pace = Number("--min-send-rate", "Bytes per second that a client must take", Defaults.SendBytesPerSecondMin);
    private readonly Option<bool> precompressed = new("--precompressed") { Description = "Answer with FILE.br, FILE.zst or FILE.gz where FILE is asked for by one who accepts that" };
    private readonly Option<string?> status = new("--status") { Description = "Path of a page that shows connections, cache and rings; PATH/metrics is the same as text. For clients on this machine", HelpName = "PATH" };
    private readonly Option<bool> statusPublic = new("--status-public") { Description = "Show it to whoever asks" };
    private readonly Option<string?> log = new("--log") { Description = "File that gets a line for each response, - for standard output; SIGHUP opens it anew", HelpName = "PATH" };
    private readonly Option<AccessLogFormat?> format = new("--log-format") { Description = "Form of these lines [default: combined]", HelpName = "common|combined" };

    public void AddTo(Command command)
    {
        foreach (Option option in (Option[])[backlog, connections, requestLine, requestHead, fields, body, idle, request, document, send, pace, precompressed, status, statusPublic, log, format])
        {
            command.Add(option);
        }
    }

    /// <summary>What was said, as the server's options.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="endPoint">Where to listen.</param>
    /// <param name="reactors">Threads.</param>
    /// <param name="isRaw">The server drives an interface itself, which is <paramref name="device"/> once it is open.</param>
    /// <param name="device">The interface.</param>
    /// <param name="network">The stack on it.</param>
    /// <exception cref="UsageException">Something is out of its range.</exception>
    public CheetahServerOptions Read(ParseResult parsed, IPEndPoint endPoint, int reactors, bool isRaw, NetworkDevice? device = null, NetworkStackOptions? network = null)
    {
        string? path = parsed.GetValue(log);
        string? statusPath = parsed.GetValue(status);
        bool statusIsPublic = parsed.GetValue(statusPublic);
        if (statusIsPublic && statusPath is null)
        {
            throw new UsageException("--status-public: only with --status");
        }

        if (statusPath is not null && isRaw && !statusIsPublic)
        {
            throw new UsageException("--status: nobody on this machine reaches an interface that the server drives itself; add --status-public");
        }

        var options = new CheetahServerOptions
        {
            EndPoint = endPoint,
            Reactors = reactors,
            Device = device,
            Network = network,
            Backlog = parsed.GetValue(backlog),
            ConnectionsMax = parsed.GetValue(connections),
            RequestLineBytesMax = parsed.GetValue(requestLine),
            RequestHeadBytesMax = parsed.GetValue(requestHead),
            FieldCountMax = parsed.GetValue(fields),
            DiscardedBodyBytesMax = parsed.GetValue(body) ?? Defaults.DiscardedBodyBytesMax,
            IdleTimeout = parsed.GetValue(idle) ?? Defaults.IdleTimeout,
            RequestTimeout = parsed.GetValue(request) ?? Defaults.RequestTimeout,
            DocumentTimeout = parsed.GetValue(document) ?? Defaults.DocumentTimeout,
            SendTimeout = parsed.GetValue(send) ?? Defaults.SendTimeout,
            SendBytesPerSecondMin = parsed.GetValue(pace),
            Precompressed = parsed.GetValue(precompressed) ? ContentCodings.All : ContentCodings.None,
            StatusPath = statusPath,
            StatusIsPublic = statusIsPublic,
            AccessLog = path is null ? null : new AccessLogOptions
            {
                Path = path == "-" ? null : path,
                Output = path == "-" ? Console.OpenStandardOutput() : null,
                Format = parsed.GetValue(format) ?? AccessLogFormat.Combined,
            },
        };
        try
        {
            options.Validate();
        }
        catch (ArgumentException failure) when (failure.ParamName == nameof(options.StatusPath))
        {
            throw new UsageException($"--status: '{statusPath}' is no path like /-/status");
        }
        catch (ArgumentOutOfRangeException failure)
        {
            Option said = failure.ParamName switch
            {
                nameof(options.Backlog) => backlog,
                nameof(options.ConnectionsMax) => connections,
                nameof(options.RequestLineBytesMax) => requestLine,
                nameof(options.RequestHeadBytesMax) => requestHead,
                nameof(options.FieldCountMax) => fields,
                nameof(options.DiscardedBodyBytesMax) => body,
                nameof(options.IdleTimeout) => idle,
                nameof(options.RequestTimeout) => request,
                nameof(options.DocumentTimeout) => document,
                nameof(options.SendTimeout) => send,
                nameof(options.SendBytesPerSecondMin) => pace,
                _ => log,
            };
            throw new UsageException($"{said.Name}: {failure.Message[..failure.Message.IndexOf(" (Parameter", StringComparison.Ordinal)].ToLowerInvariant().TrimEnd('.')}");
        }

        return options;
    }

    private static Option<int> Number(string name, string description, int whenAbsent) =>
        new(name) { Description = description, HelpName = "N", DefaultValueFactory = _ => whenAbsent };

    private static Option<TimeSpan?> Time(string name, string description, TimeSpan whenAbsent) => new(name)
    {
        Description = $"{description} [default: {whenAbsent.TotalSeconds}s]",
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
}
