// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using Exo.Core.Linux;
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Logging;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Sockets;

/// <summary>
/// One thread, one epoll set, many connections; everything a request needs runs to its end here.
/// <code>
/// epoll_wait ─> accept ─> new connections
///            ─> event ──> receive ─> parse ─> cache hit ─> queue ┐ ... more requests ...
///            │                          └──> miss: the source's answer comes back as a message
///            │                                                   └─> one sendmsg for all that is queued
///            ─> wake ───> messages of other threads
/// every tick ─> deadlines
/// </code>
/// Connections are edge-triggered and registered once for both directions, so a request costs no epoll_ctl. The listening
/// socket is level-triggered.
/// </summary>
internal sealed unsafe partial class Reactor : HttpReactor
{
    private const ulong ListenerData = ulong.MaxValue;
    private const ulong WakeData = ulong.MaxValue - 1;
    private const int EventsMax = 256;
    private const int AcceptsPerEventMax = 64;

    private readonly TimeProvider time;
    private readonly long startTimestamp;
    private readonly ConcurrentQueue<ReactorMessage> messages = new();
    private readonly TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Thread thread;

    private readonly byte[] events = GC.AllocateUninitializedArray<byte>(EventsMax * 16, pinned: true);
    private readonly byte[] received;
    private readonly IoVector[] vectors = GC.AllocateUninitializedArray<IoVector>(SendQueue.VectorsMax, pinned: true);
    private readonly int storedBytes;   // of a buffer for a request without its body
    private readonly Stack<byte[]> spareBuffers = new();
    private readonly Stack<byte[]> spareBodyBuffers = new();
    private readonly Stack<SendQueue> spareQueues = new();
    private readonly Stack<SendQueue> spareSmallQueues = new();
    private readonly Queue<Connection> ready = new();
    private readonly List<Connection> connections = [];
    private readonly Stack<Connection> free = new();

    private readonly int epoll;
    private readonly int wake;
    private readonly bool asksWhoConnects;
    private int listener;
    private bool isListening;
    private int wakePending;
    private SendQueue queue = new(SendQueue.FullScratchBytes, SendQueue.FullItemsMax);
    private bool isDraining;
    private long drainDeadlineMs;

    // Written by the reactor's thread, read by any; torn reads cannot happen on 64-bit machines.
    private SendTally sends;
    private long acceptedCount, openCount, timeOutCount, abortedCount, callCount;

    public Reactor(CheetahServerOptions options, DocumentCache cache, HandlerRoutes handlers, AccessLog? log, int listener, int index)
        : base(options, cache, handlers, log)
    {
        this.listener = listener;
        asksWhoConnects = log is not null;
        time = options.Time;
        startTimestamp = time.GetTimestamp();
        storedBytes = Math.Max(16384, options.RequestHeadBytesMax);
        received = GC.AllocateUninitializedArray<byte>(Math.Max(storedBytes, RequestBytesMax(options, handlers)), pinned: true);
        epoll = Libc.EpollCreate(Libc.EpollCreateCloseOnExec);
        wake = Libc.EventFile(0, Libc.EventFdNonBlocking | Libc.EventFdCloseOnExec);
        Invariant.Check(epoll >= 0 && wake >= 0);
        Invariant.Check(Libc.EpollAdd(epoll, wake, Libc.EpollIn, WakeData) == 0);
        SetListening(true);
        thread = new Thread(Run) { IsBackground = true, Name = $"cheetah-{index}" };
    }

    /// <summary>Completes when the thread has ended and every descriptor is closed.</summary>
    public Task Ended => ended.Task;

    public void Start() => thread.Start();

    /// <summary>The reactor accepts no more and is on its way to its end.</summary>
    public bool IsDraining => Volatile.Read(ref isDraining);

    protected override bool ClosesAll => isDraining;

    protected override ResponseQueue Responses => queue;

    /// <summary>Gives the reactor work; from any thread. Wakes it at most once per batch.</summary>
    public void Post(ReactorMessage message)
    {
        messages.Enqueue(message);
        if (Interlocked.Exchange(ref wakePending, 1) == 0)
        {
            ulong one = 1;
            _ = Libc.Write(wake, &one, sizeof(ulong));
        }
    }

    public override ConnectionStates CountConnections()
    {
        ConnectionStates states = default;
        foreach (Connection connection in connections)
        {
            states = connection.Socket >= 0 ? states.And(connection.DeadlineKind) : states;
        }

        return states;
    }

    /// <summary>This reactor's share of the counters.</summary>
    public CheetahCounters Counters => new()
    {
        ConnectionsAccepted = Volatile.Read(ref acceptedCount),
        ConnectionsOpen = Volatile.Read(ref openCount),
        Requests = RequestCount,
        RequestsRefused = RefusedCount,
        RequestsHandled = HandledCount,
        HandlerFailures = HandlerFailureCount,
        BytesSent = Volatile.Read(ref sends.Bytes),
        PayloadBytesSent = Volatile.Read(ref sends.PayloadBytes),
        CacheHits = HitCount,
        TimeOuts = Volatile.Read(ref timeOutCount),
        ConnectionsAborted = Volatile.Read(ref abortedCount),
        SystemCalls = Volatile.Read(ref callCount) + Volatile.Read(ref sends.Calls),
    };

