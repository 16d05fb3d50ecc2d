// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Tests;

namespace Exo.Net.Cheetah.Tests.Kernel;

/// <summary>
/// A network namespace of its own with a TAP in it, or a veth pair, for a packet socket or AF_XDP: the kernel's TCP at 10.9.0.1 and fd09::1, and a device for a stack of ours at the other end. Gone when
/// disposed.
/// </summary>
internal sealed class KernelNetwork : IDisposable
{
    private readonly NetworkNamespace space;

    public KernelNetwork(bool superPackets = true, bool overVeth = false, bool takesHandlers = false, int? transmitRingSlots = null, XdpMode? xdp = null)
    {
        Requires.Root();
        Requires.Program("ip");
        Requires.File("/dev/net/tun");
        Frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        space = new NetworkNamespace();
        try
        {
            if (overVeth || xdp is not null)
            {
                space.Ip("link add exo-tap type veth peer name exo-v");
                space.Ip("link set exo-v addrgenmode none up");
                Device = In<NetworkDevice>(() =>
                {
                    if (xdp is not { } mode)
                    {
                        PacketSocketOptions options = new() { TakesHandlers = takesHandlers };
                        return PacketSocketDevice.Open("exo-v", Frames, transmitRingSlots is { } slots ? options with { TransmitRingSlots = slots } : options);
                    }

                    // AF_XDP is not told of checksums that a virtual peer has left open.
                    using NetworkLink peer = NetworkLink.Open("exo-tap");
                    peer.SetTransmitChecksumOffload(false);
                    return XdpDevice.Open("exo-v", Frames, new XdpOptions { Mode = mode });
                });
            }
            else
            {
                Device = In(() => TapDevice.Open("exo-tap", Frames, new TapOptions { ReceiveSuperPackets = superPackets }));
            }

            space.Ip("link set lo up");
            space.Ip("addr add 10.9.0.1/24 dev exo-tap");
            space.Ip("addr add fd09::1/64 dev exo-tap nodad");
            space.Ip("link set exo-tap up");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public FramePool Frames { get; }

    public NetworkDevice Device { get; } = null!;

    /// <summary>Runs something on a thread that lives in the namespace; sockets made there stay there.</summary>
    public T In<T>(Func<T> action) => space.In(action);

    /// <summary>Runs a program in the namespace; its output.</summary>
    public byte[] Run(string program, params string[] arguments) => space.Run(program, arguments);

    public void Dispose()
    {
        Device?.Dispose();
        space.Dispose();
        Frames.Dispose();
    }
}
