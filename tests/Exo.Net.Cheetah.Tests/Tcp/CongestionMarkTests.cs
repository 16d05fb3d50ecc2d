// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Net.Cheetah.Tcp;
using Exo.Simulation.Net;

namespace Exo.Net.Cheetah.Tests.Tcp;

/// <summary>Two stacks of ours on a wire that marks (RFC 3168). What each segment says is in <c>Scripts/</c>.</summary>
public class CongestionMarkTests
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Where_a_queue_marks_nothing_is_lost_and_the_line_stays_busy(bool isV6)
    {
        // 100 Mbit/s, 20 ms there and back: 250 kB are under way, the queue takes as much again, and marks from 60 kB on.
        using var hosts = new TwoHosts(1, options: options => options with { Ecn = EcnUse.Ask, ReceiveWindowBytes = 4 << 20 });
        hosts.Wire.Impairments = new WireImpairments { BitsPerSecond = 100_000_000, QueueBytes = 250_000, MarkingQueueBytes = 60_000, Delay = TimeSpan.FromMilliseconds(10) };
        const long Bytes = 40 << 20;
        var client = new Pattern(Bytes);
        var service = new Pattern(0, closesWhenSent: false);
        hosts.B.Listen(80, service);
        hosts.A.Connect(isV6 ? TwoHosts.ServerV6 : TwoHosts.ServerV4, client);
        Assert.True(hosts.Run(() => service.Received > 4 << 20, TimeSpan.FromMinutes(1)));
        TcpCounters counters = hosts.A.Tcp.Counters;
        (long recoveries, long resent) = (counters.Recoveries, counters.BytesResent);
        TimeSpan begin = hosts.Time.Elapsed;
        Assert.True(hosts.Run(() => service.Received == Bytes, TimeSpan.FromMinutes(1)));
        double part = (Bytes - (4 << 20)) * 8 / (hosts.Time.Elapsed - begin).TotalSeconds / 100_000_000;
        TestContext.Current.TestOutputHelper!.WriteLine(
            string.Create(CultureInfo.InvariantCulture, $"{part:p1} of the line, {counters.MarkReductions} reductions, {hosts.Wire.Counters.Marked} marks, {recoveries} recoveries before the first measurement"));
        Assert.Equal((1, 1), (counters.EcnConnections, hosts.B.Tcp.Counters.EcnConnections));
        Assert.Equal((recoveries, resent, 0), (counters.Recoveries, counters.BytesResent, counters.Timeouts));
        Assert.Equal(hosts.Wire.Counters.Marked, hosts.B.Tcp.Counters.CongestionMarks);
        Assert.InRange(counters.MarkReductions, 2, hosts.Wire.Counters.Marked);
        Assert.True(part > 0.85, $"{part} of the line");
    }

    [Theory]
    [InlineData(EcnUse.Never, EcnUse.Ask)]
    [InlineData(EcnUse.Ask, EcnUse.Never)]
    [InlineData(EcnUse.WhenAsked, EcnUse.WhenAsked)]
    public void Unless_both_know_it_nothing_may_be_marked(EcnUse client, EcnUse server)
    {
        var uses = new Queue<EcnUse>([client, server]);
        using var hosts = new TwoHosts(1, options: options => options with { Ecn = uses.Dequeue() });
        hosts.Wire.Impairments = new WireImpairments { Marking = 1, Delay = TimeSpan.FromMilliseconds(1) };
        var sender = new Pattern(300_000);
        var service = new Pattern(300_000);
        hosts.B.Listen(80, service);
        hosts.A.Connect(TwoHosts.ServerV4, sender);
        Assert.True(hosts.Run(() => sender.Closed is not null && service.Closed is not null, TimeSpan.FromMinutes(1)));
        Assert.Equal(0, hosts.Wire.Counters.Marked);
        Assert.Equal((0, 0), (hosts.A.Tcp.Counters.EcnConnections, hosts.B.Tcp.Counters.EcnConnections));
    }

    // Marks of every packet, or of some, with whatever else the wire does: every byte arrives, and marks alone let nothing be sent again.
    [Theory]
    [InlineData(1.0, 0.0)]
    [InlineData(0.05, 0.0)]
    [InlineData(0.05, 0.03)]
    [InlineData(0.5, 0.1)]
    public void Every_byte_arrives_on_a_wire_that_marks(double marking, double loss)
    {
        for (int seed = 1; seed <= 4; seed++)
        {
            using var hosts = new TwoHosts(seed, options: options => options with { Ecn = EcnUse.Ask });
            hosts.Wire.Impairments = new WireImpairments { Marking = marking, Loss = loss, Reordering = loss, Duplication = loss, Delay = TimeSpan.FromMilliseconds(3) };
            var client = new Pattern(400_000);
            var service = new Pattern(400_000);
            hosts.B.Listen(80, service);
            hosts.A.Connect(seed % 2 == 0 ? TwoHosts.ServerV4 : TwoHosts.ServerV6, client);
            Assert.True(hosts.Run(() => client.Closed is not null && service.Closed is not null, TimeSpan.FromHours(1)), $"seed {seed}");
            Assert.Equal((400_000, 400_000), (client.Received, service.Received));
            TcpCounters counters = hosts.A.Tcp.Counters;
            Assert.True(loss > 0 || (counters.MarkReductions > 0 && counters.BytesResent == 0), $"seed {seed}: {counters.MarkReductions} reductions, {counters.BytesResent} bytes sent again");
        }
    }
}
