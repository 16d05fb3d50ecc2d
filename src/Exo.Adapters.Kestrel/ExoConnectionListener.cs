// SPDX-License-Identifier: MIT
using System.Net;
using System.Threading.Channels;
using Microsoft.AspNetCore.Connections;

namespace Exo.Adapters.Kestrel;

/// <summary>One endpoint of Kestrel: connections that wait to be accepted.</summary>
internal sealed class ExoConnectionListener(PortTable ports, IPEndPoint endPoint, int backlog) : IConnectionListener
{
    private readonly Channel<ExoConnection> waiting = Channel.CreateBounded<ExoConnection>(backlog);

    public EndPoint EndPoint => endPoint;

    public IPEndPoint IPEndPoint => endPoint;

    public bool TryOffer(ExoConnection connection) => waiting.Writer.TryWrite(connection);

    /// <summary>The next connection; null after <see cref="UnbindAsync"/>.</summary>
    public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
    {
        while (await waiting.Reader.WaitToReadAsync(cancellationToken).ConfigureAwait(false))
        {
            if (waiting.Reader.TryRead(out ExoConnection? connection))
            {
                return connection;
            }
        }

        return null;
    }

    /// <summary>Listens no more. Connections that were accepted stay; the others are reset.</summary>
    public ValueTask UnbindAsync(CancellationToken cancellationToken = default)
    {
        ports.Unbind(this);
        End(null);
        return ValueTask.CompletedTask;
    }

    public ValueTask DisposeAsync() => UnbindAsync();

    public void End(Exception? failure)
    {
        waiting.Writer.TryComplete(failure);
        while (waiting.Reader.TryRead(out ExoConnection? left))
        {
            left.Abort();
        }
    }
}
