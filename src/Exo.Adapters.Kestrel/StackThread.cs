// SPDX-License-Identifier: MIT
using Exo.Core.Net;
using Exo.Net.Cheetah;
using Microsoft.Extensions.Logging;

namespace Exo.Adapters.Kestrel;

/// <summary>
/// A network stack and the thread that polls it. Everything of the stack happens on that thread; what others want of it they post. When the device fails the thread ends, and with it every connection.
/// </summary>
internal sealed partial class StackThread : IAsyncDisposable
{
    private readonly NetworkDevice device;
    private readonly TimeProvider time;
    private readonly TimeSpan lingerTime;
    private readonly ILogger logger;
    private readonly CancellationTokenSource stopping = new();
    private readonly TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public StackThread(NetworkDevice device, NetworkStackOptions network, TimeSpan lingerTime, ILogger logger)
    {
        this.device = device;
        this.lingerTime = lingerTime;
        this.logger = logger;
        time = network.Time;
        Stack = new NetworkStack(device, network);
        new Thread(Run) { IsBackground = true, Name = "exo-transport" }.Start();
    }

    public NetworkStack Stack { get; }

    /// <summary>Completes when the thread has ended; with the exception of a device that failed.</summary>
    public Task Ended => ended.Task;

    public async ValueTask DisposeAsync()
    {
        await stopping.CancelAsync().ConfigureAwait(false);
        await ended.Task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        stopping.Dispose();
    }

    private void Run()
    {
        Exception? failure = null;
        try
        {
            Stack.Run(stopping.Token);
            Linger();
        }
        catch (Exception gone) when (gone is NetworkDeviceException or ObjectDisposedException)
        {
            failure = gone;
            LogDeviceFailed(logger, device.Name, gone);
        }

        try
        {
            Stack.Dispose();
        }
        catch (Exception gone) when (gone is NetworkDeviceException or ObjectDisposedException)
        {
            LogDeviceFailed(logger, device.Name, gone);
        }

        if (failure is null)
        {
            ended.SetResult();
        }
        else
        {
            ended.SetException(failure);
        }
    }

    private void Linger()
    {
        long start = time.GetTimestamp();
        while (Stack.ConnectionCount > 0 && time.GetElapsedTime(start) < lingerTime)
        {
            if (Stack.Poll() == 0)
            {
                Stack.Wait(TimeSpan.FromMilliseconds(10));
            }
        }
    }

    [LoggerMessage(1, LogLevel.Critical, "The network device {Device} has failed; all of its connections are closed.")]
    private static partial void LogDeviceFailed(ILogger logger, string device, Exception failure);
}
