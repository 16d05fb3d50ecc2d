// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Tcp;
using Exo.Simulation.Net;

namespace Exo.Net.Cheetah.Tests.Tcp;

/// <summary>A path that swallowed large packets is found to take them again, by a connection that lives on (RFC 4821). What each segment is, is in <c>Scripts/push</c>.</summary>
public class PathSearchTests
{
    [Theory]
    [InlineData(false, true)]
    [InlineData(true, true)]
    [InlineData(false, false)]
    public void A_path_that_grows_is_found_out_and_nothing_is_sent_again(bool isV6, bool superPackets)
    {
        using var hosts = new TwoHosts(1, new SimulatedDeviceOptions { Segmentation = superPackets });
        hosts.Wire.Impairments = new WireImpairments { PathMtuBytes = 1300, Delay = TimeSpan.FromMilliseconds(5) };
        var service = new Pattern(0, closesWhenSent: false);
        var sender = new Stream();
        hosts.B.Listen(80, service);
        TcpConnection c = hosts.A.Connect(isV6 ? TwoHosts.ServerV6 : TwoHosts.ServerV4, sender);
        Assert.True(hosts.Run(() => c.State == TcpState.Established, TimeSpan.FromMinutes(1)));
        Send(hosts, c, service, 400_000);
        Assert.Equal(1280, c.PathMtuBytes);

        // It stays small: each ten minutes a larger segment is lost, and nothing but that is sent again; the window is not reduced.
        TcpCounters counters = hosts.A.Tcp.Counters;
        (long timeouts, long recoveries, long resent) = (counters.Timeouts, counters.Recoveries, counters.BytesResent);
        for (int i = 1; i <= 3; i++)
        {
            hosts.Pass(TimeSpan.FromMinutes(11));
            Send(hosts, c, service, 400_000);
            Assert.Equal((i, 0L, 1280), (counters.PathMtuProbes, counters.PathMtuRaises, c.PathMtuBytes));
            Assert.Equal((timeouts, recoveries), (counters.Timeouts, counters.Recoveries));
            Assert.InRange(counters.BytesResent - resent, i * 1300, i * 1400);
        }

        hosts.Wire.Impairments = new WireImpairments { Delay = TimeSpan.FromMilliseconds(5) };
        resent = counters.BytesResent;
        Send(hosts, c, service, 400_000);
        Assert.Equal((3, 1280), (counters.PathMtuProbes, c.PathMtuBytes));   // not before the time
        hosts.Pass(TimeSpan.FromMinutes(11));
        Send(hosts, c, service, 400_000);
        Assert.Equal((6, 3L, 1500), (counters.PathMtuProbes, counters.PathMtuRaises, c.PathMtuBytes));
        Send(hosts, c, service, 400_000);
        hosts.Pass(TimeSpan.FromMinutes(11));
        Send(hosts, c, service, 400_000);
        Assert.Equal((6, timeouts, recoveries, resent), (counters.PathMtuProbes, counters.Timeouts, counters.Recoveries, counters.BytesResent));
    }

    // A larger segment may be lost among others, sent again, overtaken and doubled like any.
    [Fact]
    public void Every_byte_arrives_while_larger_segments_are_tried_on_a_bad_wire()
    {
        for (int seed = 1; seed <= 12; seed++)
        {
            using var hosts = new TwoHosts(seed, options: options => options with { PathMtuRetry = TimeSpan.FromMilliseconds(50 * seed) });
            WireImpairments bad = new() { Loss = 0.02, Reordering = 0.02, Duplication = 0.02, Delay = TimeSpan.FromMilliseconds(5) };
            var random = new Random(seed);
            var client = new Pattern(1_500_000);
            var service = new Pattern(1_500_000);
            hosts.B.Listen(80, service);
            TcpConnection c = hosts.A.Connect(seed % 2 == 0 ? TwoHosts.ServerV4 : TwoHosts.ServerV6, client);
            int[] sizes = [1500, 1300, 1450, 1400, 1290];
            for (int i = 0; (client.Closed is null || service.Closed is null) && i < 100; i++)
            {
                hosts.Wire.Impairments = i < 20 ? bad with { PathMtuBytes = sizes[random.Next(sizes.Length)] } : bad;
                hosts.Run(() => client.Closed is not null && service.Closed is not null, TimeSpan.FromSeconds(i < 20 ? 5 : 600));
            }

            string what = $"seed {seed}: {client.Received} and {service.Received} bytes, {c.State}, {hosts.A.Tcp.Counters.PathMtuProbes} probes";
            Assert.True(client.Closed == TcpCloseReason.Graceful && service.Closed == TcpCloseReason.Graceful, what);
            Assert.Equal((1_500_000, 1_500_000), (client.Received, service.Received));
            TestContext.Current.TestOutputHelper!.WriteLine($"{what}, {hosts.A.Tcp.Counters.PathMtuRaises} raises");
        }
    }

    private static void Send(TwoHosts hosts, TcpConnection c, Pattern service, int bytes)
    {
        long until = service.Received + bytes;
        byte[] pattern = new byte[bytes];
        for (int i = 0; i < bytes; i++)
        {
            pattern[i] = Pattern.At(service.Received + i);
        }

        Assert.True(c.TrySend(pattern));
        Assert.True(hosts.Run(() => service.Received == until && c.QueuedBytes == 0, TimeSpan.FromMinutes(2)));
    }

    private sealed class Stream : ITcpHandler
    {
        public void OnOpened(TcpConnection connection)
        {
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