    private void Run()
    {
        fixed (byte* buffer = events)
        {
            while (!(isDraining && openCount == 0))
            {
                int timeoutMs = ready.Count > 0 ? 0 : openCount > 0 || !isListening ? DeadlineWheel.TickMs : -1;
                callCount++;
                int count = Libc.EpollWait(epoll, buffer, EventsMax, timeoutMs);
                SetTime();
                for (int i = 0; i < count; i++)
                {
                    (uint mask, ulong data) = Libc.ReadEpollEvent(buffer, i);
                    Dispatch(mask, data);
                }

                for (int rest = ready.Count; rest > 0; rest--)
                {
                    Connection connection = ready.Dequeue();
                    connection.IsReady = false;
                    if (connection.Socket >= 0)
                    {
                        Serve(connection);
                    }
                }

                Expire();
            }
        }

        End();
    }

    private void Dispatch(uint mask, ulong data)
    {
        if (data == ListenerData)
        {
            Accept();
        }
        else if (data == WakeData)
        {
            TakeMessages();
        }
        else
        {
            // An event may speak of a connection that an earlier event of the same batch closed.
            Connection connection = connections[(int)(uint)data];
            if (connection.Socket >= 0 && connection.Generation == (uint)(data >> 32))
            {
                connection.HangUpSeen |= (mask & (Libc.EpollReadHangUp | Libc.EpollHangUp | Libc.EpollError)) != 0;
                Serve(connection);
            }
        }
    }

    private void SetTime()
    {
        NowMs = (long)time.GetElapsedTime(startTimestamp).TotalMilliseconds;
        Responder.SetTime(time.GetUtcNow().ToUnixTimeSeconds());
    }

    private void TakeMessages()
    {
        ulong count;
        _ = Libc.Read(wake, &count, sizeof(ulong));
        Volatile.Write(ref wakePending, 0);
        Interlocked.MemoryBarrier();   // whoever enqueues after this sees 0 and wakes again
        while (messages.TryDequeue(out ReactorMessage? message))
        {
            message.Run(this);
        }
    }

    private void Accept()
    {
        byte* address = stackalloc byte[ListeningSocket.AddressBytesMax];
        for (int i = 0; i < AcceptsPerEventMax && isListening; i++)
        {
            if (openCount >= Options.ConnectionsMax)
            {
                SetListening(false);
                return;
            }

            callCount++;
            uint addressBytes = ListeningSocket.AddressBytesMax;
            int socket = Libc.Accept(listener, asksWhoConnects ? address : null, asksWhoConnects ? &addressBytes : null, Libc.SocketNonBlocking | Libc.SocketCloseOnExec);
            if (socket < 0)
            {
                int errno = Errno.Last;
                if (errno is Libc.ErrnoTooManyFiles or Libc.ErrnoFileTableFull or Libc.ErrnoNoBuffers or Errno.ENOMEM)
                {
                    SetListening(false);   // or the level-triggered event would spin; tried again at the next tick
                }

                if (errno == Errno.EAGAIN || !isListening)
                {
                    return;
                }

                continue;   // a client that gave up meanwhile, or a network error passed on by accept(2)
            }

            Open(socket, asksWhoConnects ? ListeningSocket.AddressIn(address) : default);
        }
    }

    private void Open(int socket, InternetAddress remote)
    {
        if (!free.TryPop(out Connection? connection))
        {
            connection = new Connection(connections.Count);
            connections.Add(connection);
        }

        connection.Generation++;
        connection.Reset(socket, remote);
        const uint Interest = Libc.EpollIn | Libc.EpollOut | Libc.EpollReadHangUp | Libc.EpollEdgeTriggered;
        if (Libc.EpollAdd(epoll, socket, Interest, (uint)connection.Slot | ((ulong)connection.Generation << 32)) != 0)
        {
            _ = Libc.Close(socket);
            connection.Socket = -1;
            free.Push(connection);
            return;
        }

        acceptedCount++;
        openCount++;
        SetDeadline(connection, DeadlineKind.Idle, Options.IdleTimeout);
    }

    private void SetListening(bool on)
    {
        if (on != isListening && listener >= 0)
        {
            byte* unused = stackalloc byte[16];
            int result = on
                ? Libc.EpollAdd(epoll, listener, Libc.EpollIn, ListenerData)
                : Libc.EpollControl(epoll, Libc.EpollControlDelete, listener, unused);
            Invariant.Check(result == 0);
            isListening = on;
        }
    }

    /// <summary>Stops accepting and closes every connection that owes no response.</summary>
    public void BeginDrain(TimeSpan timeout)
    {
        drainDeadlineMs = NowMs + (long)timeout.TotalMilliseconds;
        if (isDraining)
        {
            return;
        }

        isDraining = true;
        CloseListener();
        foreach (Connection connection in connections)
        {
            if (connection.Socket >= 0)
            {
                Serve(connection);   // what has arrived already is still answered
            }
        }
    }

    private void CloseListener()
    {
        SetListening(false);
        if (listener >= 0)
        {
            _ = Libc.Close(listener);
            listener = -1;
        }
    }

    private void End()
    {
        Invariant.Check(openCount == 0);
        _ = Libc.Close(epoll);
        while (messages.TryDequeue(out ReactorMessage? message))
        {
            message.Run(this);
        }

        // The eventfd stays open until the object goes: a late answer of a source may still be posted. See Dispose.
        ended.SetResult();
    }

    /// <summary>After <see cref="Ended"/>, when no lookup can come back any more.</summary>
    public void Dispose()
    {
        while (messages.TryDequeue(out ReactorMessage? message))
        {
            message.Run(this);
        }

        _ = Libc.Close(wake);
    }
}
