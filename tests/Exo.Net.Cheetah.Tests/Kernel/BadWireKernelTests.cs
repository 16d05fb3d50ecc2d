// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tests.Tcp;

namespace Exo.Net.Cheetah.Tests.Kernel;

/// <summary>
/// The kernel's TCP as peer over a wire that is bad both ways: whoever opens the connection, by either version of IP, every byte arrives once and in order, both ways, and both ends
/// end. EXO_TCP_SEED chooses what the packets meet, EXO_TCP_WIRE ("20 %") one of the wires; EXO_TCP_MIB makes transfers longer, as in <see cref="KernelTests"/>, with shares of it where waiting for timers takes the time.
/// </summary>
public class BadWireKernelTests
{
    private static readonly long CleanBytes = long.Parse(Environment.GetEnvironmentVariable("EXO_TCP_MIB") ?? "24", CultureInfo.InvariantCulture) << 20;
    private static readonly int Seed = int.Parse(Environment.GetEnvironmentVariable("EXO_TCP_SEED") ?? "1", CultureInfo.InvariantCulture);

    // What the wire does, and which part of a clean transfer is sent over it.
    private static readonly Dictionary<string, (Impairments Wire, int Share)> Wires = new()
    {
        ["1 % lost"] = (new() { Loss = 0.01 }, 16),
        ["5 % lost"] = (new() { Loss = 0.05 }, 32),
        ["20 % lost"] = (new() { Loss = 0.2 }, 384),
        ["10 % out of order"] = (new() { Reordering = 0.1 }, 16),
        ["10 % twice"] = (new() { Duplication = 0.1 }, 16),
        ["2 % damaged"] = (new() { Corruption = 0.02 }, 16),
        ["10 ms late"] = (new() { Delay = TimeSpan.FromMilliseconds(10) }, 16),
        ["everything"] = (new() { Loss = 0.02, Reordering = 0.02, Duplication = 0.02, Corruption = 0.02, Delay = TimeSpan.FromMilliseconds(2) }, 64),
    };

    public static TheoryData<string, bool, bool> Cases
    {
        get
        {
            var cases = new TheoryData<string, bool, bool>();
            foreach (string wire in Wires.Keys.Where(wire => wire.Contains(Environment.GetEnvironmentVariable("EXO_TCP_WIRE") ?? "", StringComparison.Ordinal)))
            {
                foreach (bool isV6 in (bool[])[false, true])
                {
                    cases.Add(wire, isV6, false);
                    cases.Add(wire, isV6, true);
                }
            }

            return cases;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Every_byte_arrives_both_ways(string wire, bool isV6, bool kernelAccepts)
    {
        (Impairments impairments, int share) = Wires[wire];
        long bytes = CleanBytes / share;
        TestContext.Current.TestOutputHelper!.WriteLine($"EXO_TCP_SEED={Seed}, {bytes} bytes each way");
        using var network = new KernelNetwork(superPackets: false);
        using var device = new ImpairedDevice(network.Device, Seed, impairments);
        var own = new Pattern(bytes);
        IPAddress kernelAt = IPAddress.Parse(isV6 ? "fd09::1" : "10.9.0.1"), ownAt = IPAddress.Parse(isV6 ? "fd09::2" : "10.9.0.2");
        using Socket socket = network.In(() => new Socket(kernelAt.AddressFamily, SocketType.Stream, ProtocolType.Tcp));
        if (kernelAccepts)
        {
            socket.Bind(new IPEndPoint(kernelAt, 0));
            socket.Listen();
        }

        using var polled = new Polled(device, stack =>
        {
            if (kernelAccepts)
            {
                stack.Connect((IPEndPoint)socket.LocalEndPoint!, own);
            }
            else
            {
                stack.Listen(80, own);
            }
        });
        using Socket peer = kernelAccepts ? socket.Accept() : socket;
        if (!kernelAccepts)
        {
            peer.Connect(ownAt, 80);
        }

        KernelTests.Exchange(peer, bytes);
        Assert.True(SpinWait.SpinUntil(() => own.Closed is not null, TimeSpan.FromSeconds(120)), $"seed {Seed}");
        Assert.Equal((bytes, TcpCloseReason.Graceful), (own.Received, own.Closed));
        Assert.True(impairments.Loss == 0 || device.Lost > 0);
        Assert.True(impairments.Duplication == 0 || device.Repeated > 0);
        Assert.True(impairments.Reordering == 0 || device.Reordered > 0);
        Assert.True(impairments.Corruption == 0 || device.Damaged > 0);
    }
}
