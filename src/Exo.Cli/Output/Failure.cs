// SPDX-License-Identifier: MIT
using System.ComponentModel;

namespace Exo.Cli.Output;

/// <summary>Text on one line, whatever a path or a message contains.</summary>
internal static class OneLine
{
    public static string Of(string message) => message.TrimEnd('.', ' ', '\n').ReplaceLineEndings(" ");
}

/// <summary>Turns trouble into one line.</summary>
internal static class Failure
{
    /// <summary>Expected trouble; null for a bug.</summary>
    public static string? Describe(Exception error) => error switch
    {
        AggregateException { InnerExceptions: [var only] } => Describe(only),
        // A socket, or a program that cannot be started.
        Win32Exception system => OneLine.Of(system.Message),
        OutOfMemoryException memory => OneLine.Of(memory.Message),
        IOException or UnauthorizedAccessException => OneLine.Of(error.Message),
        OperationCanceledException => "interrupted",
        _ => null,
    };
}
