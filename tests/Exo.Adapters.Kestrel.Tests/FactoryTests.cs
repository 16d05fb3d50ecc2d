// SPDX-License-Identifier: MIT
using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using Exo.Core.Net;
using Exo.Net.Cheetah;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace Exo.Adapters.Kestrel.Tests;

/// <summary>The transport without Kestrel: what its interfaces promise.</summary>
public sealed class FactoryTests
{
    private static readonly IPEndPoint Server = new(IPAddress.Parse("10.9.0.2"), 80);

    [Fact]
    public async Task A_connection_has_its_features()
    {
        await using WireNetwork network = new();
        await using ExoTransportFactory factory = Create(network);
        await using IConnectionListener listener = await factory.BindAsync(Server);
        Assert.Equal(Server, listener.EndPoint);
        await using ClientStream client = await network.ConnectAsync(Server, default);
        ConnectionContext connection = (await listener.AcceptAsync())!;
        Assert.Equal(Server, connection.LocalEndPoint);
        Assert.Equal(IPAddress.Parse("10.9.0.1"), ((IPEndPoint)connection.RemoteEndPoint!).Address);
        Assert.Equal(connection.ConnectionId, connection.Features.Get<IConnectionIdFeature>()!.ConnectionId);
        Assert.Same(connection.Transport, connection.Features.Get<IConnectionTransportFeature>()!.Transport);
        Assert.Same(connection.Items, connection.Features.Get<IConnectionItemsFeature>()!.Items);
        Assert.Equal(connection.RemoteEndPoint, connection.Features.Get<IConnectionEndPointFeature>()!.RemoteEndPoint);
        using (IMemoryOwner<byte> memory = connection.Features.Get<IMemoryPoolFeature>()!.MemoryPool.Rent(1000))
        {
            Assert.True(memory.Memory.Length >= 1000);
        }

        await using ClientStream another = await network.ConnectAsync(Server, default);
        ConnectionContext next = (await listener.AcceptAsync())!;
        Assert.NotEqual(connection.ConnectionId, next.ConnectionId);
        await next.DisposeAsync();
        await connection.DisposeAsync();
    }

    [Fact]
    public async Task An_abort_ends_reads_with_its_reason_and_flushes_without_one()
    {
        await using WireNetwork network = new();
        await using ExoTransportFactory factory = Create(network);
        await using IConnectionListener listener = await factory.BindAsync(Server);
        await using ClientStream client = await network.ConnectAsync(Server, default);
        ConnectionContext connection = (await listener.AcceptAsync())!;
        ValueTask<ReadResult> reading = connection.Transport.Input.ReadAsync();
        ConnectionAbortedException reason = new("enough");
        connection.Features.Get<IConnectionLifetimeFeature>()!.Abort();
        connection.Abort(reason);
        await Assert.ThrowsAsync<ConnectionAbortedException>(async () => await reading);
        await WaitAsync(connection.ConnectionClosed);
        while (!(await connection.Transport.Output.WriteAsync(new byte[1])).IsCompleted)
        {
        }

        await Assert.ThrowsAnyAsync<IOException>(async () => await client.ReadExactlyAsync(new byte[1]));
        await connection.DisposeAsync();
    }

    [Fact]
    public async Task A_reset_of_the_peer_ends_reads_with_a_reset()
    {
        await using WireNetwork network = new();
        await using ExoTransportFactory factory = Create(network);
        await using IConnectionListener listener = await factory.BindAsync(Server);
        await using ClientStream client = await network.ConnectAsync(Server, default);
        ConnectionContext connection = (await listener.AcceptAsync())!;
        client.Reset();
        await Assert.ThrowsAsync<ConnectionResetException>(async () => await connection.Transport.Input.ReadAsync());
        await WaitAsync(connection.ConnectionClosed);
        await connection.DisposeAsync();
    }

    [Fact]
    public async Task The_peers_last_byte_closes_and_what_is_written_after_it_arrives()
    {
        await using WireNetwork network = new();
        await using ExoTransportFactory factory = Create(network);
        await using IConnectionListener listener = await factory.BindAsync(Server);
        ClientStream client = await network.ConnectAsync(Server, default);
        ConnectionContext connection = (await listener.AcceptAsync())!;
        Assert.False(connection.ConnectionClosed.IsCancellationRequested);
        await client.WriteAsync(new byte[10]);

        // Whoever reads no more may still write.
        ReadResult result = await connection.Transport.Input.ReadAtLeastAsync(10);
        connection.Transport.Input.AdvanceTo(result.Buffer.End);
        await connection.Transport.Input.CompleteAsync();
        await client.WriteAsync(new byte[2_000_000]);   // thrown away, and the client is not held up
        byte[] answer = new byte[1_000_000];
        new Random(1).NextBytes(answer);
        Task writing = Task.Run(async () =>
        {
            await connection.Transport.Output.WriteAsync(answer);
            await connection.DisposeAsync();
        });
        byte[] received = new byte[answer.Length];
        await client.ReadExactlyAsync(received);
        Assert.Equal(answer, received);
        await writing;
        Assert.Equal(0, await client.ReadAsync(received));
        await client.DisposeAsync();
        await WaitAsync(connection.ConnectionClosed);
    }

