// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tests.Tcp;

namespace Exo.Net.Cheetah.Tests.Kernel;

/// <summary>
/// The kernel's TCP as peer over a wire that marks (RFC 3168), whoever asks for it: both sides hear of marks and slow down, each tells the other, nothing is sent again, and every byte arrives.
/// </summary>
public class CongestionMarkKernelTests
{
    [Theory]
    [InlineData(false, false, false)]
    [InlineData(true, false, false)]
    [InlineData(false, true, false)]
    [InlineData(true, true, false)]
    [InlineData(false, false, true)]
    [InlineData(true, true, true)]
    public void Both_sides_hear_of_marks_and_slow_down(bool isV6, bool kernelAccepts, bool overVeth)
    {
        const long Bytes = 16 << 20;
        using var network = new KernelNetwork(overVeth: overVeth);
        network.Run("sysctl", "-q", "-w", $"net.ipv4.tcp_ecn={(kernelAccepts ? 2 : 1)}");
        using var device = new MarkingDevice(network.Device, everyPackets: 40);
        var own = new Pattern(Bytes);
        IPAddress kernelAt = IPAddress.Parse(isV6 ? "fd09::1" : "10.9.0.1"), ownAt = IPAddress.Parse(isV6 ? "fd09::2" : "10.9.0.2");
        using Socket socket = network.In(() => new Socket(kernelAt.AddressFamily, SocketType.Stream, ProtocolType.Tcp));
        using Polled polled = Polled.Meet(
            device, own, socket, kernelAt, ownAt, kernelAccepts, Polled.Options with { Ecn = kernelAccepts ? EcnUse.Ask : EcnUse.WhenAsked }, out Socket peer);
        using Socket meeting = peer;

        KernelTests.Exchange(peer, Bytes);
        Assert.True(SpinWait.SpinUntil(() => own.Closed is not null, TimeSpan.FromSeconds(60)));
        Assert.Equal((Bytes, TcpCloseReason.Graceful), (own.Received, own.Closed));
        TcpCounters counters = polled.Stack.Tcp.Counters;
        TestContext.Current.TestOutputHelper!.WriteLine(
            $"out {device.MarkedOut} marks, {counters.MarkReductions} reductions, {device.ReducedOut} told; in {device.MarkedIn} marks, {counters.CongestionMarks} heard of, {device.ReducedIn} reductions told, {device.ReducedSuperIn} by super-packets");
        Assert.Equal(1, counters.EcnConnections);
        Assert.True(device.MarkedOut > 0 && device.MarkedIn > 0);
        Assert.InRange(counters.CongestionMarks, 1, device.MarkedIn);
        Assert.True(MarkedPackets(network, isV6) > 0);
        Assert.InRange(counters.MarkReductions, 1, device.MarkedOut);
        Assert.InRange(device.ReducedOut, 1, (int)(counters.MarkReductions + counters.Recoveries + counters.Timeouts));
        Assert.True(device.ReducedIn > 0);
        Assert.Equal(0, device.WronglyCapableOut);
    }

    [Fact]
    public void A_kernel_that_does_not_ask_gets_no_marks()
    {
        using var network = new KernelNetwork();
        network.Run("sysctl", "-q", "-w", "net.ipv4.tcp_ecn=0");
        using var device = new MarkingDevice(network.Device, everyPackets: 1);
        var own = new Pattern(1 << 20);
        using Socket socket = network.In(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        using var polled = new Polled(device, stack => stack.Listen(80, own));
        socket.Connect(IPAddress.Parse("10.9.0.2"), 80);
        KernelTests.Exchange(socket, 1 << 20);
        Assert.Equal((0, 0, 0L), (device.MarkedOut, device.MarkedIn, polled.Stack.Tcp.Counters.EcnConnections));
    }

    // Marked packets that the kernel has received. Of IPv4 names stand in one line and numbers in the next, of IPv6 name and number in one.
    private static long MarkedPackets(KernelNetwork network, bool isV6)
    {
        string[][] lines = [.. Encoding.ASCII.GetString(network.Run("cat", isV6 ? "/proc/net/snmp6" : "/proc/net/netstat")).Split('\n').Select(line => line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))];
        int head = Array.FindIndex(lines, words => words.Contains(isV6 ? "Ip6InCEPkts" : "InCEPkts"));
        return long.Parse(isV6 ? lines[head][1] : lines[head + 1][Array.IndexOf(lines[head], "InCEPkts")], CultureInfo.InvariantCulture);
    }
}
