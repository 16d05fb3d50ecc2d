// SPDX-License-Identifier: MIT
using Exo.Core.Net;
using Exo.Net.Cheetah.Link;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tests.Network;

public class NeighborTableTests
{
    private const long SecondUs = 1_000_000, MinuteUs = 60 * SecondUs;

    private static readonly MacAddress Hardware = new(0x02_00_00_00_00_07), Another = new(0x02_00_00_00_00_08);
    private static readonly InternetAddress A = Address(1);

    private readonly List<InternetAddress> asked = [];
    private readonly List<(byte First, MacAddress To)> sent = [];
    private readonly NeighborTable table;

    public NeighborTableTests() => table = new NeighborTable(asked.Add, (packet, to) => sent.Add((packet[0], to)), NeighborTable.OnTheLink);

    private static InternetAddress Address(int index) => InternetAddress.FromV4(0x0A00_0000 + (uint)index);

    [Fact]
    public void Who_is_not_known_is_asked_for_three_times_and_forgotten()
    {
        Assert.False(table.TryFind(A, 0, out _));
        Assert.False(table.TryFind(A, 0, out _));
        Assert.Single(asked);
        for (long now = SecondUs; now <= 3 * SecondUs; now += SecondUs)
        {
            Assert.Equal(now, table.NextUs);
            table.RunTimers(now - 1);
            table.RunTimers(now);
        }

        Assert.Equal([A, A, A], asked);
        Assert.Equal(0, table.Count);
        Assert.Equal(long.MaxValue, table.NextUs);
    }

    [Fact]
    public void The_last_three_packets_wait_and_leave_in_order()
    {
        table.TryFind(A, 0, out _);
        for (byte i = 1; i <= 5; i++)
        {
            table.Keep(A, [i]);
        }

        table.Learn(A, Hardware, mayAdd: false, SecondUs);
        Assert.Equal([(3, Hardware), (4, Hardware), (5, Hardware)], sent);
        table.Keep(A, [6]);   // too late: it is known
        table.Learn(A, Hardware, mayAdd: false, SecondUs);
        Assert.Equal(3, sent.Count);
    }

    [Fact]
    public void What_is_known_is_asked_for_again_after_nineteen_minutes_and_used_for_twenty()
    {
        table.Learn(A, Hardware, mayAdd: true, 0);
        Assert.True(table.TryFind(A, 19 * MinuteUs, out MacAddress found));
        Assert.Equal(Hardware, found);
        Assert.Empty(asked);
        Assert.True(table.TryFind(A, (19 * MinuteUs) + 1, out _));
        Assert.Single(asked);
        Assert.False(table.TryFind(A, 20 * MinuteUs, out _));
        table.Learn(A, Another, mayAdd: false, 20 * MinuteUs);
        Assert.True(table.TryFind(A, 39 * MinuteUs, out found));
        Assert.Equal(Another, found);
    }

    [Fact]
    public void Who_is_doubted_is_asked_and_used_meanwhile_and_kept_if_nobody_answers()
    {
        table.Learn(A, Hardware, mayAdd: true, 0);
        table.Doubt(A, SecondUs);
        table.Doubt(A, SecondUs);
        Assert.Single(asked);
        for (long now = 2 * SecondUs; now < 10 * SecondUs; now += SecondUs)
        {
            table.RunTimers(now);
            Assert.True(table.TryFind(A, now, out _));
        }

        Assert.Equal(3, asked.Count);
    }

    [Fact]
    public void A_claim_about_somebody_who_is_not_wanted_adds_nothing_and_none_makes_a_group_a_neighbour()
    {
        table.Learn(A, Hardware, mayAdd: false, 0);
        table.Learn(A, MacAddress.Broadcast, mayAdd: true, 0);
        table.Learn(InternetAddress.Parse("224.0.0.1"), Hardware, mayAdd: true, 0);
        table.Learn(InternetAddress.Parse("0.0.0.0"), Hardware, mayAdd: true, 0);
        table.Learn(InternetAddress.Parse("ff02::1"), Hardware, mayAdd: true, 0);
        Assert.Equal(0, table.Count);
    }

    [Fact]
    public void Connections_look_again_when_an_address_changes_and_only_then()
    {
        table.Learn(A, Hardware, mayAdd: true, 0);
        int version = table.Version;
        table.Learn(A, Hardware, mayAdd: true, SecondUs);
        Assert.Equal(version, table.Version);
        table.Learn(A, Another, mayAdd: true, SecondUs);
        Assert.NotEqual(version, table.Version);
    }

    [Fact]
    public void A_scan_of_the_subnet_fills_nothing_and_whoever_is_used_stays()
    {
        table.Learn(A, Hardware, mayAdd: true, 0);
        for (int i = 2; i < 5000; i++)
        {
            table.Learn(Address(i), Hardware, mayAdd: true, i);
            Assert.True(table.TryFind(A, i, out _));   // as packets do
            Assert.InRange(table.Count, 1, NeighborTable.EntriesMax);
        }

        Assert.True(table.TryFind(Address(4999), 5000, out _));
        Assert.Empty(asked);
    }

    [Fact]
    public void Those_asked_for_at_a_time_are_few_however_many_are_wanted()
    {
        for (int i = 1; i < 5000; i++)
        {
            Assert.False(table.TryFind(Address(i), 0, out _));
            table.Keep(Address(i), [1]);
        }

        Assert.Equal(128, table.Count);
        Assert.Equal(128, asked.Count);
        table.RunTimers(SecondUs);
        table.RunTimers(2 * SecondUs);
        table.RunTimers(3 * SecondUs);
        Assert.Equal(0, table.Count);
    }
}
