// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Pipes;
using Exo.Net.Cheetah.Tcp;

namespace Exo.Net.Cheetah.Tests.Tcp;

/// <summary>Which address and port a connection has, on either side.</summary>
public class EndsTests
{
    private static readonly TimeSpan Most = TimeSpan.FromMinutes(5);

    [Fact]
    public void A_port_of_one_address_is_refused_at_the_others()
    {
        using TwoHosts hosts = Hosts();
        hosts.B.Listen(End("10.0.0.2"), new Counting());
        Assert.Equal(TcpCloseReason.Graceful, Ask(hosts, "10.0.0.2"));
        Assert.Equal(TcpCloseReason.Refused, Ask(hosts, "10.0.0.3"));
        Assert.Equal(TcpCloseReason.Refused, Ask(hosts, "fd00::2"));
        hosts.B.StopListening(80);   // of every address, which nobody asked for
        Assert.Equal(TcpCloseReason.Graceful, Ask(hosts, "10.0.0.2"));
        hosts.B.StopListening(End("10.0.0.2"));
        Assert.Equal(TcpCloseReason.Refused, Ask(hosts, "10.0.0.2"));
    }

    [Fact]
    public void The_end_that_says_most_has_the_connection()
    {
        using TwoHosts hosts = Hosts();
        Counting all = new(), v4 = new(), one = new();
        hosts.B.Listen(80, all);
        hosts.B.Listen(End("0.0.0.0"), v4);
        hosts.B.Listen(End("10.0.0.3"), one);
        Assert.Equal([0, 1, 0], Counts("10.0.0.2"));
        Assert.Equal([0, 1, 1], Counts("10.0.0.3"));
        Assert.Equal([1, 1, 1], Counts("fd00::2"));
        hosts.B.StopListening(End("0.0.0.0"));
        Assert.Equal([2, 1, 1], Counts("10.0.0.2"));

        int[] Counts(string address)
        {
            Assert.Equal(TcpCloseReason.Graceful, Ask(hosts, address));
            return [all.Opened, v4.Opened, one.Opened];
        }
    }

    [Fact]
    public void What_cannot_be_listened_on_is_refused()
    {
        using TwoHosts hosts = Hosts();
        hosts.B.Listen(End("10.0.0.2"), new Counting());
        Assert.Throws<InvalidOperationException>(() => hosts.B.Listen(End("10.0.0.2"), new Pattern(0)));
        Assert.Throws<InvalidOperationException>(() => hosts.B.Listen(End("10.0.0.9"), new Pattern(0)));
        Assert.Throws<InvalidOperationException>(() => hosts.B.Listen(End("127.0.0.1"), new Pattern(0)));
        Assert.Throws<ArgumentOutOfRangeException>(() => hosts.B.Listen(new IPEndPoint(IPAddress.Any, 0), new Pattern(0)));
        Assert.Throws<ArgumentOutOfRangeException>(() => hosts.B.Listen(65536, new Pattern(0)));
        Assert.Equal(TcpCloseReason.Graceful, Ask(hosts, "10.0.0.2"));
    }

