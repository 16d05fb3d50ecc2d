// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using Exo.Core.Net;
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Sockets;

namespace Exo.Net.Cheetah.Raw;

/// <summary>
/// One thread, one network stack, many connections: the counterpart of the reactor on sockets. A request runs from the frame it came in to the frames
/// its response leaves from without a copy and without another thread.
/// </summary>
internal sealed partial class RawReactor : IDisposable
{
    private readonly CheetahServerOptions options;
    private readonly DocumentCache cache;
    private readonly NetworkStack stack;
    private readonly NetworkDevice device;
    private readonly RequestLimits limits;
    private readonly Responder responder;
    private readonly RawResponseQueue queue;
    private readonly TimeProvider time;
    private readonly long startTimestamp;
    private readonly DeadlineWheel wheel = new(0);
    private readonly byte[] pathRoom;
    private readonly HashSet<RawConnection> connections = [];
    private readonly TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Thread thread;
    private readonly int port;
    private long nowMs;
    private bool isDraining;
    private long drainDeadlineMs;
    private long acceptedCount, openCount, requestCount, refusedCount, hitCount, timeOutCount, abortedCount;

    public RawReactor(CheetahServerOptions options, DocumentCache cache, NetworkDevice device, NetworkStackOptions network, int port)
    {
        this.options = options;
        this.cache = cache;
        this.device = device;
        this.port = port;
        time = options.Time;
        startTimestamp = time.GetTimestamp();
        limits = new RequestLimits(options.RequestLineBytesMax, options.RequestHeadBytesMax, options.FieldCountMax);
        responder = new Responder(
            BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong))), usesPrebuiltHeads: (network.Without & Ablations.PrebuiltHeads) == 0);
        pathRoom = new byte[options.RequestLineBytesMax + IndexName.Length];
        stack = new NetworkStack(device, network);
        queue = new RawResponseQueue(stack.Tcp);
        stack.Listen(port, this);
        thread = new Thread(Run) { IsBackground = true, Name = "cheetah-raw" };
    }

    /// <summary>Completes when the thread has ended and every connection is closed.</summary>
    public Task Ended => ended.Task;

    internal NetworkStack Stack => stack;

    public void Start() => thread.Start();

    /// <summary>Gives the reactor work; from any thread.</summary>
    public void Post(Action work) => stack.Post(work);

    public CheetahCounters Counters => new()
    {
        ConnectionsAccepted = Volatile.Read(ref acceptedCount),
        ConnectionsOpen = Volatile.Read(ref openCount),
        Requests = Volatile.Read(ref requestCount),
        RequestsRefused = Volatile.Read(ref refusedCount),
        BytesSent = Volatile.Read(ref stack.Tcp.Counters.BytesSent),
        PayloadBytesSent = queue.PayloadBytes,
        PayloadBytesCopied = Volatile.Read(ref stack.Tcp.Counters.BytesCopied),
        CacheHits = Volatile.Read(ref hitCount),
        TimeOuts = Volatile.Read(ref timeOutCount),
        ConnectionsAborted = Volatile.Read(ref abortedCount),
        SystemCalls = device.Counters.SystemCalls,
    };

    /// <summary>One turn: what the thread does again and again, and what a simulation calls itself. Returns packets that came in.</summary>
    internal int Turn()
    {
        SetTime();
        int count = stack.Poll();
        Expire();
        return count;
    }

    private void Run()
    {
        try
        {
            while (!(isDraining && openCount == 0))
            {
                if (Turn() == 0)
                {
                    stack.Wait(TimeSpan.FromMilliseconds(openCount > 0 || isDraining ? DeadlineWheel.TickMs : 1000));
                }
            }

            // What is on its way still leaves: FINs are acknowledged, and their loss is repaired, for a moment.
            for (long endMs = nowMs + 200; nowMs < endMs && stack.ConnectionCount > 0;)
            {
                if (Turn() == 0)
                {
                    stack.Wait(TimeSpan.FromMilliseconds(20));
                }
            }

            ended.TrySetResult();
        }
        catch (NetworkDeviceException failure)
        {
            ended.TrySetException(failure);
        }
    }

    /// <summary>Stops accepting and closes every connection that owes no response.</summary>
    public void BeginDrain(TimeSpan timeout)
    {
        drainDeadlineMs = nowMs + (long)timeout.TotalMilliseconds;
        if (isDraining)
        {
            return;
        }

        isDraining = true;
        stack.StopListening(port);
        foreach (RawConnection connection in connections.ToArray())
        {
            if (connection.Ticket is null && connection.Tcp.QueuedBytes == 0)
            {
                CloseAfterSend(connection);
            }
        }
    }

    /// <summary>After <see cref="Ended"/>.</summary>
    public void Dispose() => stack.Dispose();

    private void SetTime()
    {
        nowMs = (long)time.GetElapsedTime(startTimestamp).TotalMilliseconds;
        responder.SetTime(time.GetUtcNow().ToUnixTimeSeconds());
    }

    private void Expire()
    {
        if (isDraining && nowMs >= drainDeadlineMs && openCount > 0)
        {
            foreach (RawConnection connection in connections.ToArray())
            {
                abortedCount++;
                connection.Tcp.Abort();
            }
        }

        while (wheel.TakeExpired(nowMs) is { } connection)
        {
            OnDeadline((RawConnection)connection);
        }
    }
}
