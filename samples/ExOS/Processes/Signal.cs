// SPDX-License-Identifier: MIT
namespace ExOS.Processes;

/// <summary>The signals there are, with Linux's numbers. Nothing can be stopped and continued: there is no job control beyond groups.</summary>
internal enum Signal
{
    None = 0,
    Hangup = 1,
    Interrupt = 2,
    Quit = 3,
    Kill = 9,
    User1 = 10,
    User2 = 12,
    Pipe = 13,
    Terminate = 15,
    Child = 17,
}

/// <summary>Names as kill(1) knows them.</summary>
internal static class SignalNames
{
    private static readonly (Signal Signal, string Name)[] s_names =
    [
        (Signal.Hangup, "HUP"), (Signal.Interrupt, "INT"), (Signal.Quit, "QUIT"), (Signal.Kill, "KILL"), (Signal.User1, "USR1"), (Signal.User2, "USR2"), (Signal.Pipe, "PIPE"), (Signal.Terminate, "TERM"),
        (Signal.Child, "CHLD"),
    ];

    public static string Of(Signal signal) => Array.Find(s_names, pair => pair.Signal == signal).Name ?? $"{(int)signal}";

    public static Signal? Parse(string text)
    {
        string name = text.StartsWith("SIG", StringComparison.OrdinalIgnoreCase) ? text[3..] : text;
        foreach ((Signal signal, string known) in s_names)
        {
            if (known.Equals(name, StringComparison.OrdinalIgnoreCase) || name == $"{(int)signal}")
            {
                return signal;
            }
        }

        return name == "0" ? Signal.None : null;
    }
}

/// <summary>How a process ended: by itself with a status, or by a signal.</summary>
internal readonly record struct ExitStatus(int Code, Signal Signal = Signal.None)
{
    /// <summary>As a shell sees it: 128 and the signal's number.</summary>
    public int ShellStatus => Signal == Signal.None ? Code & 0xFF : 128 + (int)Signal;
}

/// <summary>Unwinds a process to its end. Programs let it pass.</summary>
internal sealed class ProcessExit(ExitStatus status) : Exception
{
    public ExitStatus Status { get; } = status;
}
