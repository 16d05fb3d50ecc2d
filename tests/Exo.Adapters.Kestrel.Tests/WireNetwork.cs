// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Pipes;
using Exo.Simulation.Net;

namespace Exo.Adapters.Kestrel.Tests;

/// <summary>A simulated wire: the clients are a stack of ours too, so no rights are needed.</summary>
internal sealed class WireNetwork : ITestNetwork
{
    private readonly SimulatedWire wire;
    private readonly NetworkStack clients;
    private readonly CancellationTokenSource ending = new();
    private readonly Thread polling;

    public WireNetwork()
    {
        Frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 256 << 20 });
        (wire, SimulatedNetworkDevice clientSide, SimulatedNetworkDevice serverSide) = SimulatedWire.CreatePair(Frames, Frames);
        Device = serverSide;
        clients = new NetworkStack(clientSide, new NetworkStackOptions { Addresses = [InterfaceAddress.Parse("10.9.0.1/24"), InterfaceAddress.Parse("fd09::1/64")] });
        polling = new Thread(() => clients.Run(ending.Token));
        polling.Start();
    }

    public NetworkDevice Device { get; set; }

    public WireImpairments Impairments
    {
        set => wire.Impairments = value;
    }

    public NetworkStackOptions Options { get; } = new() { Addresses = [InterfaceAddress.Parse("10.9.0.2/24"), InterfaceAddress.Parse("10.9.0.3/24"), InterfaceAddress.Parse("fd09::2/64")] };

    public FramePool Frames { get; }

    public async Task<ClientStream> ConnectAsync(IPEndPoint server, CancellationToken cancellationToken)
    {
        TcpPipeConnection connection = await TcpPipeConnection.ConnectAsync(clients, server, cancellationToken);
        return new ClientStream(connection.Input.AsStream(), connection.Output.AsStream(), () => connection.Abort(), connection.DisposeAsync);
    }

    public async ValueTask DisposeAsync()
    {
        await ending.CancelAsync();
        polling.Join();
        clients.Dispose();
        wire.Dispose();
        ending.Dispose();
        int taken = Frames.FrameCount - Frames.FreeCount;
        Frames.Dispose();
        Assert.Equal(0, taken);
    }
}
