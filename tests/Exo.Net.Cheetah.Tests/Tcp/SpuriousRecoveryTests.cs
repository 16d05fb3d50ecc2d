// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Wire;
using Exo.Simulation.Net;

namespace Exo.Net.Cheetah.Tests.Tcp;

/// <summary>Recoveries from losses that were none are taken back, and those from losses are not.</summary>
public class SpuriousRecoveryTests
{
    private static readonly SimulatedDeviceOptions Plain = new() { Segmentation = false };

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void A_path_that_becomes_slow_costs_no_window(int seed)
    {
        using var hosts = new TwoHosts(seed, options: options => options with { ReceiveWindowBytes = 4 << 20 });
        hosts.Wire.Impairments = new WireImpairments { Delay = TimeSpan.FromMilliseconds(5) };
        const long Bytes = 16 << 20;
        var client = new Pattern(Bytes);
        var service = new Pattern(0, closesWhenSent: false);
        hosts.B.Listen(80, service);
        TcpConnection connection = hosts.A.Connect(TwoHosts.ServerV4, client);
        Assert.True(hosts.Run(() => service.Received > (seed + 1) * 500_000, TimeSpan.FromMinutes(1)));
        int window = Math.Min(connection.CongestionWindowBytes, (int)(connection.SndNxt - connection.SndUna));   // what it let out
        TcpCounters counters = hosts.A.Tcp.Counters;
        Assert.Equal(0, counters.Timeouts);

        hosts.Wire.Impairments = new WireImpairments { Delay = TimeSpan.FromMilliseconds(400) };
        Assert.True(hosts.Run(() => counters.Timeouts > 0, TimeSpan.FromMinutes(1)));
        Assert.True(connection.CongestionWindowBytes < window / 10);
        Assert.True(hosts.Run(() => counters.SpuriousTimeouts > 0, TimeSpan.FromMinutes(1)));
        Assert.True(connection.CongestionWindowBytes >= window * 3 / 4, $"seed {seed}: {connection.CongestionWindowBytes} of {window}");   // less what a burst would be
        uint then = connection.SndNxt;
        Assert.True(hosts.Run(() => SequenceNumber.IsAtOrAfter(connection.SndUna, then), TimeSpan.FromMinutes(1)));
        Assert.True(connection.CongestionWindowBytes >= window, $"seed {seed}: {connection.CongestionWindowBytes} of {window}");
        Assert.True(hosts.Run(() => service.Received == Bytes, TimeSpan.FromMinutes(5)));
        Assert.Equal(counters.Timeouts, counters.SpuriousTimeouts);
        Assert.InRange(counters.Timeouts, 1, 3);
        Assert.InRange(counters.BytesResent, 1, 10 * 65_536);   // of some 400 segments that were under way
        TestContext.Current.TestOutputHelper!.WriteLine($"seed {seed}: window {window}, {counters.Timeouts} time-outs, {counters.BytesResent} bytes sent again, {hosts.Time.Elapsed}");
    }

    [Theory]
    [InlineData(0.005)]
    [InlineData(0.02)]
    [InlineData(0.1)]
    [InlineData(0.3)]
    public void What_was_lost_is_never_taken_back(double loss)
    {
        for (int seed = 1; seed <= 6; seed++)
        {
            using var hosts = new TwoHosts(seed, Plain);
            hosts.Wire.Impairments = new WireImpairments { Delay = TimeSpan.FromMilliseconds(10) };
            var random = new Random(seed);
            hosts.DeviceA.Loses = payloadBytes => payloadBytes > 0 && random.NextDouble() < loss;
            long bytes = loss < 0.2 ? 2 << 20 : 200_000;
            var client = new Pattern(bytes);
            var service = new Pattern(0, closesWhenSent: false);
            hosts.B.Listen(80, service);
            hosts.A.Connect(TwoHosts.ServerV4, client);
            Assert.True(hosts.Run(() => service.Received == bytes, TimeSpan.FromHours(1)), $"seed {seed}");
            TcpCounters counters = hosts.A.Tcp.Counters;
            Assert.True(counters.Recoveries + counters.Timeouts > 0);
            Assert.True(counters.SpuriousRecoveries == 0 && counters.SpuriousTimeouts == 0, $"seed {seed}: {counters.SpuriousRecoveries} of {counters.Recoveries}, {counters.SpuriousTimeouts} of {counters.Timeouts}");
        }
    }

