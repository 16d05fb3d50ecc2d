// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Tests.Kernel;

namespace Exo.Adapters.Kestrel.Tests;

/// <summary>A veth pair in a namespace: the server has one end by a packet socket or AF_XDP, the kernel's TCP the other.</summary>
internal sealed class VethNetwork : ITestNetwork
{
    private readonly KernelNetwork network = new();

    public VethNetwork(bool isXdp)
    {
        try
        {
            network.Run("ip", "addr", "flush", "dev", "exo-tap");
            network.Run("ip", "link", "add", "exo-server", "type", "veth", "peer", "name", "exo-client");
            network.Run("ip", "addr", "add", "10.9.0.1/24", "dev", "exo-client");
            network.Run("ip", "link", "set", "exo-server", "addrgenmode", "none", "up");
            network.Run("ip", "link", "set", "exo-client", "up");
            Device = network.In(() =>
            {
                if (!isXdp)
                {
                    return (NetworkDevice)PacketSocketDevice.Open("exo-server", network.Frames);
                }

                using NetworkLink client = NetworkLink.Open("exo-client");
                client.SetTransmitChecksumOffload(false);
                return XdpDevice.Open("exo-server", network.Frames);
            });
        }
        catch
        {
            network.Dispose();
            throw;
        }
    }

    public NetworkDevice Device { get; }

    public NetworkStackOptions Options { get; } = new() { Addresses = [InterfaceAddress.Parse("10.9.0.2/24")] };

    public FramePool Frames => network.Frames;

    public async Task<ClientStream> ConnectAsync(IPEndPoint server, CancellationToken cancellationToken)
    {
        Socket socket = network.In(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true });
        await socket.ConnectAsync(server, cancellationToken);
        NetworkStream stream = new(socket, ownsSocket: true);
        return new ClientStream(stream, stream, () => socket.Close(0), stream.DisposeAsync);
    }

    public ValueTask DisposeAsync()
    {
        Device.Dispose();
        network.Dispose();
        return ValueTask.CompletedTask;
    }
}