    [Fact]
    public async Task After_unbinding_nothing_is_accepted_and_the_port_is_free()
    {
        await using WireNetwork network = new();
        await using ExoTransportFactory factory = Create(network);
        IConnectionListener listener = await factory.BindAsync(Server);
        ValueTask<ConnectionContext?> accepting = listener.AcceptAsync();
        await listener.UnbindAsync();
        Assert.Null(await accepting);
        Assert.Null(await listener.AcceptAsync());
        await Assert.ThrowsAnyAsync<IOException>(() => network.ConnectAsync(Server, default));
        await listener.DisposeAsync();
        await using IConnectionListener again = await factory.BindAsync(Server);
        await using ClientStream client = await network.ConnectAsync(Server, default);
        await (await again.AcceptAsync())!.DisposeAsync();
    }

    [Fact]
    public async Task Unbinding_leaves_what_was_accepted_and_resets_what_was_not()
    {
        await using WireNetwork network = new();
        await using ExoTransportFactory factory = Create(network);
        IConnectionListener listener = await factory.BindAsync(Server);
        await using ClientStream first = await network.ConnectAsync(Server, default);
        ConnectionContext accepted = (await listener.AcceptAsync())!;
        await using ClientStream second = await network.ConnectAsync(Server, default);
        await listener.UnbindAsync();
        await Assert.ThrowsAnyAsync<IOException>(async () => await second.ReadExactlyAsync(new byte[1]));
        await accepted.Transport.Output.WriteAsync("still here"u8.ToArray());
        await first.ReadExactlyAsync(new byte[10]);
        await accepted.DisposeAsync();
    }

