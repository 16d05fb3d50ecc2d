// SPDX-License-Identifier: MIT
using System.Net.Sockets;

namespace Exo.Cli.Output;

/// <summary>Text on one line, whatever a path or a message contains.</summary>
internal static class OneLine
{
    public static string Of(string message) => message.TrimEnd('.', ' ', '\n').ReplaceLineEndings(" ");
}

/// <summary>Turns expected trouble into one line. What is not expected is not caught: it is a bug and keeps its stack trace.</summary>
internal static class Failure
{
    public static string? Describe(Exception error) => error switch
    {
        AggregateException { InnerExceptions: [var only] } => Describe(only),
        SocketException socket => OneLine.Of(socket.Message),
        IOException or UnauthorizedAccessException => OneLine.Of(error.Message),
        OperationCanceledException => "interrupted",
        _ => null,
    };
}
