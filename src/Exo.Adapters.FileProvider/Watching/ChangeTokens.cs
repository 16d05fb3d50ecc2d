// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS;
using Microsoft.Extensions.FileProviders;
using Microsoft.Extensions.Primitives;

namespace Exo.Adapters.FileProvider.Watching;

/// <summary>
/// The tokens that have not fired yet, by filter. The volume is watched from the first token on; whoever is told of a change (a pool thread, when there is one) looks through all filters.
/// A token is listed before <see cref="Get"/> returns and changes are told in their order, so no change after that is missed. Callbacks run on the pool, never under the lock.
/// </summary>
internal sealed class ChangeTokens(ProvidedTree tree, int capacity) : IDisposable
{
    private readonly Lock gate = new();
    private readonly Dictionary<string, Pending> pending = new(StringComparer.Ordinal);
    private CffsWatch? watch;
    private bool isDisposed;

    public IChangeToken Get(string filter)
    {
        bool isTree = filter.EndsWith('/');
        if (tree.Normalize(filter) is not { } path || (path.Length == 0 && !isTree))
        {
            return NullChangeToken.Singleton;
        }

        string key = isTree ? path + "/" : path;
        lock (gate)
        {
            ObjectDisposedException.ThrowIf(isDisposed, typeof(CffsFileProvider));
            if (!pending.TryGetValue(key, out Pending? found))
            {
                found = new Pending(new ChangeFilter(path, isTree), new CancellationTokenSource());
                pending.Add(key, found);
            }

            if (watch is null)
            {
                watch = tree.Watch(capacity);
                _ = DispatchAsync(watch);
            }

            return new CancellationChangeToken(found.Fired.Token);
        }
    }

    public void Dispose()
    {
        CffsWatch? ending;
        lock (gate)
        {
            isDisposed = true;
            ending = watch;
            pending.Clear();
        }

        ending?.Dispose();
    }

    private async Task DispatchAsync(CffsWatch source)
    {
        await foreach (CffsChange change in source.ReadAllAsync().ConfigureAwait(false))
        {
            List<Pending> firing = [];
            lock (gate)
            {
                foreach ((string key, Pending token) in pending)
                {
                    if (token.Filter.Concerns(change))
                    {
                        firing.Add(token);
                        pending.Remove(key);
                    }
                }
            }

            foreach (Pending token in firing)
            {
                _ = token.Fired.CancelAsync();
            }
        }
    }

    private sealed record Pending(ChangeFilter Filter, CancellationTokenSource Fired);
}