    [Fact]
    public async Task Waiting_for_a_connection_can_be_cancelled()
    {
        await using WireNetwork network = new();
        await using ExoTransportFactory factory = Create(network);
        await using IConnectionListener listener = await factory.BindAsync(Server);
        using CancellationTokenSource cancelled = new();
        ValueTask<ConnectionContext?> accepting = listener.AcceptAsync(cancelled.Token);
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await accepting);
    }

    [Fact]
    public async Task Addresses_of_one_port_have_listeners_of_their_own()
    {
        await using WireNetwork network = new();
        await using ExoTransportFactory factory = Create(network);
        IPEndPoint other = new(IPAddress.Parse("10.9.0.3"), 80), six = new(IPAddress.Parse("fd09::2"), 80);
        await using IConnectionListener first = await factory.BindAsync(Server);
        await using IConnectionListener second = await factory.BindAsync(six);
        await Assert.ThrowsAsync<AddressInUseException>(async () => await factory.BindAsync(Server));
        await Assert.ThrowsAsync<AddressInUseException>(async () => await factory.BindAsync(new IPEndPoint(IPAddress.Any, 80)));
        await Assert.ThrowsAsync<AddressInUseException>(async () => await factory.BindAsync(new IPEndPoint(IPAddress.IPv6Any, 80)));

        await using ClientStream toSix = await network.ConnectAsync(six, default);
        ConnectionContext connection = (await second.AcceptAsync())!;
        Assert.Equal(six, connection.LocalEndPoint);
        await connection.DisposeAsync();
        await using ClientStream toOther = await network.ConnectAsync(other, default);
        await Assert.ThrowsAnyAsync<IOException>(async () => await toOther.ReadExactlyAsync(new byte[1]));
    }

    [Fact]
    public async Task A_free_port_is_found()
    {
        await using WireNetwork network = new();
        await using ExoTransportFactory factory = Create(network);
        await using IConnectionListener first = await factory.BindAsync(new IPEndPoint(IPAddress.Any, 0)), second = await factory.BindAsync(new IPEndPoint(IPAddress.Any, 0));
        IPEndPoint found = (IPEndPoint)second.EndPoint;
        Assert.InRange(found.Port, 49152, 65535);
        Assert.NotEqual(((IPEndPoint)first.EndPoint).Port, found.Port);
        await using ClientStream client = await network.ConnectAsync(new IPEndPoint(Server.Address, found.Port), default);
        await (await second.AcceptAsync())!.DisposeAsync();
    }

    [Theory]
    [InlineData("10.9.0.2", true)]
    [InlineData("0.0.0.0", true)]
    [InlineData("::", true)]
    [InlineData("fd09::2", true)]
    [InlineData("127.0.0.1", false)]
    [InlineData("::1", false)]
    [InlineData("10.9.0.1", false)]
    public async Task Only_own_addresses_are_bound(string address, bool isOwn)
    {
        await using WireNetwork network = new();
        await using ExoTransportFactory factory = Create(network);
        IPEndPoint endPoint = new(IPAddress.Parse(address), 80);
        Assert.Equal(isOwn, factory.CanBind(endPoint));
        Assert.False(factory.CanBind(new UnixDomainSocketEndPoint("/run/socket")));
        if (!isOwn)
        {
            await Assert.ThrowsAsync<NotSupportedException>(async () => await factory.BindAsync(endPoint));
        }
    }

    [Fact]
    public async Task Disposing_ends_everything_that_is_left()
    {
        await using WireNetwork network = new();
        ExoTransportFactory factory = Create(network, linger: TimeSpan.Zero);
        IConnectionListener listener = await factory.BindAsync(Server);
        await using ClientStream client = await network.ConnectAsync(Server, default);
        ConnectionContext connection = (await listener.AcceptAsync())!;
        await factory.DisposeAsync();
        await factory.DisposeAsync();
        await WaitAsync(connection.ConnectionClosed);
        Assert.Null(await listener.AcceptAsync());
        await Assert.ThrowsAsync<ObjectDisposedException>(async () => await factory.BindAsync(Server));
        await connection.DisposeAsync();
        await listener.DisposeAsync();
    }

    [Fact]
    public async Task A_device_that_goes_ends_listeners_and_connections_and_nothing_else()
    {
        await using WireNetwork network = new();
        UnpluggedDevice device = new(network.Device);
        network.Device = device;
        await using ExoTransportFactory factory = Create(network);
        await using IConnectionListener listener = await factory.BindAsync(Server);
        await using ClientStream client = await network.ConnectAsync(Server, default);
        ConnectionContext connection = (await listener.AcceptAsync())!;
        ValueTask<ConnectionContext?> accepting = listener.AcceptAsync();
        device.Unplug();
        Assert.Equal(19, (await Assert.ThrowsAsync<NetworkDeviceException>(async () => await accepting)).Errno);
        await WaitAsync(connection.ConnectionClosed);
        await Assert.ThrowsAsync<NetworkDeviceException>(async () => await factory.BindAsync(new IPEndPoint(IPAddress.Any, 0)));
        await connection.DisposeAsync();
        client.Reset();
    }

    [Fact]
    public void Settings_are_checked()
    {
        Assert.Throws<InvalidOperationException>(() => new ExoTransportFactory(Options.Create(new ExoTransportOptions()), Pool(), NullLoggerFactory.Instance));
    }

    [Fact]
    public async Task Localhost_stays_with_the_kernels_sockets()
    {
        await using WireNetwork network = new();
        await using TestApplication server = await TestApplication.StartAsync(network, app => app.MapGet("/", () => "hello"), kestrel =>
        {
            kestrel.Listen(IPAddress.Loopback, 0);
            kestrel.Listen(Server);
        });
        string local = server.Application.Urls.Single(url => url.Contains("127.0.0.1", StringComparison.Ordinal));
        using HttpClient kernel = new();
        Assert.Equal("hello", await kernel.GetStringAsync(local));
        using HttpClient raw = server.Client();
        Assert.Equal("hello", await raw.GetStringAsync("http://10.9.0.2/"));
    }

    [Fact]
    public async Task A_port_in_use_stops_the_start()
    {
        await using WireNetwork network = new();
        IOException failure = await Assert.ThrowsAnyAsync<IOException>(() => TestApplication.StartAsync(network, _ => { }, kestrel =>
        {
            kestrel.Listen(Server);
            kestrel.Listen(IPAddress.Any, 80);
        }));
        Assert.Contains("in use", failure.Message, StringComparison.Ordinal);
    }

    private static IMemoryPoolFactory<byte> Pool()
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        return builder.Build().Services.GetRequiredService<IMemoryPoolFactory<byte>>();
    }

    private static ExoTransportFactory Create(WireNetwork network, TimeSpan? linger = null) => new(
        Options.Create(new ExoTransportOptions { Device = network.Device, Network = network.Options, LingerTime = linger ?? TimeSpan.FromSeconds(1) }), Pool(), NullLoggerFactory.Instance);

    private static async Task WaitAsync(CancellationToken cancelled)
    {
        TaskCompletionSource source = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await using CancellationTokenRegistration registration = cancelled.Register(source.SetResult);
        await source.Task;
    }
}
