// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using Exo.Core.DownloadedCode;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Core.PacketFilters;

namespace Exo.Core.Tests.Net;

/// <summary>A device with filters on an interface whose address the kernel has: every packet is one's or the other's.</summary>
public sealed class SharedAddressTests : IDisposable
{
    private const int Ours = 7001, Kernels = 7002, Ends = 7003;

    private readonly TestNetwork _network = new();
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 32 << 20 });
    private readonly ExoEnvironment _root;
    private readonly PacketFilterTree _filters;

    public SharedAddressTests()
    {
        _network.Address();
        _root = ExoEnvironment.CreateRoot(_frames.Authority);
        _filters = new PacketFilterTree(_frames.Authority);
    }

    public void Dispose()
    {
        _root.Dispose();
        _frames.Dispose();
        _network.Dispose();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_a_filter_accepts_comes_up_and_the_kernel_gets_the_rest(bool overXdp)
    {
        using InstalledFilter first = Insert(Ours);
        using Socket ours = _network.InA(() => TestNetwork.Udp(TestNetwork.AddressA, Ours)), kernels = _network.InA(() => TestNetwork.Udp(TestNetwork.AddressA, Kernels));
        using Socket ends = _network.InA(() => TestNetwork.Udp(TestNetwork.AddressA, Ends)), sender = _network.InB(() => TestNetwork.Udp(TestNetwork.AddressB, 0));
        using (NetworkDevice device = Open(overXdp, takesHandlers: false))
        {
            Assert.Equal("up: 7001, kernel: 7002", Send(sender, device, ours, kernels, ends));

            using InstalledFilter second = Insert(Kernels);
            device.UpdateFilters();
            Assert.Equal("up: 7001 7002, kernel: ", Send(sender, device, ours, kernels, ends));

            // What has changed is found by a look at the device too.
            first.Dispose();
            device.Refresh();
            Assert.Equal("up: 7002, kernel: 7001", Send(sender, device, ours, kernels, ends));
        }

        Assert.Equal("up: , kernel: 7001 7002", Send(sender, null, ours, kernels, ends));
    }

    [Fact]
    public void Handlers_see_what_the_filters_accept_and_leave_the_kernel_the_rest()
    {
        using InstalledFilter first = Insert(Ours);
        using Socket ours = _network.InA(() => TestNetwork.Udp(TestNetwork.AddressA, Ours)), kernels = _network.InA(() => TestNetwork.Udp(TestNetwork.AddressA, Kernels));
        using Socket ends = _network.InA(() => TestNetwork.Udp(TestNetwork.AddressA, Ends)), sender = _network.InB(() => TestNetwork.Udp(TestNetwork.AddressB, 0));
        using NetworkDevice device = Open(overXdp: false, takesHandlers: true);
        Assert.True(device.TakesHandlers);
        device.SetHandler(new PacketHandler(Answer(-1), Answer(0)));   // lets all pass at the hook, and nothing into the socket
        Assert.Equal("up: , kernel: 7002", Send(sender, device, ours, kernels, ends, swallowed: 1));
        using InstalledFilter second = Insert(Kernels);
        device.UpdateFilters();
        Assert.Equal("up: , kernel: ", Send(sender, device, ours, kernels, ends, swallowed: 2));
        device.SetHandler(null);
        Assert.Equal("up: 7001 7002, kernel: ", Send(sender, device, ours, kernels, ends));
    }

    [Fact]
    public void The_kernels_neighbours_are_found_and_asked_for_and_what_becomes_of_them_is_told()
    {
        MacAddress there = _network.InB(() =>
        {
            using NetworkLink link = NetworkLink.Open(TestNetwork.LinkB);
            return link.Address;
        });
        using KernelNeighbors neighbors = _network.InA(() => KernelNeighbors.Open(TestNetwork.LinkA));
        Assert.True(SpinWait.SpinUntil(() => neighbors.TryFind(TestNetwork.AddressB, out MacAddress found) && found == there, TimeSpan.FromSeconds(20)));
        Assert.False(neighbors.TryFind(IPAddress.Parse("10.77.0.99"), out _));
        Assert.False(neighbors.TryFind(IPAddress.Parse("fe80::99"), out _));

        Dictionary<IPAddress, MacAddress?> told = [];
        Assert.True(neighbors.ReadChanges((neighbor, hardware) => told[neighbor] = hardware));
        Assert.Equal(there, told[TestNetwork.AddressB]);
        TestNetwork.Ip("-n", _network.NamespaceA, "neigh", "replace", $"{TestNetwork.AddressB}", "lladdr", "02:00:00:00:00:77", "dev", TestNetwork.LinkA);
        Assert.True(neighbors.ReadChanges((neighbor, hardware) => told[neighbor] = hardware));
        Assert.Equal(MacAddress.Parse("02:00:00:00:00:77"), told[TestNetwork.AddressB]);
        TestNetwork.Ip("-n", _network.NamespaceA, "neigh", "del", $"{TestNetwork.AddressB}", "dev", TestNetwork.LinkA);
        Assert.True(neighbors.ReadChanges((neighbor, hardware) => told[neighbor] = hardware));
        Assert.Null(told[TestNetwork.AddressB]);
    }

    [Fact]
    public void The_kernels_addresses_and_gateways_are_read()
    {
        TestNetwork.Ip("-n", _network.NamespaceA, "addr", "add", "fd77::1/64", "dev", TestNetwork.LinkA, "nodad");
        TestNetwork.Ip("-n", _network.NamespaceA, "addr", "add", "fe80::1/64", "dev", TestNetwork.LinkA, "nodad");
        TestNetwork.Ip("-n", _network.NamespaceA, "route", "add", "default", "via", "10.77.0.2");
        TestNetwork.Ip("-n", _network.NamespaceA, "route", "add", "default", "via", "fd77::2");
        KernelAddresses kernel = _network.InA(() => KernelAddresses.Read(TestNetwork.LinkA));
        Assert.Equal(
            [new KernelAddress(TestNetwork.AddressA, 24, false), new KernelAddress(IPAddress.Parse("fd77::1"), 64, false), new KernelAddress(IPAddress.Parse("fe80::1"), 64, true)],
            kernel.Addresses.OrderBy(address => address.Address.ToString(), StringComparer.Ordinal));
        Assert.Equal((IPAddress.Parse("10.77.0.2"), IPAddress.Parse("fd77::2")), (kernel.GatewayV4, kernel.GatewayV6));
        KernelAddresses loopback = _network.InA(() => KernelAddresses.Read("lo"));
        Assert.Equal((null, null), (loopback.GatewayV4, loopback.GatewayV6));
        Assert.Contains(new KernelAddress(IPAddress.Loopback, 8, true), loopback.Addresses);
        Assert.Throws<NetworkDeviceException>(() => _network.InA(() => KernelAddresses.Read("nosuch")));
    }

    private static Program Answer(int verdict) => new(
        [new Instruction(Opcodes.ClassAlu64 | Opcodes.Move, immediate: verdict), new Instruction(Opcodes.ClassJump | Opcodes.Exit)]);

    private InstalledFilter Insert(int port)
    {
        Assert.True(_filters.TryInsert(_root, ProtocolFilters.Port(ProtocolFilters.Udp, new IPEndPoint(TestNetwork.AddressA, port)), out InstalledFilter? installed).IsInstalled);
        return installed!;
    }

    private NetworkDevice Open(bool overXdp, bool takesHandlers) => _network.InA<NetworkDevice>(() => overXdp
        ? XdpDevice.Open(TestNetwork.LinkA, _frames, new XdpOptions { Filters = _filters, ReceiveFrameCount = 512 })
        : PacketSocketDevice.Open(TestNetwork.LinkA, _frames, new PacketSocketOptions { Filters = _filters, TakesHandlers = takesHandlers }));

    // A packet for each port, and one for a third that only the kernel has: when that has come all have, but to an AF_XDP socket, which the kernel tells of its packets when it is done with a batch of them.
    // Which ports came where. Of the two packets so many stay swallowed by a handler.
    private string Send(Socket sender, NetworkDevice? device, Socket ours, Socket kernels, Socket ends, int swallowed = 0)
    {
        ends.ReceiveTimeout = 20_000;
        foreach (int port in (int[])[Ours, Kernels, Ends])
        {
            sender.SendTo("hello"u8, new IPEndPoint(TestNetwork.AddressA, port));
        }

        Assert.Equal(5, ends.Receive(new byte[16]));
        List<int> up = [];
        List<int> kernel = [];
        using ReceiveBatch batch = new(_frames);
        SpinWait.SpinUntil(Have, TimeSpan.FromSeconds(20));
        return $"up: {string.Join(' ', up)}, kernel: {string.Join(' ', kernel)}";

        bool Have()
        {
            while (device?.Receive(batch) > 0)
            {
                for (int i = 0; i < batch.Count; i++)
                {
                    up.Add(batch.Head(i)[36] << 8 | batch.Head(i)[37]);
                }
            }

            foreach (Socket socket in (Socket[])[ours, kernels])
            {
                while (socket.Available > 0)
                {
                    Assert.Equal(5, socket.Receive(new byte[16]));
                    kernel.Add(((IPEndPoint)socket.LocalEndPoint!).Port);
                }
            }

            return up.Count + kernel.Count == 2 - swallowed;
        }
    }
}
