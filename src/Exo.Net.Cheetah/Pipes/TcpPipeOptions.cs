// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Pipes;

/// <summary>How the pipes of a connection tell what has happened to it.</summary>
public sealed record TcpPipeOptions
{
    internal static readonly TcpPipeOptions Default = new();

    /// <summary>Makes the exception with which reads of a connection end that was not closed gracefully; by default it is what it is given.</summary>
    public Func<TcpConnectionException, Exception> Failure { get; init; } = failure => failure;

    /// <summary>Flushes end with that exception too. Without, they say <see cref="System.IO.Pipelines.FlushResult.IsCompleted"/> and the reader is who learns why.</summary>
    public bool FlushThrows { get; init; } = true;
}
