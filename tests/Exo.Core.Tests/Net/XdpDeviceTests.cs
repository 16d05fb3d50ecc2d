// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Core.PacketFilters;
using Exo.Tests;

namespace Exo.Core.Tests.Net;

/// <summary>AF_XDP beside the kernel: what the filters do not claim goes on, and nothing is left behind.</summary>
public sealed class XdpDeviceTests : IDisposable
{
    private const string ChildVariable = "EXO_TEST_HOLD_XDP";
    private const int Echo = 4000;
    private const int Claimed = 7777;

    private readonly TestNetwork _network = new();

    public XdpDeviceTests() => _network.Address();

    public void Dispose() => _network.Dispose();

    [Theory]
    [InlineData(XdpMode.Driver)]
    [InlineData(XdpMode.Generic)]
    public void Filters_decide_what_comes_up_and_the_rest_is_the_kernels(XdpMode mode)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        using ExoEnvironment root = ExoEnvironment.CreateRoot(frames.Authority);
        PacketFilterTree filters = new(frames.Authority);
        using XdpDevice device = _network.InA(() => XdpDevice.Open(
            TestNetwork.LinkA, frames, new XdpOptions { Mode = mode, Filters = filters, ReceiveRingEntries = 256, ReceiveFrameCount = 512 }));
        using Socket sender = _network.InB(() => TestNetwork.Udp(TestNetwork.AddressB, 0)), echo = _network.InA(() => TestNetwork.Udp(TestNetwork.AddressA, Echo)), claimed = _network.InA(() => TestNetwork.Udp(TestNetwork.AddressA, Claimed));
        using ReceiveBatch batch = new(frames);
        Assert.True(KernelHears(sender, echo) && KernelHears(sender, claimed));
        Assert.Equal(0, device.Receive(batch));

        Assert.True(filters.TryInsert(root, ProtocolFilters.Port(ProtocolFilters.Udp, new IPEndPoint(TestNetwork.AddressA, Claimed)), out InstalledFilter? filter).IsInstalled);
        device.UpdateFilters();
        Assert.True(KernelHears(sender, echo));
        long start = Stopwatch.GetTimestamp();
        while (device.Receive(batch) == 0)
        {
            Assert.True(Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(20), "it does not come up");
            sender.SendTo("for us"u8, claimed.LocalEndPoint!);
            device.Wait(NetworkEvents.Receivable, TimeSpan.FromMilliseconds(500));
        }

        Assert.True(batch.Head(0)[42..].StartsWith("for us"u8));
        Assert.Equal(0, claimed.Available);

