// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Net;
using Exo.Net.Cheetah;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Exo.Adapters.Kestrel;

/// <summary>
/// Listens for Kestrel on a network stack of its own. <see cref="Microsoft.AspNetCore.Hosting.WebHostBuilderExoExtensions.UseExoTransport"/> makes one; other hosts of <see cref="IConnectionListenerFactory"/> can use it as it is.
/// The stack runs on one thread, which begins with the first endpoint and ends when this is disposed.
/// </summary>
public sealed class ExoTransportFactory : IConnectionListenerFactory, IConnectionListenerFactorySelector, IAsyncDisposable
{
    private readonly ExoTransportOptions options;
    private readonly ILogger logger;
    private readonly MemoryPool<byte> memory;
    private readonly IPAddress[] addresses;
    private readonly Lock gate = new();
    private StackThread? stack;
    private PortTable? ports;
    private bool isDisposed;

    /// <summary>Takes the settings; nothing begins yet.</summary>
    /// <exception cref="InvalidOperationException">No device or no address is named.</exception>
    public ExoTransportFactory(IOptions<ExoTransportOptions> options, IMemoryPoolFactory<byte> memory, ILoggerFactory loggers)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(memory);
        ArgumentNullException.ThrowIfNull(loggers);
        this.options = options.Value;
        if (this.options.Device is null || this.options.Network is not { Addresses.Count: > 0 } network)
        {
            throw new InvalidOperationException($"{nameof(ExoTransportOptions)} needs a {nameof(ExoTransportOptions.Device)} and the addresses of a {nameof(ExoTransportOptions.Network)}.");
        }

        ArgumentOutOfRangeException.ThrowIfLessThan(this.options.Backlog, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(this.options.LingerTime, TimeSpan.Zero);
        logger = loggers.CreateLogger<ExoTransportFactory>();
        this.memory = memory.Create();
        addresses = [.. network.Addresses.Select(own => own.Address.ToIPAddress())];
    }

    /// <summary>True for any address of a family that the stack has, and for the stack's own addresses.</summary>
    public bool CanBind(EndPoint endpoint) => endpoint is IPEndPoint ip && (ip.Address.Equals(IPAddress.IPv6Any) || addresses.Any(own =>
        own.Equals(ip.Address) || (ip.Address.Equals(IPAddress.Any) && own.AddressFamily == ip.AddressFamily)));

    /// <summary>Begins to listen. Port 0 stands for one that is free; <see cref="IPAddress.IPv6Any"/> for all addresses of both families.</summary>
    /// <exception cref="AddressInUseException">Another endpoint has the port at that address.</exception>
    /// <exception cref="NotSupportedException">See <see cref="CanBind"/>.</exception>
    public async ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
    {
        if (!CanBind(endpoint))
        {
            throw new NotSupportedException($"{endpoint} is none of the addresses of {options.Device!.Name}: {string.Join(", ", (object[])addresses)}");
        }

        PortTable table;
        lock (gate)
        {
            ObjectDisposedException.ThrowIf(isDisposed, this);
            stack ??= new StackThread(options.Device!, options.Network!, options.LingerTime, logger);
            table = ports ??= new PortTable(stack, memory, options.Backlog);
        }

        return await table.BindAsync((IPEndPoint)endpoint).ConfigureAwait(false);
    }

    /// <summary>Ends the stack; connections that are open are reset after <see cref="ExoTransportOptions.LingerTime"/>.</summary>
    public async ValueTask DisposeAsync()
    {
        StackThread? ending;
        lock (gate)
        {
            ending = isDisposed ? null : stack;
            isDisposed = true;
        }

        if (ending is not null)
        {
            await ending.DisposeAsync().ConfigureAwait(false);
        }

        memory.Dispose();
    }
}
