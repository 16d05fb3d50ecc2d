// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Tests.Kernel;

namespace Exo.Adapters.Kestrel.Tests;

/// <summary>A TAP in a namespace: the clients are the kernel's TCP.</summary>
internal sealed class TapNetwork : ITestNetwork
{
    private readonly KernelNetwork network = new();

    public NetworkDevice Device => network.Device;

    public NetworkStackOptions Options { get; } = new() { Addresses = [InterfaceAddress.Parse("10.9.0.2/24"), InterfaceAddress.Parse("10.9.0.3/24"), InterfaceAddress.Parse("fd09::2/64")] };

    public FramePool Frames => network.Frames;

    public async Task<ClientStream> ConnectAsync(IPEndPoint server, CancellationToken cancellationToken)
    {
        Socket socket = network.In(() => new Socket(server.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true });
        try
        {
            await socket.ConnectAsync(server, cancellationToken);
        }
        catch
        {
            socket.Dispose();
            throw;
        }

        NetworkStream stream = new(socket, ownsSocket: true);
        return new ClientStream(stream, stream, () => socket.Close(0), stream.DisposeAsync);
    }

    public ValueTask DisposeAsync()
    {
        network.Dispose();
        return ValueTask.CompletedTask;
    }
}
