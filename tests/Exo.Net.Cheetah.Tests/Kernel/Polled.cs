// SPDX-License-Identifier: MIT
using Exo.Core.Net;
using Exo.Net.Cheetah.Ip;

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