    [Fact]
    public void A_connection_begins_at_the_end_that_was_chosen()
    {
        using TwoHosts hosts = Hosts();
        hosts.A.Listen(81, new Pattern(0));
        hosts.B.Listen(80, new Pattern(0, closesWhenSent: false) { Checks = false });
        IPEndPoint own = new(IPAddress.Parse("10.0.0.4"), 5000), remote = TwoHosts.ServerV4;
        var client = new Pattern(0);
        TcpConnection connection = hosts.A.Connect(own, remote, client);
        Assert.Equal(own, connection.LocalEndPoint);
        Assert.Throws<InvalidOperationException>(() => hosts.A.Connect(own, remote, new Pattern(0)));
        Assert.Throws<InvalidOperationException>(() => hosts.A.Connect(new IPEndPoint(own.Address, 81), remote, new Pattern(0)));
        Assert.Throws<InvalidOperationException>(() => hosts.A.Connect(new IPEndPoint(IPAddress.Parse("10.0.0.9"), 0), remote, new Pattern(0)));
        Assert.Throws<InvalidOperationException>(() => hosts.A.Connect(own, TwoHosts.ServerV6, new Pattern(0)));

        // The same port to another peer, the address alone, and the port alone.
        Assert.Equal(own, hosts.A.Connect(own, new IPEndPoint(remote.Address, 82), new Pattern(0)).LocalEndPoint);
        Assert.Equal(own.Address, hosts.A.Connect(new IPEndPoint(own.Address, 0), remote, new Pattern(0)).LocalEndPoint.Address);
        Assert.Equal(new IPEndPoint(IPAddress.Parse("10.0.0.1"), 6000), hosts.A.Connect(new IPEndPoint(IPAddress.Any, 6000), remote, new Pattern(0)).LocalEndPoint);
        Assert.True(hosts.Run(() => client.Closed is not null, Most));
        Assert.Equal(TcpCloseReason.Graceful, client.Closed);
        Assert.Throws<InvalidOperationException>(() => hosts.A.Connect(own, remote, new Pattern(0)));   // it waits
        hosts.Pass(TimeSpan.FromMinutes(5));
        hosts.A.Connect(own, remote, new Pattern(0));
    }

    [Fact]
    public async Task Pipes_begin_and_end_where_they_are_told()
    {
        using TwoHosts hosts = Hosts();
        Task<TcpPipeListener> listening = TcpPipeListener.StartAsync(hosts.B, End("10.0.0.3"));
        hosts.B.Poll();
        await using TcpPipeListener listener = await listening;
        Task<TcpPipeConnection> connecting = TcpPipeConnection.ConnectAsync(hosts.A, new IPEndPoint(IPAddress.Parse("10.0.0.4"), 7000), End("10.0.0.3"), TestContext.Current.CancellationToken);
        hosts.Pass(TimeSpan.FromSeconds(1));
        await connecting.WaitAsync(Most, TestContext.Current.CancellationToken);
        TcpPipeConnection accepted = await listener.AcceptAsync(TestContext.Current.CancellationToken);
        Assert.Equal(new IPEndPoint(IPAddress.Parse("10.0.0.4"), 7000), accepted.RemoteEndPoint);
        Assert.Equal(End("10.0.0.3"), accepted.LocalEndPoint);
        Task<TcpPipeListener> nowhere = TcpPipeListener.StartAsync(hosts.B, End("10.0.0.9"));
        hosts.B.Poll();
        await Assert.ThrowsAsync<InvalidOperationException>(() => nowhere);
    }

    private static TwoHosts Hosts() => new(options: options => options with
    {
        Addresses = [.. options.Addresses, InterfaceAddress.Parse(options.Seed < 1000 ? "10.0.0.4/24" : "10.0.0.3/24")],
    });

    private static IPEndPoint End(string address) => new(IPAddress.Parse(address), 80);

    private static TcpCloseReason? Ask(TwoHosts hosts, string address)
    {
        var client = new Pattern(0);
        hosts.A.Connect(End(address), client);
        Assert.True(hosts.Run(() => client.Closed is not null, Most));
        return client.Closed;
    }

    private sealed class Counting : ITcpHandler
    {
        public int Opened { get; private set; }

        public void OnOpened(TcpConnection connection)
        {
            Opened++;
            connection.CloseSend();
        }

        public int OnReceived(TcpConnection connection, ReadOnlySpan<byte> bytes) => bytes.Length;

        public void OnAcknowledged(TcpConnection connection)
        {
        }

        public void OnPeerClosed(TcpConnection connection)
        {
        }

        public void OnClosed(TcpConnection connection, TcpCloseReason reason)
        {
        }
    }
}
