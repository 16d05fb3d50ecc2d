// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Core.Memory;
using Exo.Net.Cheetah;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Pipes;
using Exo.Simulation.Net;

namespace ExOS.Network;

/// <summary>
/// The network within the system: two of Cheetah's TCP stacks at the ends of a wire in memory, each polled by a thread of its own. Servers listen at one end, clients connect from the other; every byte goes as TCP segments in
/// frames of the system's pool. It is there from the first socket on.
/// </summary>
internal sealed class LoopbackNetwork(FramePool frames) : IDisposable
{
    private static readonly IPAddress s_server = IPAddress.Parse("10.0.0.1");
    private readonly Lock _lock = new();
    private readonly CancellationTokenSource _ending = new();
    private SimulatedWire? _wire;
    private NetworkStack? _servers;
    private NetworkStack? _clients;
    private Thread[] _threads = [];

    /// <summary>Listens at a port.</summary>
    /// <exception cref="ExosException">AddressInUse; Invalid: no port.</exception>
    public async ValueTask<TcpPipeListener> ListenAsync(int port)
    {
        if (port is < 1 or > 65535)
        {
            throw new ExosException(Errno.Invalid);
        }

        Start();
        try
        {
            return await TcpPipeListener.StartAsync(_servers!, port);
        }
        catch (InvalidOperationException)
        {
            throw new ExosException(Errno.AddressInUse);
        }
    }

    /// <summary>Connects to a port that somebody listens at.</summary>
    /// <exception cref="ExosException">ConnectionRefused; NotFound: there is no such host; Invalid: no port.</exception>
    /// <exception cref="OperationCanceledException">A signal came first.</exception>
    public async ValueTask<TcpPipeConnection> ConnectAsync(string host, int port, CancellationToken interruption)
    {
        if (port is < 1 or > 65535)
        {
            throw new ExosException(Errno.Invalid);
        }

        if (host != "localhost" && !(IPAddress.TryParse(host, out IPAddress? address) && address.Equals(s_server)))
        {
            throw new ExosException(Errno.NotFound, host);
        }

        Start();
        try
        {
            return await TcpPipeConnection.ConnectAsync(_clients!, new IPEndPoint(s_server, port), interruption);
        }
        catch (TcpConnectionException)
        {
            throw new ExosException(Errno.ConnectionRefused);
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            _ending.Cancel();
            foreach (Thread thread in _threads)
            {
                thread.Join();
            }

            _servers?.Dispose();
            _clients?.Dispose();
            _wire?.Dispose();
            _ending.Dispose();
        }
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
            _threads = [Poll(_servers), Poll(_clients)];
        }
    }

    private Thread Poll(NetworkStack stack)
    {
        Thread thread = new(() => stack.Run(_ending.Token)) { IsBackground = true, Name = "exos-net" };
        thread.Start();
        return thread;
    }
}
