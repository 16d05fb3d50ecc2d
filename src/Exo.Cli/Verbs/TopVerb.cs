// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.Net;
using System.Net.Sockets;
using Exo.Cli.Arguments;
using Exo.Cli.Output;
using Exo.Cli.Top;
using Exo.Host;
using Spectre.Console;

namespace Exo.Cli.Verbs;

/// <summary><c>exo top</c>: a running exokernel, looked at from outside: in the terminal, as JSON, or as a web page.</summary>
internal static class TopVerb
{
    private const int LiveRowsMax = 30;

    // Wide enough for every column; predicates are cut before they are this long.
    private const int TextWidthColumns = 260;

    // How often whoever looks at the terminal looks for a key.
    private static readonly TimeSpan s_keyInterval = TimeSpan.FromMilliseconds(50);

    public static Command Create()
    {
        Option<string> socket = new("--socket") { Description = "UNIX socket of an 'exo host', or of a process that lets itself be observed (--observe)", HelpName = "PATH", Required = true };
        socket.Validators.Add(Symbols.RefuseImpossibleSocket);
        Option<bool> once = new("--once") { Description = "Show what is, and end" };
        Option<double> interval = new("--interval") { Description = "Seconds between two looks, from 0.1", HelpName = "SECONDS", DefaultValueFactory = _ => 1 };
        Option<TopOrder> sort = new("--sort") { Description = "What environments and library OSes are sorted by", DefaultValueFactory = _ => TopOrder.Tree };
        Option<bool> json = new("--json") { Description = "Print JSON, one snapshot a line" };
        Option<IPEndPoint?> http = Symbols.Http("Serve a page that shows it live");
        VerbCommand command = new("top", "Shows a running exokernel: environments or library OSes, frames, rings, predicates, registry.")
        {
            Examples =
            [
                "exo top --socket disk.sock",
                "exo top --socket disk.sock --once --sort time",
                "exo top --socket disk.sock --json --interval 5",
                "exo top --socket disk.sock --http 127.0.0.1:8081",
            ],
            Notes = ["In a terminal: q ends it, s sorts by something else. Looking costs those that are looked at next to nothing: a socket tells at most ten times a second."],
        };
        command.Add(socket);
        command.Add(once);
        command.Add(interval);
        command.Add(sort);
        command.Add(json);
        command.Add(http);
        command.SetAction(parsed => Run(
            parsed.GetRequiredValue(socket), parsed.GetValue(once), parsed.GetValue(interval), parsed.GetValue(sort), parsed.GetValue(json), parsed.GetValue(http)));
        return command;
    }

    private static int Run(string socket, bool once, double intervalSeconds, TopOrder order, bool json, IPEndPoint? http)
    {
        if (!(intervalSeconds is >= 0.1 and <= 86_400))
        {
            throw new UsageException("--interval: from 0.1 to 86400 seconds");
        }

        if (http is not null && (once || json))
        {
            throw new UsageException("--http: without --once and --json");
        }

        using Interruption interruption = new();
        TimeSpan interval = TimeSpan.FromSeconds(intervalSeconds);
        if (http is not null)
        {
            using LastingObserver lasting = new(socket);
            using PageServer page = PageServer.Start(http, lasting.LookAsync);
            Console.WriteLine($"showing {socket} on {page.Url}");
            interruption.Token.WaitHandle.WaitOne();
            return 0;
        }

        using ExokernelObserver observer = Attach(socket);
        try
        {
            if (json)
            {
                PrintJson(observer, once, interval, interruption.Token);
            }
            else if (once || Console.IsOutputRedirected)
            {
                PrintText(observer, once, interval, order, interruption.Token);
            }
            else
            {
                ShowLive(observer, interval, order, interruption.Token);
            }
        }
        catch (OperationCanceledException)
        {
            // Told to end.
        }

        return 0;
    }

    private static ExokernelObserver Attach(string socket)
    {
        try
        {
            return ExokernelObserver.Attach(socket);
        }
        catch (SocketException refused)
        {
            throw SocketPath.CannotConnect(socket, refused);
        }
    }

    private static void PrintJson(ExokernelObserver observer, bool once, TimeSpan interval, CancellationToken cancellationToken)
    {
        using Stream output = Console.OpenStandardOutput();
        do
        {
            // Read and written again, so that it is one line of JSON whatever was sent.
            output.Write([.. Look(observer, cancellationToken).ToJson(), (byte)'\n']);
            output.Flush();
        }
        while (!once && !cancellationToken.WaitHandle.WaitOne(interval));
    }

    private static void PrintText(ExokernelObserver observer, bool once, TimeSpan interval, TopOrder order, CancellationToken cancellationToken)
    {
        ExokernelSnapshot? before = null;
        do
        {
            ExokernelSnapshot now = Look(observer, cancellationToken);
            TopView view = new(now, before, order, Console.IsOutputRedirected ? TextWidthColumns : AnsiConsole.Profile.Width, int.MaxValue);
            if (Console.IsOutputRedirected)
            {
                Console.Write((before is null ? "" : "\n") + view.ToText());
            }
            else
            {
                AnsiConsole.Write(view.Draw());
            }

            before = now;
        }
        while (!once && !cancellationToken.WaitHandle.WaitOne(interval));
    }

    private static void ShowLive(ExokernelObserver observer, TimeSpan interval, TopOrder order, CancellationToken cancellationToken)
    {
        ExokernelSnapshot? before = null;
        ExokernelSnapshot now = Look(observer, cancellationToken);
        AnsiConsole.Clear();
        AnsiConsole.Live(new TopView(now, before, order, AnsiConsole.Profile.Width, LiveRowsMax).Draw()).AutoClear(true).Overflow(VerticalOverflow.Crop).Cropping(VerticalOverflowCropping.Bottom).Start(live =>
        {
            while (true)
            {
                long end = Environment.TickCount64 + (long)interval.TotalMilliseconds;
                while (Environment.TickCount64 < end)
                {
                    if (cancellationToken.WaitHandle.WaitOne(s_keyInterval))
                    {
                        return;
                    }

                    ConsoleKey? key = Console.IsInputRedirected || !Console.KeyAvailable ? null : Console.ReadKey(intercept: true).Key;
                    if (key == ConsoleKey.Q)
                    {
                        return;
                    }

                    if (key == ConsoleKey.S)
                    {
                        order = (TopOrder)(((int)order + 1) % Enum.GetValues<TopOrder>().Length);
                        live.UpdateTarget(new TopView(now, before, order, AnsiConsole.Profile.Width, LiveRowsMax).Draw());
                    }
                }

                (before, now) = (now, Look(observer, cancellationToken));
                live.UpdateTarget(new TopView(now, before, order, AnsiConsole.Profile.Width, LiveRowsMax).Draw());
            }
        });
    }

    private static ExokernelSnapshot Look(ExokernelObserver observer, CancellationToken cancellationToken) => observer.ObserveAsync(cancellationToken).GetAwaiter().GetResult();
}
