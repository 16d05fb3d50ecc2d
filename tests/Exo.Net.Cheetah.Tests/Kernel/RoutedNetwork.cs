// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Tests;

namespace Exo.Net.Cheetah.Tests.Kernel;

/// <summary>
/// A device for a stack of ours and the kernel's TCP, three links apart; the routers are kernels in namespaces of their own. Gone when disposed.
/// <code>
///   10.9.0.2, fd09::2          10.9.0.1, fd09::1          10.8.0.2, fd08::2          10.7.0.2, fd07::2
///   device = exo-v --- a0 = router = a1 --- the middle link --- b0 = router = b1 --- exo-k = the kernel's TCP
/// </code>
/// </summary>
internal sealed class RoutedNetwork : IDisposable
{
    private readonly List<NetworkNamespace> spaces = [];

    public RoutedNetwork()
    {
        Requires.Root();
        Requires.Program("ip");
        Requires.Program("sysctl");
        Frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        try
        {
            for (int i = 0; i < 4; i++)
            {
                spaces.Add(new NetworkNamespace());
            }

            NetworkNamespace own = spaces[0];
            own.Ip($"link add exo-v type veth peer name a0 netns {NearRouter.Name}");
            NearRouter.Ip($"link add a1 type veth peer name b0 netns {FarRouter.Name}");
            FarRouter.Ip($"link add b1 type veth peer name exo-k netns {Kernel.Name}");
            own.Ip("link set exo-v addrgenmode none up");
            Address(NearRouter, "a0", "10.9.0.1/24", "fd09::1/64");
            Address(NearRouter, "a1", "10.8.0.1/24", "fd08::1/64");
            Address(FarRouter, "b0", "10.8.0.2/24", "fd08::2/64");
            Address(FarRouter, "b1", "10.7.0.1/24", "fd07::1/64");
            Address(Kernel, "exo-k", "10.7.0.2/24", "fd07::2/64");
            Gateway(NearRouter, "10.8.0.2", "fd08::2");
            Gateway(FarRouter, "10.8.0.1", "fd08::1");
            Gateway(Kernel, "10.7.0.1", "fd07::1");
            foreach (NetworkNamespace router in (NetworkNamespace[])[NearRouter, FarRouter])
            {
                router.Run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0");
            }

            Device = own.In(() => PacketSocketDevice.Open("exo-v", Frames));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public FramePool Frames { get; }

    public NetworkDevice Device { get; } = null!;

    public NetworkNamespace NearRouter => spaces[1];

    public NetworkNamespace FarRouter => spaces[2];

    /// <summary>Where the kernel's TCP is.</summary>
    public NetworkNamespace Kernel => spaces[3];

    /// <summary>Makes the middle link smaller at both ends: the routers say so.</summary>
    public void ShrinkMiddle(int mtuBytes)
    {
        NearRouter.Ip($"link set a1 mtu {mtuBytes}");
        FarRouter.Ip($"link set b0 mtu {mtuBytes}");
    }

    /// <summary>Makes the middle link smaller at its far end only: what is too large from here is swallowed there without a word.</summary>
    public void ShrinkMiddleSilently(int mtuBytes) => FarRouter.Ip($"link set b0 mtu {mtuBytes}");

    public void Dispose()
    {
        Device?.Dispose();
        foreach (NetworkNamespace space in spaces)
        {
            space.Dispose();
        }

        Frames.Dispose();
    }

    private static void Address(NetworkNamespace space, string link, string v4, string v6)
    {
        space.Ip($"addr add {v4} dev {link}");
        space.Ip($"addr add {v6} dev {link} nodad");
        space.Ip($"link set {link} up");
    }

    private static void Gateway(NetworkNamespace space, string v4, string v6)
    {
        space.Ip($"route add default via {v4}");
        space.Ip($"-6 route add default via {v6}");
    }
}
