// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using Exo.Core.Net;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Tcp;

namespace Exo.Net.Cheetah.Tests.Kernel;

/// <summary>A stack at 10.9.0.2 and fd09::2, polled on a thread of its own until disposed.</summary>
internal sealed class Polled : IDisposable
{
    public static NetworkStackOptions Options => new() { Addresses = [InterfaceAddress.Parse("10.9.0.2/24"), InterfaceAddress.Parse("fd09::2/64")] };

    private readonly CancellationTokenSource ending = new();
    private readonly Thread thread;
    private Exception? failure;

    public Polled(NetworkDevice device, Action<NetworkStack> begin, NetworkStackOptions? options = null)
    {
        Stack = new NetworkStack(device, options ?? Options);
        begin(Stack);
        thread = new Thread(() =>
        {
            try
            {
                Stack.Run(ending.Token);
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        thread.Start();
    }

    /// <summary>A stack that has a connection to the kernel, or is about to.</summary>
    /// <param name="device">The stack's.</param>
    /// <param name="own">Its side of the connection.</param>
    /// <param name="socket">The kernel's.</param>
    /// <param name="kernelAt">The kernel's address.</param>
    /// <param name="ownAt">The stack's.</param>
    /// <param name="kernelAccepts">The stack connects; else the kernel does, to port 80.</param>
    /// <param name="options">The stack's.</param>
    /// <param name="peer">The kernel's side of the connection.</param>
    public static Polled Meet(
        NetworkDevice device, ITcpHandler own, Socket socket, IPAddress kernelAt, IPAddress ownAt, bool kernelAccepts, NetworkStackOptions options, out Socket peer)
    {
        if (!kernelAccepts)
        {
            Polled listening = new(device, stack => stack.Listen(80, own), options);
            socket.Connect(ownAt, 80);
            peer = socket;
            return listening;
        }

        socket.Bind(new IPEndPoint(kernelAt, 0));
        socket.Listen();
        Polled connecting = new(device, stack => stack.Connect((IPEndPoint)socket.LocalEndPoint!, own), options);
        peer = socket.Accept();
        return connecting;
    }

    public NetworkStack Stack { get; }

    public void Dispose()
    {
        ending.Cancel();
        thread.Join();
        Stack.Dispose();
        ending.Dispose();
        Assert.Null(failure);
    }
}
