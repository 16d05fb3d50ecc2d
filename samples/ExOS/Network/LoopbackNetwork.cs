// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Core.Memory;
using Exo.Net.Cheetah;
using Exo.Net.Cheetah.Ip;
using Exo.Simulation.Net;

namespace ExOS.Network;

/// <summary>
/// The network within the system: two stacks at the ends of a wire in memory. Servers listen at one end, clients connect from the other; every byte goes as TCP segments in
/// frames of the system's pool. It is there from the first socket on.
/// </summary>
internal sealed class LoopbackNetwork(FramePool frames) : ExosNetwork
{
    private static readonly IPAddress s_server = IPAddress.Parse("10.0.0.1");
    private readonly Lock _lock = new();
    private SimulatedWire? _wire;
    private NetworkStack? _servers;
    private NetworkStack? _clients;

    protected override NetworkStack Servers()
    {
        Start();
        return _servers!;
    }

    protected override NetworkStack Clients()
    {
        Start();
        return _clients!;
    }

    protected override IPAddress? Find(string host) =>
        host == "localhost" || (IPAddress.TryParse(host, out IPAddress? address) && address.Equals(s_server)) ? s_server : null;

    protected override void Close()
    {
        _servers?.Dispose();
        _clients?.Dispose();
        _wire?.Dispose();
    }

    private void Start()
    {
        lock (_lock)
        {
            if (_wire is not null)
            {
                return;
            }

            (_wire, SimulatedNetworkDevice near, SimulatedNetworkDevice far) = SimulatedWire.CreatePair(frames, frames, new SimulatedDeviceOptions { ReceiveSuperPackets = true });
            _servers = new NetworkStack(near, new NetworkStackOptions { Addresses = [InterfaceAddress.Parse("10.0.0.1/24")] });
            _clients = new NetworkStack(far, new NetworkStackOptions { Addresses = [InterfaceAddress.Parse("10.0.0.2/24")] });
            Poll(_servers);
            Poll(_clients);
        }
    }
}
