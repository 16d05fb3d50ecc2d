// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tests.Tcp;

namespace Exo.Net.Cheetah.Tests.Kernel;

/// <summary>The kernel's TCP at the end of a wire that stands still for a second at times: the time-outs of this side are undone, with timestamps (RFC 3522) and without (RFC 5682).</summary>
public class SpuriousTimeoutKernelTests
{
    // A time-out without timestamps is undone only where two segments that were not sent again are acknowledged first (RFC 5682): at some standstills nothing of that kind is under way.
    private const int TransfersMax = 10;

    [Theory]
    [InlineData(true, false)]
    [InlineData(true, true)]
    [InlineData(false, false)]
    [InlineData(false, true)]
    public void Time_outs_before_late_acknowledgments_are_undone(bool usesTimestamps, bool isV6)
    {
        int undone = 0;
        for (int seed = 1; undone == 0; seed++)
        {
            Assert.True(seed <= TransfersMax, $"no time-out of {TransfersMax} transfers was undone");
            undone = TimeoutsUndone(usesTimestamps, isV6, seed);
        }
    }

    private static int TimeoutsUndone(bool usesTimestamps, bool isV6, int seed)
    {
        const long Bytes = 3 << 20;
        using var network = new KernelNetwork(superPackets: false);
        network.Run("sysctl", "-q", "-w", $"net.ipv4.tcp_timestamps={(usesTimestamps ? 1 : 0)}");
        using var device = new ImpairedDevice(network.Device, seed, new Impairments { HoldAfterPackets = 900, Hold = TimeSpan.FromSeconds(1), Delay = TimeSpan.FromMilliseconds(2) });
        var own = new Pattern(Bytes);
        using Socket socket = network.In(() => new Socket(isV6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        using var polled = new Polled(device, stack => stack.Listen(80, own));
        socket.Connect(IPAddress.Parse(isV6 ? "fd09::2" : "10.9.0.2"), 80);
        KernelTests.Exchange(socket, Bytes);
        Assert.True(SpinWait.SpinUntil(() => own.Closed is not null, TimeSpan.FromSeconds(60)));
        Assert.Equal((Bytes, TcpCloseReason.Graceful), (own.Received, own.Closed));
        TcpCounters counters = polled.Stack.Tcp.Counters;
        TestContext.Current.TestOutputHelper!.WriteLine($"seed {seed}: {counters.SpuriousTimeouts} of {counters.Timeouts} time-outs undone, {counters.SpuriousRecoveries} of {counters.Recoveries} recoveries");
        return (int)counters.SpuriousTimeouts;
    }
}
