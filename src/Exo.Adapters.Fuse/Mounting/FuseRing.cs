// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Adapters.Fuse.Session;
using Exo.Core.Linux;

namespace Exo.Adapters.Fuse.Mounting;

/// <summary>
/// A connection's queues over io_uring: one for each processor, whose threads run on that processor, so that a message wakes nobody elsewhere. <c>/dev/fuse</c> stays for what the kernel does not
/// send here (FORGET, INTERRUPT, notifications).
/// <para>
/// Once FUSE_INIT's answer says that rings are wanted, the kernel sends nothing before every queue has an entry. So one ring for each queue is made first (<see cref="TryPrepare"/>), by the thread
/// that will use it, and given to the kernel after (<see cref="Begin"/>); a registration that the kernel refuses makes it use the device.
/// </para>
/// </summary>
#pragma warning disable CA1001 // The two events make no wait handles: there is nothing to dispose of.
internal sealed class FuseRing
#pragma warning restore CA1001
{
    private const int ThreadsMax = 512;

    private readonly FuseCrew[] _crews;

    // Of each queue, whether there is a processor now whose it is.
    private readonly bool[] _isThere;
    private readonly ManualResetEventSlim _begin = new();
    private readonly CountdownEvent _made;
    private int _failures;

    private FuseRing(FuseSession session, FuseNotifications notifications, int connection, int queues, WakeAffinity? affinity, Action<string, Func<FuseWorker?>> startThread)
    {
        _made = new CountdownEvent(queues);
        _crews = new FuseCrew[queues];
        _isThere = new bool[queues];
        for (int i = 0; i < queues; i++)
        {
            int queue = i;
            _crews[i] = new FuseCrew(
                ThreadsMax,
                crew => startThread(
                    string.Create(CultureInfo.InvariantCulture, $"exo-fuse-cpu{queue}"),
                    () => Join(session, crew, notifications, connection, queue, affinity)));
        }
    }

    /// <summary>Starts one thread for each queue and makes its ring. Null where that fails: the threads have gone then.</summary>
    /// <param name="session">What answers.</param>
    /// <param name="notifications">Where what must be told goes.</param>
    /// <param name="connection">The connection's descriptor.</param>
    /// <param name="queuesMax">With more queues than that there is no ring: each has a thread and a message's memory at least, also those of processors that may be plugged in one day.</param>
    /// <param name="affinity">What keeps programs where they are; null: nothing does.</param>
    /// <param name="startThread">Starts a thread of a name; the function makes what it serves, or null to let it go.</param>
    public static FuseRing? TryPrepare(FuseSession session, FuseNotifications notifications, int connection, int queuesMax, WakeAffinity? affinity, Action<string, Func<FuseWorker?>> startThread)
    {
        if (PossibleProcessors() is not { } processors || processors > queuesMax)
        {
            return null;
        }

        FuseRing ring = new(session, notifications, connection, processors, affinity, startThread);
        foreach (FuseCrew crew in ring._crews)
        {
            crew.Start(1);
        }

        ring._made.Wait();
        if (Volatile.Read(ref ring._failures) == 0)
        {
            return ring;
        }

        ring._begin.Set();
        return null;
    }

    /// <summary>FUSE_INIT was answered: the queues are given to the kernel, and get more threads.</summary>
    public void Begin()
    {
        int threadsPerQueue = Math.Clamp(16 / _crews.Length, 2, 4);
        _begin.Set();
        for (int i = 0; i < _crews.Length; i++)
        {
            _crews[i].Start(_isThere[i] ? threadsPerQueue - 1 : 0);
        }
    }

    private FuseRingWorker? Join(FuseSession session, FuseCrew crew, FuseNotifications notifications, int connection, int queue, WakeAffinity? affinity)
    {
        // A processor that is off has a queue, too; its threads run anywhere.
        bool isThere = Libc.RunOn(queue);
        _isThere[queue] = isThere;
        FuseRingWorker? worker = FuseRingWorker.TryCreate(session, crew, notifications, connection, queue, isThere ? affinity : null);
        if (!_begin.IsSet)
        {
            if (worker is null)
            {
                Interlocked.Increment(ref _failures);
            }

            _made.Signal();
            _begin.Wait();
        }

        if (worker is not null && Volatile.Read(ref _failures) > 0)
        {
            worker.Dispose();
            return null;
        }

        worker?.Register();
        return worker;
    }

    private static int? PossibleProcessors()
    {
        // "0-3", "0", "0,2-5": queues are numbered as processors are, up to the last.
        try
        {
            string last = File.ReadAllText("/sys/devices/system/cpu/possible").Trim().Split(',', '-')[^1];
            return int.TryParse(last, NumberStyles.None, CultureInfo.InvariantCulture, out int number) ? number + 1 : null;
        }
        catch (IOException)
        {
            return null;
        }
    }
}
