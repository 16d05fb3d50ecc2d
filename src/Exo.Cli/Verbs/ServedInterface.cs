// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Core.PacketFilters;
using Exo.Net.Cheetah;

namespace Exo.Cli.Verbs;

/// <summary>An interface that the server's own stack drives, with whatever goes with the device: the environment that has the filters, and the kernel's neighbours where it has the addresses too.</summary>
internal sealed class ServedInterface : IDisposable
{
    private readonly ExoEnvironment owner;
    private readonly KernelNeighbors? neighbors;

    private ServedInterface(NetworkDevice device, NetworkStackOptions network, ExoEnvironment owner, KernelNeighbors? neighbors)
    {
        Device = device;
        Network = network;
        this.owner = owner;
        this.neighbors = neighbors;
    }

    public NetworkDevice Device { get; }

    /// <summary>The stack's settings, completed.</summary>
    public NetworkStackOptions Network { get; }

    /// <summary>
    /// Opens the interface. A TAP is made if there is none, and switched on. Where the kernel has the addresses too, just the ports that are served come up (of XDP, and of packet sockets), and all else is the
    /// kernel's as before; where it has not, the stack has them whole.
    /// </summary>
    public static ServedInterface Open(ServeDevice where, FramePool frames, NetworkStackOptions network, bool isShared)
    {
        ExoEnvironment owner = ExoEnvironment.CreateRoot(frames.Authority);
        NetworkDevice? device = null;
        KernelNeighbors? neighbors = null;
        try
        {
            IPAddress[] addresses = [.. network.Addresses.Select(own => own.Address.ToIPAddress())];
            PacketFilterTree filters = new(frames.Authority);
            switch (where.Kind)
            {
                case "tap":
                    device = TapDevice.Open(where.Name, frames);
                    using (NetworkLink link = NetworkLink.Open(where.Name))
                    {
                        link.IsUp = true;
                    }

                    break;
                case "packet":
                    device = PacketSocketDevice.Open(where.Name, frames, new PacketSocketOptions { TakesHandlers = where.TakesHandlers, Filters = isShared ? filters : null });
                    break;
                default:
                    foreach (PacketFilter filter in isShared ? [] : addresses.SelectMany(ProtocolFilters.Host))
                    {
                        FilterVerdict verdict = filters.TryInsert(owner, filter, out _);
                        Invariant.Check(verdict.IsInstalled);
                    }

                    device = XdpDevice.Open(where.Name, frames, new XdpOptions { Filters = filters });
                    break;
            }

            if (isShared)
            {
                neighbors = KernelNeighbors.Open(where.Name);
                network = network with { Neighbors = neighbors, Ports = new InterfacePorts(device, filters, owner, addresses, areKernels: true).For(owner) };
            }

            return new ServedInterface(device, network, owner, neighbors);
        }
        catch
        {
            neighbors?.Dispose();
            device?.Dispose();
            owner.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        Device.Dispose();
        neighbors?.Dispose();
        owner.Dispose();
    }
}
