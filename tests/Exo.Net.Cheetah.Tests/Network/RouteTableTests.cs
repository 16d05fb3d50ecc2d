// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tests.Network;

public class RouteTableTests
{
    private static readonly InterfaceAddress[] Own = [InterfaceAddress.Parse("10.1.2.3/24"), InterfaceAddress.Parse("192.168.7.1/31"), InterfaceAddress.Parse("fd00:1::3/64")];
    private static readonly RouteTable WithGateways = new(Own, InternetAddress.Parse("10.1.2.1"), InternetAddress.Parse("fd00:1::1")), Without = new(Own, null, null);

    [Theory]
    [InlineData("10.1.2.99", "10.1.2.99", true)]
    [InlineData("10.1.3.1", "10.1.2.1", false)]
    [InlineData("192.168.7.0", "192.168.7.0", true)]
    [InlineData("192.168.7.2", "10.1.2.1", false)]
    [InlineData("8.8.8.8", "10.1.2.1", false)]
    [InlineData("fd00:1::9", "fd00:1::9", true)]
    [InlineData("fd00:2::9", "fd00:1::1", false)]
    [InlineData("fe80::9", "fe80::9", true)]
    public void What_is_on_the_link_is_reached_directly_and_the_rest_by_the_gateway_of_its_family(string to, string by, bool isOnLink)
    {
        InternetAddress destination = InternetAddress.Parse(to);
        Assert.True(WithGateways.TryNextHop(destination, out InternetAddress next));
        Assert.Equal(InternetAddress.Parse(by), next);
        Assert.Equal(isOnLink, Without.TryNextHop(destination, out _));
    }

    [Theory]
    [InlineData("10.1.2.99", "10.1.2.3")]
    [InlineData("192.168.7.0", "192.168.7.1")]
    [InlineData("8.8.8.8", "10.1.2.3")]
    [InlineData("fd00:1::9", "fd00:1::3")]
    [InlineData("2001:db8::1", "fd00:1::3")]
    public void The_source_is_on_the_same_link_or_of_the_same_family(string to, string from)
    {
        Assert.True(WithGateways.TrySourceFor(InternetAddress.Parse(to), out InternetAddress source));
        Assert.Equal(InternetAddress.Parse(from), source);
    }

    [Fact]
    public void Without_an_address_of_the_family_there_is_no_source()
    {
        var routes = new RouteTable([InterfaceAddress.Parse("10.0.0.1/8")], null, null);
        Assert.False(routes.TrySourceFor(InternetAddress.Parse("fd00::1"), out _));
        Assert.False(routes.TryNextHop(InternetAddress.Parse("fd00::1"), out _));
    }

    [Theory]
    [InlineData("10.1.2.255", true)]
    [InlineData("255.255.255.255", true)]
    [InlineData("10.1.2.254", false)]
    [InlineData("192.168.7.1", false)]   // of two hosts on a link both are hosts (RFC 3021)
    [InlineData("fd00:1::ffff", false)]
    public void Broadcast_addresses_are_known(string address, bool isBroadcast) => Assert.Equal(isBroadcast, WithGateways.IsBroadcast(InternetAddress.Parse(address)));

    [Theory]
    [InlineData("ff02::1", true)]
    [InlineData("ff02::1:ff00:3", true)]
    [InlineData("ff02::1:ff00:4", false)]
    [InlineData("ff02::2", false)]
    public void Groups_are_all_nodes_and_those_in_which_own_addresses_are_asked_for(string group, bool isOwn) =>
        Assert.Equal(isOwn, WithGateways.IsOwnGroup(InternetAddress.Parse(group)));
}
