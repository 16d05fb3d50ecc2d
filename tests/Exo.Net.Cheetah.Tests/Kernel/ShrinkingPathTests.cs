// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using Exo.Core.Net;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tests.Tcp;

namespace Exo.Net.Cheetah.Tests.Kernel;

/// <summary>Through gateways to the kernel's TCP, while a link in the middle takes smaller and smaller packets: every byte arrives both ways.</summary>
public class ShrinkingPathTests
{
    private static NetworkStackOptions Options => Polled.Options with { GatewayV4 = IPAddress.Parse("10.9.0.1"), GatewayV6 = IPAddress.Parse("fd09::1") };

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public void Routers_say_how_large_packets_may_be(bool isV6, bool kernelAccepts)
    {
        using var network = new RoutedNetwork();
        Transfer(network, network.Device, isV6, kernelAccepts, 6 << 20, isV6 ? [1400, 1300, 1280] : [1400, 1000, 600], network.ShrinkMiddle, connection =>
        {
            Assert.Equal(isV6 ? 1280 : 600, connection.PathMtuBytes);
            Assert.InRange(connection.Tcp.Counters.PathMtuReductions, 3, 3);
        });
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Large_packets_vanish_without_a_word_and_smaller_ones_are_tried(bool isV6)
    {
        using var network = new RoutedNetwork();

        // A link passes super-packets whatever its MTU; so they are not sent.
        using var device = new ImpairedDevice(network.Device, 1, default);
        Transfer(network, device, isV6, kernelAccepts: false, 2 << 20, [1300], network.ShrinkMiddleSilently, connection => Assert.Equal(1280, connection.PathMtuBytes));
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public void A_path_that_grows_is_found_out(bool isV6, bool saysNothing)
    {
        using var network = new RoutedNetwork();
        using var device = new ImpairedDevice(network.Device, 1, default);
        Action<int> shrink = saysNothing ? network.ShrinkMiddleSilently : network.ShrinkMiddle;

        // Tried all the time, so that it does not matter how long a part takes.
        Transfer(
            network, device, isV6, kernelAccepts: false, 6 << 20, [1300, 1500],
            mtu => (mtu == 1500 ? network.ShrinkMiddle : shrink)(mtu),
            connection =>
            {
                TcpCounters counters = connection.Tcp.Counters;
                TestContext.Current.TestOutputHelper!.WriteLine($"{counters.PathMtuProbes} probes, {counters.PathMtuRaises} raises, {counters.PathMtuReductions} reductions");
                Assert.Equal(1500, connection.PathMtuBytes);
                Assert.True(counters.PathMtuRaises > 0);
            },
            Options with { PathMtuRetry = TimeSpan.FromMilliseconds(1) });
    }

    private static void Transfer(
        RoutedNetwork network, NetworkDevice device, bool isV6, bool kernelAccepts, long bytes, int[] mtus, Action<int> shrink, Action<TcpConnection> check,
        NetworkStackOptions? options = null)
    {
        IPAddress kernelAt = IPAddress.Parse(isV6 ? "fd07::2" : "10.7.0.2"), ownAt = IPAddress.Parse(isV6 ? "fd09::2" : "10.9.0.2");
        var own = new Pattern(bytes);
        using Socket socket = network.Kernel.In(() => new Socket(kernelAt.AddressFamily, SocketType.Stream, ProtocolType.Tcp));
        socket.ReceiveBufferSize = 1 << 18;   // so that much is still to be sent when a part has come
        using Polled polled = Polled.Meet(device, own, socket, kernelAt, ownAt, kernelAccepts, options ?? Options, out Socket peer);
        using Socket meeting = peer;

        // Each time a part has come to the kernel, the link shrinks.
        long part = bytes / (mtus.Length + 1);
        KernelTests.Exchange(peer, bytes, received =>
        {
            int next = (int)(received / part) - 1;
            if (next >= 0 && next < mtus.Length && mtus[next] != 0)
            {
                shrink(mtus[next]);
                mtus[next] = 0;
            }
        });
        Assert.True(SpinWait.SpinUntil(() => own.Closed is not null, TimeSpan.FromSeconds(60)));
        Assert.Equal((bytes, TcpCloseReason.Graceful), (own.Received, own.Closed));
        Assert.All(mtus, mtu => Assert.Equal(0, mtu));
        check(own.Connection!);
    }
}