        filter!.Dispose();
        device.UpdateFilters();
        Assert.True(KernelHears(sender, claimed));
    }

    /// <summary>An interface with several queues spreads connections over them; each of them comes up, and a device for one queue leaves the others' to the kernel.</summary>
    [Theory]
    [InlineData(XdpMode.Driver, null)]
    [InlineData(XdpMode.Generic, null)]
    [InlineData(XdpMode.Driver, 1)]
    [InlineData(XdpMode.Generic, 1)]
    public void Packets_of_all_queues_come_up(XdpMode mode, int? queue)
    {
        const int Senders = 64, Each = 8;
        using TestNetwork network = new(queues: 4);
        network.Address();
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        using ExoEnvironment root = ExoEnvironment.CreateRoot(frames.Authority);
        PacketFilterTree filters = new(frames.Authority);
        Assert.True(filters.TryInsert(root, ProtocolFilters.Port(ProtocolFilters.Udp, new IPEndPoint(TestNetwork.AddressA, Claimed)), out _).IsInstalled);
        using XdpDevice device = network.InA(() => XdpDevice.Open(
            TestNetwork.LinkA, frames, new XdpOptions { Mode = mode, Queue = queue, Filters = filters, ReceiveRingEntries = 256, ReceiveFrameCount = 512 }));
        Assert.EndsWith(queue is null ? "copy, 4 queues" : "copy", device.Features.Driver);
        using Socket claimed = network.InA(() => TestNetwork.Udp(TestNetwork.AddressA, Claimed));
        claimed.Blocking = false;
        Socket[] senders = [.. Enumerable.Range(0, Senders).Select(_ => network.InB(() => TestNetwork.Udp(TestNetwork.AddressB, 0)))];
        using ReceiveBatch batch = new(frames);
        HashSet<int> up = [];
        int kernels = 0;
        byte[] buffer = new byte[2000];
        for (int round = 0; round < Each; round++)
        {
            int inRound = 0;
            foreach (Socket sender in senders)
            {
                sender.SendTo("for us"u8, claimed.LocalEndPoint!);
            }

            long start = Stopwatch.GetTimestamp();
            while (inRound < Senders)
            {
                Assert.True(Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(20), $"{inRound} of {Senders} in round {round}");
                device.Wait(NetworkEvents.Receivable, TimeSpan.FromMilliseconds(20));
                int count = device.Receive(batch);
                for (int i = 0; i < count; i++)
                {
                    up.Add((batch.Head(i)[34] << 8) | batch.Head(i)[35]);
                }

                inRound += count;
                while (claimed.Available > 0)
                {
                    claimed.Receive(buffer);
                    kernels++;
                    inRound++;
                }
            }
        }

        Assert.Equal(Senders * Each, device.Counters.ReceivedPackets + kernels);
        if (queue is null)
        {
            Assert.Equal(0, kernels);
            Assert.Equal(Senders, up.Count);
        }
        else
        {
            Assert.InRange(up.Count, 1, Senders - 1);
            Assert.Equal((Senders - up.Count) * Each, kernels);
        }

        Array.ForEach(senders, sender => sender.Dispose());
    }

    [Fact]
    public void An_address_of_ones_own_comes_up_and_the_kernels_stays_the_kernels()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        using ExoEnvironment root = ExoEnvironment.CreateRoot(frames.Authority);
        PacketFilterTree filters = new(frames.Authority);
        IPAddress own = IPAddress.Parse("10.77.0.3");
        foreach (PacketFilter filter in (PacketFilter[])[.. ProtocolFilters.Host(own), .. ProtocolFilters.Host(IPAddress.Parse("fd77::3"))])
        {
            Assert.True(filters.TryInsert(root, filter, out _).IsInstalled);
        }

        using XdpDevice device = _network.InA(() => XdpDevice.Open(
            TestNetwork.LinkA, frames, new XdpOptions { Filters = filters, ReceiveRingEntries = 256, ReceiveFrameCount = 512 }));
        using Socket sender = _network.InB(() => TestNetwork.Udp(TestNetwork.AddressB, 0)), echo = _network.InA(() => TestNetwork.Udp(TestNetwork.AddressA, Echo));
        using ReceiveBatch batch = new(frames);
        Assert.True(KernelHears(sender, echo));
        Assert.Equal(0, device.Receive(batch));

        // The kernel's question for the address is not answered here, so nothing but questions comes up.
        long start = Stopwatch.GetTimestamp();
        while (device.Receive(batch) == 0)
        {
            Assert.True(Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(20), "it does not come up");
            sender.SendTo("for us"u8, new IPEndPoint(own, Echo));
            device.Wait(NetworkEvents.Receivable, TimeSpan.FromMilliseconds(500));
        }

        Assert.Equal<byte>([0x08, 0x06], batch.Head(0)[12..14].ToArray());
        Assert.Equal(own.GetAddressBytes(), batch.Head(0)[38..42].ToArray());
        Assert.True(KernelHears(sender, echo));
    }

    [Fact]
    public void A_wait_for_room_says_that_there_is_some_only_when_a_packet_is_taken()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        using XdpDevice device = _network.InA(() => XdpDevice.Open(
            TestNetwork.LinkA, frames, new XdpOptions { TransmitRingEntries = 64, ReceiveRingEntries = 256, ReceiveFrameCount = 512 }));
        Assert.True(frames.TryAllocate(frames.RootCredential, out FrameNumber frame));
        TransmitPacket packet = new(new PacketSlice(frame, 0, 100));
        TestNetwork.Ip("-n", _network.NamespaceA, "link", "set", TestNetwork.LinkA, "down");
        while (device.Transmit([packet], []) == 1)
        {
        }

        Assert.Equal(NetworkEvents.None, device.Wait(NetworkEvents.Transmittable, TimeSpan.FromMilliseconds(20)));
        TestNetwork.Ip("-n", _network.NamespaceA, "link", "set", TestNetwork.LinkA, "up");
        long start = Stopwatch.GetTimestamp();
        while ((device.Wait(NetworkEvents.Transmittable, TimeSpan.FromSeconds(1)) & NetworkEvents.Transmittable) == 0)
        {
            Assert.True(Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(20), "it never has room");
        }

        Assert.Equal(1, device.Transmit([packet], []));
        frames.Release(frame);
    }

    [Fact]
    public async Task Killed_the_process_leaves_the_interface_as_it_was()
    {
        Assert.DoesNotContain("xdp", Link());
        using Process child = Process.Start(new ProcessStartInfo(Environment.ProcessPath!)
        {
            Environment = { [ChildVariable] = _network.NamespaceA }, RedirectStandardOutput = true,
        })!;
        try
        {
            Assert.Equal("ready", await child.StandardOutput.ReadLineAsync().WaitAsync(TimeSpan.FromSeconds(60)));
            Assert.Contains("xdp", Link());
            using Socket sender = _network.InB(() => TestNetwork.Udp(TestNetwork.AddressB, 0)), echo = _network.InA(() => TestNetwork.Udp(TestNetwork.AddressA, Echo));
            Assert.True(KernelHears(sender, echo));
            child.Kill();
            await child.WaitForExitAsync();
            Assert.True(SpinWait.SpinUntil(() => !Link().Contains("xdp", StringComparison.Ordinal), TimeSpan.FromSeconds(20)), Link());
            Assert.True(KernelHears(sender, echo));
        }
        finally
        {
            child.Kill();
        }

        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        using XdpDevice again = _network.InA(() => XdpDevice.Open(TestNetwork.LinkA, frames, new XdpOptions { ReceiveRingEntries = 64, ReceiveFrameCount = 64 }));
        Assert.Contains("AF_XDP, driver mode", again.Features.Driver);
    }

    [Fact]
    public void A_second_program_a_missing_queue_and_a_missing_interface_are_refused_in_words()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        XdpOptions options = new() { ReceiveRingEntries = 64, ReceiveFrameCount = 64 };
        Assert.Contains("no interface", Assert.Throws<NetworkDeviceException>(() => _network.InA(() => XdpDevice.Open("exo-none", frames, options))).Message);
        Assert.Throws<ArgumentException>(() => XdpDevice.Open("a name/that cannot be", frames, options));
        Assert.Contains("queue 77", Assert.Throws<NetworkDeviceException>(() => _network.InA(() => XdpDevice.Open(TestNetwork.LinkA, frames, options with { Queue = 77 }))).Message);
        using (XdpDevice first = _network.InA(() => XdpDevice.Open(TestNetwork.LinkA, frames, options)))
        {
            Assert.Throws<NetworkDeviceException>(() => _network.InA(() => XdpDevice.Open(TestNetwork.LinkA, frames, options)));
        }

        Assert.Equal(frames.FrameCount, frames.FreeCount);
    }

    // What the test for SIGKILL runs as a process of its own: before any test, and without coming back.
    [ModuleInitializer]
    internal static void Hold()
    {
        if (Environment.GetEnvironmentVariable(ChildVariable) is not { Length: > 0 } space)
        {
            return;
        }

        // On this thread: another would wait for the end of this initializer.
        NetworkNamespace.Enter(space);
        FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        ExoEnvironment root = ExoEnvironment.CreateRoot(frames.Authority);
        PacketFilterTree filters = new(frames.Authority);
        filters.TryInsert(root, ProtocolFilters.EtherType(0x88b5), out _);
        XdpDevice device = XdpDevice.Open(
            TestNetwork.LinkA, frames, new XdpOptions { Mode = XdpMode.Driver, Filters = filters, ReceiveRingEntries = 64, ReceiveFrameCount = 64 });
        Console.WriteLine("ready");
        Thread.Sleep(Timeout.Infinite);
        GC.KeepAlive(device);
    }

    private string Link() => TestNetwork.Ip("-n", _network.NamespaceA, "link", "show", TestNetwork.LinkA);

    // Sent until it is heard: the kernel loses packets when other tests flood it.
    private static bool KernelHears(Socket sender, Socket receiver)
    {
        byte[] buffer = new byte[64];
        for (int attempt = 0; attempt < 20; attempt++)
        {
            sender.SendTo("hello"u8, receiver.LocalEndPoint!);
            if (receiver.Poll(TimeSpan.FromSeconds(1), SelectMode.SelectRead))
            {
                int length = receiver.Receive(buffer);
                while (receiver.Available > 0)
                {
                    receiver.Receive(buffer.AsSpan(32));
                }

                return buffer.AsSpan(0, length).SequenceEqual("hello"u8);
            }
        }

        return false;
    }
}