    [Fact]
    public void A_path_that_reorders_far_is_learnt_and_recoveries_from_it_are_undone()
    {
        long undone = 0, all = 0;
        for (int seed = 1; seed <= 6; seed++)
        {
            using var hosts = new TwoHosts(seed, Plain);
            hosts.Wire.Impairments = new WireImpairments { Delay = TimeSpan.FromMilliseconds(10), Reordering = 0.005, ReorderingDelay = TimeSpan.FromMilliseconds(25) };
            const long Bytes = 2 << 20;
            var client = new Pattern(Bytes);
            var service = new Pattern(0, closesWhenSent: false);
            hosts.B.Listen(80, service);
            hosts.A.Connect(TwoHosts.ServerV4, client);
            Assert.True(hosts.Run(() => service.Received == Bytes, TimeSpan.FromHours(1)), $"seed {seed}");
            undone += hosts.A.Tcp.Counters.SpuriousRecoveries;
            all += hosts.A.Tcp.Counters.Recoveries;
            Assert.Equal(0, hosts.A.Tcp.Counters.Timeouts);
        }

        TestContext.Current.TestOutputHelper!.WriteLine($"{undone} of {all} recoveries undone");
        Assert.True(undone * 2 >= all && undone > 0, $"{undone} of {all} recoveries undone");
    }

    // Bytes sent again and bytes that came twice, against a count for each number.
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void A_record_knows_what_has_not_come_twice(int seed)
    {
        var random = new Random(seed);
        for (int round = 0; round < 2000; round++)
        {
            var record = new RecoveryRecord();
            record.Begin(default, isTimeout: false, usesTimestamps: true, 0);
            uint start = (uint)random.NextInt64();
            int[] left = new int[80];
            bool any = false;
            for (int i = random.Next(1, 12); i > 0; i--)
            {
                int from = random.Next(60), to = from + random.Next(1, 12);
                Span<int> range = left.AsSpan(from..to);
                var block = new SackBlock(start + (uint)from, start + (uint)to);
                if (random.Next(2) == 0)
                {
                    bool again = range.ContainsAnyExcept(0);
                    if (!again || !any)
                    {
                        any = true;
                        record.AddResent(block, 0, wasResentBefore: false);
                        Count(range, 1);
                        if (random.Next(3) == 0)
                        {
                            record.AddResent(block, 0, wasResentBefore: true);
                            Count(range, 1);
                        }
                    }
                }
                else
                {
                    record.TakeDuplicate(block);
                    Count(range, -1);
                }

                Assert.True(record.HasAllComeTwice == (any && !left.AsSpan().ContainsAnyExcept(0)), $"seed {seed}, round {round}");
            }
        }

        static void Count(Span<int> range, int change)
        {
            foreach (ref int times in range)
            {
                times = Math.Max(0, times + change);
            }
        }
    }

    [Fact]
    public void A_record_that_is_full_or_ambiguous_proves_nothing()
    {
        var record = new RecoveryRecord();
        record.Begin(default, isTimeout: false, usesTimestamps: false, 0);
        for (uint i = 0; i <= RecoveryRecord.RangesMax; i++)
        {
            record.AddResent(new SackBlock(i * 10, (i * 10) + 5), 0, wasResentBefore: false);
        }

        record.TakeDuplicate(new SackBlock(0, 1000));
        Assert.False(record.HasAllComeTwice);

        record.Begin(default, isTimeout: false, usesTimestamps: false, 0);
        record.AddResent(new SackBlock(0, 5), 0, wasResentBefore: true);
        record.TakeDuplicate(new SackBlock(0, 5));
        Assert.False(record.HasAllComeTwice);
    }
}
