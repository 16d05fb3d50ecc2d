// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Net;
using Exo.Net.Cheetah.Pipes;
using Exo.Net.Cheetah.Tcp;
using Microsoft.AspNetCore.Connections;

namespace Exo.Adapters.Kestrel;

/// <summary>
/// The ports that are listened to. The stack listens on a port at all of its addresses; who asked for which of them is known here, and a connection to an address that nobody asked for is reset.
/// What the stack is to do is posted to it under the lock, hence in the order in which ports come and go.
/// </summary>
internal sealed class PortTable
{
    // RFC 6335 section 6: dynamic ports.
    private const int DynamicFirst = 49152, DynamicCount = 65536 - DynamicFirst;

    private static readonly TcpPipeOptions PipeOptions = new() { Failure = Describe, FlushThrows = false };

    private readonly StackThread stack;
    private readonly MemoryPool<byte> memory;
    private readonly int backlog;
    private readonly Lock gate = new();
    private readonly Dictionary<int, Port> ports = [];

    public PortTable(StackThread stack, MemoryPool<byte> memory, int backlog)
    {
        this.stack = stack;
        this.memory = memory;
        this.backlog = backlog;
        _ = EndWithStackAsync();
    }

    /// <exception cref="AddressInUseException">Another listener wants connections that this one wants.</exception>
    public async ValueTask<ExoConnectionListener> BindAsync(IPEndPoint endPoint)
    {
        ExoConnectionListener listener;
        Port? port;
        lock (gate)
        {
            int number = endPoint.Port != 0 ? endPoint.Port : FindDynamic();
            listener = new ExoConnectionListener(this, new IPEndPoint(endPoint.Address, number), backlog);
            if (!ports.TryGetValue(number, out port))
            {
                port = new Port(TcpPipeListener.StartAsync(stack.Stack, number, backlog, PipeOptions), memory);
                ports.Add(number, port);
            }

            port.Add(listener);
        }

        // A stack that has ended does nothing that is posted to it.
        if (await Task.WhenAny(port.Started, stack.Ended).ConfigureAwait(false) == stack.Ended)
        {
            await stack.Ended.ConfigureAwait(false);
            throw new ObjectDisposedException(nameof(ExoTransportFactory));
        }

        return listener;
    }

    /// <summary>No more connections for the listener.</summary>
    public void Unbind(ExoConnectionListener listener)
    {
        lock (gate)
        {
            int number = listener.IPEndPoint.Port;
            if (ports.TryGetValue(number, out Port? port) && port.Remove(listener) && port.IsEmpty)
            {
                ports.Remove(number);
                port.Stop();
            }
        }
    }

    private static Exception Describe(TcpConnectionException failure) =>
        failure.Reason == TcpCloseReason.Aborted ? new ConnectionAbortedException(failure.Message, failure) : new ConnectionResetException(failure.Message, failure);

    private int FindDynamic()
    {
        int start = Random.Shared.Next(DynamicCount);
        for (int i = 0; i < DynamicCount; i++)
        {
            int number = DynamicFirst + ((start + i) % DynamicCount);
            if (!ports.ContainsKey(number))
            {
                return number;
            }
        }

        throw new AddressInUseException("no dynamic port is free");
    }

    private async Task EndWithStackAsync()
    {
        await stack.Ended.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        lock (gate)
        {
            foreach (Port port in ports.Values)
            {
                port.End(stack.Ended.Exception?.InnerException);
            }
        }
    }
}
