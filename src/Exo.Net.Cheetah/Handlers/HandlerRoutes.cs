// SPDX-License-Identifier: MIT
using System.Collections.Frozen;
using System.Text;
using Exo.Net.Cheetah.Http;

namespace Exo.Net.Cheetah;

/// <summary>Everything that handles one path.</summary>
internal sealed class HandlerRoute
{
    private readonly HandlerEntry[] entries;

    public HandlerRoute(IEnumerable<HandlerEntry> entries)
    {
        this.entries = [.. entries];
        IEnumerable<string> methods = this.entries.Select(entry => Encoding.Latin1.GetString(entry.Method)).SelectMany(method => method == "GET" ? (string[])["GET", "HEAD"] : [method]);
        NotAllowed = PrebuiltHead.Page(405, string.Join(", ", methods));
    }

    /// <summary>The page that says which methods there are.</summary>
    public PrebuiltHead NotAllowed { get; }

    /// <summary>Who handles a method; null: nobody.</summary>
    public HandlerEntry? Find(ReadOnlySpan<byte> method)
    {
        method = method.SequenceEqual("HEAD"u8) ? "GET"u8 : method;
        foreach (HandlerEntry entry in entries)
        {
            if (method.SequenceEqual(entry.Method))
            {
                return entry;
            }
        }

        return null;
    }
}

/// <summary>
/// The handlers of one server, found by path without allocating, and the count of those that are waiting for something: a reactor is not taken apart before the last has come back,
/// because that is where they come back to.
/// </summary>
internal sealed class HandlerRoutes
{
    private readonly FrozenDictionary<byte[], HandlerRoute> whole;
    private readonly FrozenDictionary<byte[], HandlerRoute>.AlternateLookup<ReadOnlySpan<byte>> lookup;
    private readonly (byte[] Beginning, HandlerRoute Route)[] beginnings;   // the longest first
    private readonly TaskCompletionSource idle = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int waitingCount = 1;   // one for the server, which is given up when it stops

    public HandlerRoutes(CheetahHandlers handlers, CancellationToken stopping)
    {
        Stopping = stopping;
        whole = handlers.Entries.Where(pair => !IsBeginning(pair.Key)).ToFrozenDictionary(pair => Encoding.UTF8.GetBytes(pair.Key), pair => new HandlerRoute(pair.Value), PathComparer.Instance);
        lookup = whole.GetAlternateLookup<ReadOnlySpan<byte>>();
        beginnings = [.. handlers.Entries.Where(pair => IsBeginning(pair.Key)).Select(pair => (Encoding.UTF8.GetBytes(pair.Key[..^1]), new HandlerRoute(pair.Value))).OrderByDescending(pair => pair.Item1.Length)];
    }

    /// <summary>There are none.</summary>
    public bool IsEmpty => whole.Count == 0 && beginnings.Length == 0;

    /// <summary>Cancelled when the server stops.</summary>
    public CancellationToken Stopping { get; }

    /// <summary>Whom a decoded path belongs to; null: no handler.</summary>
    public HandlerRoute? Find(ReadOnlySpan<byte> path)
    {
        if (lookup.TryGetValue(path, out HandlerRoute? route))
        {
            return route;
        }

        foreach ((byte[] beginning, HandlerRoute there) in beginnings)
        {
            if (path.StartsWith(beginning))
            {
                return there;
            }
        }

        return null;
    }

    /// <summary>A handler begins to wait.</summary>
    public void BeginWaiting() => Interlocked.Increment(ref waitingCount);

    /// <summary>It has come back, and will not touch its reactor again.</summary>
    public void EndWaiting()
    {
        if (Interlocked.Decrement(ref waitingCount) == 0)
        {
            idle.SetResult();
        }
    }

    /// <summary>Completes when no handler is waiting. To be called once, when no request can come any more.</summary>
    public Task WhenIdleAsync()
    {
        EndWaiting();
        return idle.Task;
    }

    private static bool IsBeginning(string path) => path.EndsWith("/*", StringComparison.Ordinal);
}
