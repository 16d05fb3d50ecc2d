// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using Exo.Net.Cheetah.Pipes;
using Microsoft.AspNetCore.Connections;

namespace Exo.Adapters.Kestrel;

/// <summary>A port that the stack listens on, and the listeners between whom its connections are divided by the address they came to. No two of them want the same one.</summary>
internal sealed class Port
{
    private readonly MemoryPool<byte> memory;
    private readonly Task<TcpPipeListener> starting;
    private volatile ExoConnectionListener[] listeners = [];

    public Port(Task<TcpPipeListener> starting, MemoryPool<byte> memory)
    {
        this.starting = starting;
        this.memory = memory;
        _ = DispatchAsync();
    }

    /// <summary>Completes when connections are taken.</summary>
    public Task Started => starting;

    public bool IsEmpty => listeners.Length == 0;

    /// <exception cref="AddressInUseException">Another listener wants connections that this one wants.</exception>
    public void Add(ExoConnectionListener listener)
    {
        IPAddress address = listener.IPEndPoint.Address;
        if (Array.Find(listeners, other => Covers(other.IPEndPoint.Address, address) || Covers(address, other.IPEndPoint.Address)) is { } other)
        {
            throw new AddressInUseException($"{other.IPEndPoint} is listened to already");
        }

        listeners = [.. listeners, listener];
    }

    public bool Remove(ExoConnectionListener listener)
    {
        int count = listeners.Length;
        listeners = [.. listeners.Where(other => other != listener)];
        return listeners.Length < count;
    }

    /// <summary>Takes no more connections. Whoever stops has had a listener, so it has started.</summary>
    public void Stop() => _ = starting.Result.DisposeAsync().AsTask();

    /// <summary>The stack has ended: nobody accepts anything any more.</summary>
    public void End(Exception? failure) => Array.ForEach(listeners, listener => listener.End(failure));

    // Gives each connection to its listener.
    private async Task DispatchAsync()
    {
        try
        {
            TcpPipeListener listening = await starting.ConfigureAwait(false);
            while (true)
            {
                TcpPipeConnection pipes = await listening.AcceptAsync().ConfigureAwait(false);
                if (Array.Find(listeners, listener => Covers(listener.IPEndPoint.Address, pipes.LocalEndPoint.Address)) is not { } wanted || !wanted.TryOffer(new ExoConnection(pipes, memory)))
                {
                    pipes.Abort();
                }
            }
        }
        catch (ChannelClosedException)
        {
            // Stopped.
        }
    }

    private static bool Covers(IPAddress bound, IPAddress address) =>
        bound.Equals(IPAddress.IPv6Any) || bound.Equals(address) || (bound.Equals(IPAddress.Any) && address.AddressFamily == AddressFamily.InterNetwork);
}
