// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net;
using Exo.Net.Cheetah.Tcp;
using Exo.Simulation.Net;

namespace Exo.Net.Cheetah.Tests.Tcp;

/// <summary>
/// Two stacks of ours through whatever a wire does: every byte arrives once and in order, both ways, and both ends end. EXO_TCP_SEEDS sets how many seeds
/// each wire gets (2 in a usual run).
/// </summary>
public class TransferTests
{
    public static TheoryData<string, WireImpairments> Wires => new()
    {
        { "perfect", WireImpairments.None },
        { "delay", new WireImpairments { Delay = TimeSpan.FromMilliseconds(20) } },
        { "loss 1 %", new WireImpairments { Loss = 0.01, Delay = TimeSpan.FromMilliseconds(5) } },
        { "loss 5 %", new WireImpairments { Loss = 0.05, Delay = TimeSpan.FromMilliseconds(5) } },
        { "loss 20 %", new WireImpairments { Loss = 0.20, Delay = TimeSpan.FromMilliseconds(5) } },
        { "reordering", new WireImpairments { Reordering = 0.05, Delay = TimeSpan.FromMilliseconds(3), ReorderingDelay = TimeSpan.FromMilliseconds(2) } },
        { "duplication", new WireImpairments { Duplication = 0.2, Delay = TimeSpan.FromMilliseconds(1) } },
        { "corruption", new WireImpairments { Corruption = 0.03, Delay = TimeSpan.FromMilliseconds(1) } },
        { "a slow line", new WireImpairments { BitsPerSecond = 20_000_000, QueueBytes = 60_000, Delay = TimeSpan.FromMilliseconds(10) } },
        {
            "everything", new WireImpairments
            {
                Loss = 0.03, Reordering = 0.03, Duplication = 0.03, Corruption = 0.02, Jitter = TimeSpan.FromMilliseconds(2), Delay = TimeSpan.FromMilliseconds(5),
            }
        },
    };

    [Theory]
    [MemberData(nameof(Wires))]
    public void Every_byte_arrives_whatever_the_wire_does(string name, WireImpairments wire)
    {
        int seeds = int.Parse(Environment.GetEnvironmentVariable("EXO_TCP_SEEDS") ?? "2", CultureInfo.InvariantCulture);
        for (int seed = 1; seed <= seeds; seed++)
        {
            using var hosts = new TwoHosts(seed);
            hosts.Wire.Impairments = wire;
            Exchange(hosts, seed % 2 == 0 ? TwoHosts.ServerV4 : TwoHosts.ServerV6, 1 << 20, $"{name}, seed {seed}");
        }
    }

    [Fact]
    public void Devices_that_can_do_nothing_are_enough()
    {
        using var hosts = new TwoHosts(3, new SimulatedDeviceOptions { Segmentation = false, TransmitChecksum = false, ReceiveChecksum = false });
        hosts.Wire.Impairments = new WireImpairments { Loss = 0.02, Delay = TimeSpan.FromMilliseconds(2) };
        Exchange(hosts, TwoHosts.ServerV4, 500_000, "plain");
    }

    [Fact]
    public void A_device_that_sends_from_frames_never_sees_them_change()
    {
        using var hosts = new TwoHosts(4, new SimulatedDeviceOptions { TransmitsFromFrames = true, TransmitRingPackets = 16 });
        hosts.Wire.Impairments = new WireImpairments { Loss = 0.02, BitsPerSecond = 200_000_000, Delay = TimeSpan.FromMilliseconds(2) };
        Exchange(hosts, TwoHosts.ServerV4, 1 << 20, "from frames");
    }

    [Theory]
    [InlineData(1400)]
    [InlineData(1300)]
    public void A_path_that_swallows_large_packets_is_found_out(int pathMtuBytes)
    {
        using var hosts = new TwoHosts(5);
        hosts.Wire.Impairments = new WireImpairments { PathMtuBytes = pathMtuBytes, Delay = TimeSpan.FromMilliseconds(5) };
        Exchange(hosts, TwoHosts.ServerV4, 300_000, "through the hole");
    }

    // Mathis et al. 1997: MSS / RTT * sqrt(3/2) / sqrt(p), which the Reno-friendly region of CUBIC keeps to at this round-trip time. Twenty seconds of simulated time at most.
    [Theory]
    [InlineData(0.001)]
    [InlineData(0.01)]
    public void Under_loss_the_goodput_is_what_the_window_allows(double loss)
    {
        long bytes = loss < 0.01 ? 16 << 20 : 4 << 20;
        TimeSpan total = TimeSpan.Zero;
        foreach (int seed in (int[])[1, 2, 3])
        {
            using var hosts = new TwoHosts(seed, options: options => options with { ReceiveWindowBytes = 4 << 20 });
            hosts.Wire.Impairments = new WireImpairments { Loss = loss, Delay = TimeSpan.FromMilliseconds(10) };
            var client = new Pattern(bytes);
            var service = new Pattern(0, closesWhenSent: false);
            hosts.B.Listen(80, service);
            hosts.A.Connect(TwoHosts.ServerV4, client);
            Assert.True(hosts.Run(() => service.Received == bytes, TimeSpan.FromHours(1)));
            total += hosts.Time.Elapsed;
        }

        double goodput = 3 * bytes / total.TotalSeconds;
        double theory = 1448 / 0.020 * Math.Sqrt(1.5 / loss);
        TestContext.Current.TestOutputHelper!.WriteLine($"{loss:p1}: {goodput / 1e6:f2} MB/s, {goodput / theory:f2} of the formula");
        Assert.True(goodput >= 0.8 * theory, $"{loss}: {goodput / theory} of the formula");
    }

    [Fact]
    public void The_same_seed_gives_the_same_run()
    {
        string[] Run()
        {
            using var hosts = new TwoHosts(7);
            hosts.DeviceA.Traces = true;
            hosts.Wire.Impairments = new WireImpairments { Loss = 0.05, Reordering = 0.05, Delay = TimeSpan.FromMilliseconds(5) };
            Exchange(hosts, TwoHosts.ServerV4, 200_000, "twice");
            return [.. hosts.DeviceA.Trace];
        }

        Assert.Equal(Run(), Run());
    }

    private static void Exchange(TwoHosts hosts, IPEndPoint server, long bytes, string what)
    {
        var client = new Pattern(bytes);
        var service = new Pattern(bytes);
        hosts.B.Listen(80, service);
        hosts.A.Connect(server, client);
        bool done = hosts.Run(
            () => client.Received == bytes && service.Received == bytes && client.Closed is not null && service.Closed is not null, TimeSpan.FromHours(1));
        string state = $"{what}: {hosts.Time.Elapsed}, client {client.Sent}/{client.Received} {client.Closed} {client.Connection?.State}, "
            + $"server {service.Sent}/{service.Received} {service.Closed} {service.Connection?.State}";
        Assert.True(done, state + "\n" + string.Join('\n', hosts.DeviceA.Trace.TakeLast(60)));
        Assert.True(client.Closed == TcpCloseReason.Graceful && service.Closed == TcpCloseReason.Graceful, state);
        Assert.Equal(0, hosts.A.ConnectionCount + hosts.B.ConnectionCount);
    }
}
