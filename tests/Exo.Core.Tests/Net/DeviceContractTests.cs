// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Tests;

namespace Exo.Core.Tests.Net;

/// <summary>Packet sockets on both ends of a veth pair.</summary>
public sealed class PacketSocketContractTests : NetworkDeviceContract
{
    protected override DevicePair Open()
    {
        TestNetwork network = new();
        FramePool frames = Pool();
        return new DevicePair(
            frames,
            network.InA(() => PacketSocketDevice.Open(TestNetwork.LinkA, frames)),
            network.InB(() => PacketSocketDevice.Open(TestNetwork.LinkB, frames)),
            network);
    }

    internal static FramePool Pool() => FramePool.Create(new FramePoolOptions { CapacityBytes = 24 << 20 });
}

/// <summary>
/// The same where the sending interface cuts nothing itself: the kernel has to, and the receiver sees what would be on a wire. One end has small rings and looks at
/// its own before it sleeps, the other has none and has packets copied page by page.
/// </summary>
public sealed class PacketSocketOverPlainWireContractTests : NetworkDeviceContract
{
    protected override DevicePair Open()
    {
        TestNetwork network = new();
        FramePool frames = PacketSocketContractTests.Pool();
        foreach ((string space, string name) in ((string, string)[])[(network.NamespaceA, TestNetwork.LinkA), (network.NamespaceB, TestNetwork.LinkB)])
        {
            TestNetwork.In(space, () =>
            {
                using NetworkLink link = NetworkLink.Open(name);
                link.SetTransmitChecksumOffload(false);
                return 0;
            });
        }

        return new DevicePair(
            frames,
            network.InA(() => PacketSocketDevice.Open(
                TestNetwork.LinkA, frames, new PacketSocketOptions { ReceiveRingSlots = 70, TransmitRingSlots = 1, BusyPoll = TimeSpan.FromMicroseconds(100) })),
            network.InB(() => PacketSocketDevice.Open(
                TestNetwork.LinkB, frames, new PacketSocketOptions
                {
                    IsPromiscuous = true, BypassQueueing = false, ReceiveRingSlots = 0, TransmitRingSlots = 0, ContiguousBuffers = false,
                })),
            network);
    }
}

/// <summary>A TAP device, and a packet socket on the kernel's end of it.</summary>
public sealed class TapContractTests : NetworkDeviceContract
{
    protected override DevicePair Open()
    {
        Requires.File("/dev/net/tun");
        TestNetwork network = new();
        FramePool frames = PacketSocketContractTests.Pool();
        TapDevice tap = network.InA(() => TapDevice.Open("exo-t", frames));
        PacketSocketDevice other = network.InA(() =>
        {
            TestNetwork.Ip("-n", network.NamespaceA, "link", "set", "exo-t", "addrgenmode", "none", "up");
            return PacketSocketDevice.Open("exo-t", frames);
        });
        return new DevicePair(frames, tap, other, network);
    }
}

/// <summary>AF_XDP in the drivers of both ends.</summary>
public class XdpDriverContractTests : NetworkDeviceContract
{
    private protected virtual int Queues => 1;

    protected override DevicePair Open()
    {
        TestNetwork network = new(Queues);
        FramePool frames = PacketSocketContractTests.Pool();
        XdpOptions options = new() { Mode = XdpMode.Driver, ReceiveRingEntries = 512, ReceiveFrameCount = 1024 };
        return new DevicePair(
            frames,
            network.InA(() => XdpDevice.Open(TestNetwork.LinkA, frames, options)),
            network.InB(() => XdpDevice.Open(TestNetwork.LinkB, frames, options)),
            network);
    }
}

/// <summary>AF_XDP on interfaces of four queues.</summary>
public sealed class XdpQueuesContractTests : XdpDriverContractTests
{
    private protected override int Queues => 4;
}

/// <summary>AF_XDP in the generic path, and a packet socket at the other end.</summary>
public sealed class XdpGenericContractTests : NetworkDeviceContract
{
    protected override DevicePair Open()
    {
        TestNetwork network = new();
        FramePool frames = PacketSocketContractTests.Pool();
        XdpOptions options = new() { Mode = XdpMode.Generic, ReceiveRingEntries = 512, ReceiveFrameCount = 1024 };
        return new DevicePair(
            frames,
            network.InA(() => XdpDevice.Open(TestNetwork.LinkA, frames, options)),
            network.InB(() => PacketSocketDevice.Open(TestNetwork.LinkB, frames)),
            network);
    }
}
