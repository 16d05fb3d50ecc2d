// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Core.Net;
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Logging;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tcp.Answers;

namespace Exo.Net.Cheetah.Raw;

/// <summary>
/// One thread, one network stack, many connections: the counterpart of the reactor on sockets. A request runs from the frame it came in to the frames
/// its response leaves from without a copy and without another thread.
/// </summary>
internal sealed partial class RawReactor : HttpReactor, ITcpHandler, IDisposable
{
    private readonly NetworkStack stack;
    private readonly NetworkDevice device;
    private readonly RawResponseQueue queue;
    private readonly TimeProvider time;
    private readonly long startTimestamp;
    private readonly List<RawConnection> connections = [];
    private readonly TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Thread thread;
    private readonly IPEndPoint endPoint;
    private bool isDraining;
    private long drainDeadlineMs;
    private long acceptedCount, openCount, timeOutCount, abortedCount, refusedConnectionCount;

    public RawReactor(CheetahServerOptions options, DocumentCache cache, HandlerRoutes handlers, AccessLog? log, NetworkDevice device, NetworkStackOptions network)
        : base(options, cache, handlers, log, usesPrebuiltHeads: (network.Without & Ablations.PrebuiltHeads) == 0)
    {
        this.device = device;
        endPoint = options.EndPoint;
        time = options.Time;
        startTimestamp = time.GetTimestamp();
        stack = new NetworkStack(device, network);
        queue = new RawResponseQueue(stack.Tcp);
        if (device.TakesHandlers && log is null)   // of what a handler answers nothing could be logged
        {
            BeginAnswers(network.Without);
        }

        try
        {
            stack.Listen(endPoint, this, downloadsHandshake: device.TakesHandlers);
        }
        catch (PortRefusedException)
        {
            stack.Dispose();   // its frames are wanted by whoever tries again
            throw;
        }

        thread = new Thread(Run) { IsBackground = true, Name = "cheetah-raw" };
    }

    /// <summary>Completes when the thread has ended and every connection is closed.</summary>
    public Task Ended => ended.Task;

    internal NetworkStack Stack => stack;

    /// <summary>Requests that the kernel answered for this reactor.</summary>
    internal long AnsweredElsewhere => Answered.Requests;

    protected override bool ClosesAll => isDraining;

    protected override ResponseQueue Responses => queue;

    public void Start() => thread.Start();

    /// <summary>Gives the reactor work; from any thread.</summary>
    public void Post(Action work) => stack.Post(work);

    public override ConnectionStates CountConnections()
    {
        ConnectionStates states = default;
        foreach (RawConnection connection in connections)
        {
            states = states.And(connection.DeadlineKind);
        }

        return states;
    }

    public CheetahCounters Counters
    {
        get
        {
            AnsweredCounts answered = Answered;
            NetworkDeviceCounters ofDevice = device.Counters;
            return new CheetahCounters
            {
                ConnectionsAccepted = Volatile.Read(ref acceptedCount) + answered.Connections,
                ConnectionsRefused = Volatile.Read(ref refusedConnectionCount),
                ConnectionsOpen = Volatile.Read(ref openCount),
                Requests = RequestCount + answered.Requests,
                RequestsRefused = RefusedCount,
                RequestsHandled = HandledCount,
                HandlerFailures = HandlerFailureCount,
                BytesSent = Volatile.Read(ref stack.Tcp.Counters.BytesSent) + answered.Bytes,
                PayloadBytesSent = queue.PayloadBytes + answered.BodyBytes,
                PayloadBytesCopied = Volatile.Read(ref stack.Tcp.Counters.BytesCopied),
                CacheHits = HitCount + answered.Requests,
                TimeOuts = Volatile.Read(ref timeOutCount),
                ConnectionsAborted = Volatile.Read(ref abortedCount),
                PacketBytesCopied = ofDevice.TransmitCopiedBytes,
                AnswerBytesCopied = Volatile.Read(ref answerBytesWritten) + answered.Bytes,
                SystemCalls = ofDevice.SystemCalls,
            };
        }
    }

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
                    stack.Wait(TimeSpan.FromMilliseconds(openCount > 0 || isDraining ? Math.Min(DeadlineWheel.TickMs, UntilNextDateMs) : Math.Min(1000, UntilNextDateMs)));
                }
            }

            // What is on its way still leaves: FINs are acknowledged, and their loss is repaired, for a moment.
            for (long endMs = NowMs + 200; NowMs < endMs && stack.ConnectionCount > 0;)
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
        drainDeadlineMs = NowMs + (long)timeout.TotalMilliseconds;
        if (isDraining || ended.Task.IsCompleted)   // without its device it has nothing to drain, and may be disposed of already
        {
            return;
        }

        isDraining = true;
        answers?.Withdraw();
        stack.StopListening(endPoint);
        foreach (RawConnection connection in connections.ToArray())
        {
            // What is queued leaves in front of the FIN, acknowledged or not.
            if (connection is { Ticket: null, Flow: null, WaitsForRoom: false })
            {
                CloseAfterSend(connection);
            }
        }
    }

    /// <summary>After <see cref="Ended"/>.</summary>
    public void Dispose()
    {
        EndAnswers();
        stack.Dispose();
    }

    private void SetTime()
    {
        NowMs = (long)time.GetElapsedTime(startTimestamp).TotalMilliseconds;
        long unixMs = time.GetUtcNow().ToUnixTimeMilliseconds();
        Responder.SetTime(unixMs / 1000);
        SetAnswersTime(unixMs);
    }

    private void Expire()
    {
        if (isDraining && NowMs >= drainDeadlineMs && openCount > 0)
        {
            foreach (RawConnection connection in connections.ToArray())
            {
                abortedCount++;
                connection.Tcp.Abort();
            }
        }

        while (Wheel.TakeExpired(NowMs) is { } connection)
        {
            OnDeadline((RawConnection)connection);
        }
    }
}
