// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Tests;

namespace Exo.Core.Tests.Net;

/// <summary>Interfaces by name, and what addresses look like.</summary>
public sealed class NetworkLinkTests
{
    [Fact]
    public void An_interface_is_found_and_set()
    {
        using TestNetwork network = new();
        using NetworkLink link = network.InA(() => NetworkLink.Open(TestNetwork.LinkA));
        Assert.Equal((1500, true), (link.MtuBytes, link.IsUp));
        link.MtuBytes = 9000;
        link.IsUp = false;
        link.Address = MacAddress.Parse("02:11:22:33:44:55");
        Assert.Equal((9000, false, "02:11:22:33:44:55"), (link.MtuBytes, link.IsUp, link.Address.ToString()));
        Assert.Contains("02:11:22:33:44:55", TestNetwork.Ip("-n", network.NamespaceA, "link", "show", TestNetwork.LinkA));
        Assert.Contains("set the MTU to 7", Assert.Throws<NetworkDeviceException>(() => link.MtuBytes = 7).Message);
    }

    [Fact]
    public void A_TAP_interface_lives_as_long_as_its_device_and_goes_down_and_up()
    {
        Requires.File("/dev/net/tun");
        using TestNetwork network = new();
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        using (TapDevice tap = network.InA(() => TapDevice.Open("exo-t", frames)))
        {
            using NetworkLink link = network.InA(() => NetworkLink.Open("exo-t"));
            Assert.NotEqual(link.Address, tap.Features.Address);
            Assert.Equal("TAP", tap.Features.Driver);
            Assert.Throws<NetworkDeviceException>(() => network.InA(() => TapDevice.Open("exo-t", frames)));
            link.MtuBytes = 1400;
            Assert.Equal(1500, tap.Features.MtuBytes);
            tap.Refresh();
            Assert.Equal(1400, tap.Features.MtuBytes);

            // The interface is down: packets are accepted, lost and counted.
            Assert.True(frames.TryAllocate(frames.RootCredential, out FrameNumber frame));
            Assert.Equal(1, tap.Transmit([new TransmitPacket(new PacketSlice(frame, 0, 60))], []));
            Assert.Equal(1, tap.Counters.TransmitDropped);
            frames.Release(frame);
        }

        // A process that another test is starting has a copy of every descriptor until it has become another program.
        Assert.True(SpinWait.SpinUntil(() => !IsThere(network, "exo-t"), TimeSpan.FromSeconds(20)));
        Assert.Equal(frames.FrameCount, frames.FreeCount);
    }

    [Fact]
    public void An_interface_that_goes_away_is_an_error_in_words()
    {
        using TestNetwork network = new();
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        using PacketSocketDevice device = network.InA(() => PacketSocketDevice.Open(TestNetwork.LinkA, frames));
        TestNetwork.Ip("-n", network.NamespaceA, "link", "del", TestNetwork.LinkA);
        Assert.True(frames.TryAllocate(frames.RootCredential, out FrameNumber frame));
        NetworkDeviceException gone = Assert.Throws<NetworkDeviceException>(() => device.Transmit([new TransmitPacket(new PacketSlice(frame, 0, 60))], []));
        Assert.Contains("is gone", gone.Message);
        Assert.Throws<NetworkDeviceException>(device.Refresh);
        frames.Release(frame);
    }

    [Theory]
    [InlineData("02:00:00:00:00:01", true)]
    [InlineData("ff:FF:ff:ff:ff:ff", true)]
    [InlineData("02:00:00:00:00", false)]
    [InlineData("02-00-00-00-00-01", false)]
    [InlineData("02:00:00:00:00:0g", false)]
    [InlineData("+2:00:00:00:00:01", false)]
    [InlineData("", false)]
    public void An_address_is_read_and_written(string text, bool isOne)
    {
        Assert.Equal(isOne, MacAddress.TryParse(text, out MacAddress address));
        if (isOne)
        {
            byte[] bytes = new byte[6];
            address.Write(bytes);
            Assert.Equal(text, address.ToString(), ignoreCase: true);
            Assert.Equal((address, bytes[0] == 0xff), (MacAddress.Read(bytes), address.IsGroup));
        }
    }

    private static bool IsThere(TestNetwork network, string name)
    {
        try
        {
            network.InA(() => NetworkLink.Open(name)).Dispose();
            return true;
        }
        catch (NetworkDeviceException)
        {
            return false;
        }
    }
}
