// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah;

/// <summary>What a line of an access log says.</summary>
public enum AccessLogFormat
{
    /// <summary>Common Log Format: <c>%h - - %t "%r" %>s %b</c> in the words of Apache's mod_log_config.</summary>
    Common,

    /// <summary>Combined Log Format: the same, then <c>"%{Referer}i" "%{User-agent}i"</c>.</summary>
    Combined,
}

/// <summary>What happens to a request when its reactor's ring is full of records that are not written yet.</summary>
public enum AccessLogOverflow
{
    /// <summary>It is answered and not logged, and counted (<see cref="CheetahCounters.AccessLogDropped"/>).</summary>
    Drop,

    /// <summary>Its reactor, with all its connections, waits until there is room.</summary>
    Wait,
}

/// <summary>
/// An access log: a line for each response, as Apache writes it, bytes that are not printable, quotes and backslashes escaped. Reactors write records into rings of
/// their own; a thread makes lines of them and writes many at a time. A response is logged when it has been decided on: its bytes are those of its body, whether or not the client stays for them.
/// </summary>
public sealed record AccessLogOptions
{
    /// <summary>A file that lines are appended to, made if there is none, opened again by <see cref="CheetahServer.ReopenAccessLogAsync"/>. This or <see cref="Output"/>.</summary>
    public string? Path { get; init; }

    /// <summary>A stream that lines are written to (a pipe: <see cref="System.IO.Pipelines.PipeWriter.AsStream"/>). Only the log's thread uses it; not disposed. This or <see cref="Path"/>.</summary>
    public Stream? Output { get; init; }

    /// <summary>Default <see cref="AccessLogFormat.Combined"/>.</summary>
    public AccessLogFormat Format { get; init; } = AccessLogFormat.Combined;

    /// <summary>Bytes of each reactor's ring, rounded up to a power of two; 64 KiB to 1 GiB, and at least three times the longest request head. A record takes about 60 bytes and what it quotes. Default 1 MiB.</summary>
    public int RingBytes { get; init; } = 1 << 20;

    /// <summary>Default <see cref="AccessLogOverflow.Drop"/>.</summary>
    public AccessLogOverflow WhenFull { get; init; }

    /// <summary>How long a record may wait for others to be written with; a ring that is half full is not waited for. From 0 to a minute. Default 200 ms.</summary>
    public TimeSpan FlushInterval { get; init; } = TimeSpan.FromMilliseconds(200);
}
