// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Net.Cheetah.Http;

namespace Exo.Net.Cheetah;

/// <summary>
/// Answers one request, on the thread that has read it: everybody else on that thread waits meanwhile, so it must not block. Reactors call it at the same time.
/// If it throws, the client gets 500 and nothing of what it wrote, and nobody else notices.
/// </summary>
/// <param name="request">What the client has sent; valid during the call.</param>
/// <param name="response">Where the answer is written; valid during the call.</param>
public delegate void CheetahHandler(in CheetahRequest request, CheetahResponse response);

/// <summary>
/// Does the waiting that an answer needs and gives back who writes it. It is called on the thread that has read the request and must not block; what it awaits may run anywhere, and the
/// connection waits meanwhile, for <see cref="CheetahServerOptions.DocumentTimeout"/> at most, then the client gets 503. The handler it gives back sees the same request again. Failures are answered with 500.
/// </summary>
/// <param name="request">What the client has sent; valid until this returns its task.</param>
/// <param name="cancellationToken">Cancelled when the server stops.</param>
public delegate ValueTask<CheetahHandler> CheetahDeferredHandler(in CheetahRequest request, CancellationToken cancellationToken);

/// <summary>
/// The application's own answers, by method and path; every other request is for a document. A server reads the table when it is made.
/// <code>
/// /hello      that path
/// /api/*      every path that begins with /api/; the longest such beginning wins, and a whole path wins over it
/// </code>
/// A path with a handler for any method belongs to handlers: other methods get 405. Who handles GET also gets HEAD, whose body is left out.
/// </summary>
public sealed class CheetahHandlers
{
    internal Dictionary<string, List<HandlerEntry>> Entries { get; } = new(StringComparer.Ordinal);

    /// <summary>Adds a handler.</summary>
    /// <param name="method">As in a request: "GET", "POST", or any other token.</param>
    /// <param name="path">As in a URI after decoding; it may end with "/*".</param>
    /// <param name="handler">Whom to call.</param>
    /// <returns>This table.</returns>
    /// <exception cref="ArgumentException">The method is no token, the path does not begin with "/" or has an empty or dot segment, or both have a handler already.</exception>
    public CheetahHandlers Add(string method, string path, CheetahHandler handler)
    {
        ArgumentNullException.ThrowIfNull(handler);
        return Add(method, path, new HandlerEntry(Method(method), handler, null));
    }

    /// <summary>Adds a handler that has to wait for something before it can answer.</summary>
    /// <param name="method">As in <see cref="Add(string, string, CheetahHandler)"/>.</param>
    /// <param name="path">As in <see cref="Add(string, string, CheetahHandler)"/>.</param>
    /// <param name="handler">Whom to call.</param>
    /// <returns>This table.</returns>
    /// <exception cref="ArgumentException">As in <see cref="Add(string, string, CheetahHandler)"/>.</exception>
    public CheetahHandlers AddDeferred(string method, string path, CheetahDeferredHandler handler)
    {
        ArgumentNullException.ThrowIfNull(handler);
        return Add(method, path, new HandlerEntry(Method(method), null, handler));
    }

    /// <summary>The same handlers in a table of its own.</summary>
    internal CheetahHandlers Copy()
    {
        var copy = new CheetahHandlers();
        foreach ((string path, List<HandlerEntry> entries) in Entries)
        {
            copy.Entries.Add(path, [.. entries]);
        }

        return copy;
    }

    private CheetahHandlers Add(string method, string path, HandlerEntry entry)
    {
        CheckPath(path, nameof(path));
        if (!Entries.TryGetValue(path, out List<HandlerEntry>? there))
        {
            Entries.Add(path, there = []);
        }
        else if (there.Exists(other => other.Method.AsSpan().SequenceEqual(entry.Method)))
        {
            throw new ArgumentException($"{method} {path} has a handler already.", nameof(path));
        }

        there.Add(entry);
        return this;
    }

    /// <summary>A path that requests can come to: what <see cref="TargetPath"/> leaves as it is.</summary>
    internal static void CheckPath(string path, string parameter)
    {
        ArgumentNullException.ThrowIfNull(path, parameter);
        byte[] bytes = Encoding.UTF8.GetBytes(path);
        byte[] resolved = new byte[Math.Max(1, bytes.Length)];
        if (bytes.Length == 0 || bytes[0] != '/' || bytes.AsSpan().ContainsAnyInRange((byte)0, (byte)0x1F) || bytes.AsSpan().ContainsAny((byte)'%', (byte)'\\', (byte)0x7F)
            || !TargetPath.TryDecode(bytes, resolved, out int lengthBytes) || !resolved.AsSpan(0, lengthBytes).SequenceEqual(bytes))
        {
            throw new ArgumentException($"'{path}' is no path like /a/b or /a/*.", parameter);
        }
    }

    private static byte[] Method(string method)
    {
        ArgumentException.ThrowIfNullOrEmpty(method);
        byte[] bytes = Encoding.Latin1.GetBytes(method);
        return bytes.AsSpan().ContainsAnyExcept(HttpText.TokenBytes) || method is "HEAD" or "CONNECT"
            ? throw new ArgumentException($"'{method}' is no method that can be handled; HEAD comes with GET.", nameof(method))
            : bytes;
    }
}

/// <summary>One method of one path; exactly one of the two handlers is there.</summary>
internal sealed record HandlerEntry(byte[] Method, CheetahHandler? Handler, CheetahDeferredHandler? Deferred);
