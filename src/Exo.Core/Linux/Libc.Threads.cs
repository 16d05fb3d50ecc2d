// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.Linux;

/// <summary>Where threads run, and for how long.</summary>
internal static unsafe partial class Libc
{
    /// <summary>Processors that a mask below has room for.</summary>
    private const int ProcessorsMax = 4096;

    /// <summary>Lets the calling thread run on one processor only. False where that is not possible (the processor is off, or not for this process).</summary>
    public static bool RunOn(int processor)
    {
        if ((uint)processor >= ProcessorsMax)
        {
            return false;
        }

        byte* mask = stackalloc byte[ProcessorsMax / 8];
        new Span<byte>(mask, ProcessorsMax / 8).Clear();
        mask[processor / 8] = (byte)(1 << (processor % 8));
        return SetAffinity(0, ProcessorsMax / 8, mask) == 0;
    }

    /// <summary>The scheduling policy of a thread (<see cref="Abi.SCHED_OTHER"/>, ...), 0 for the calling one; -1 on failure.</summary>
    [LibraryImport(Library, EntryPoint = "sched_getscheduler", SetLastError = true)]
    public static partial int SchedulingPolicy(int thread);

    /// <summary>Gives a thread, 0 for the calling one, a policy that has no priorities. From SCHED_IDLE back to another only the superuser gets, or who may have its nice value. False on failure.</summary>
    public static bool SetSchedulingPolicy(int thread, int policy)
    {
        int priority = 0;
        return SetScheduler(thread, policy, &priority) == 0;
    }

    /// <summary>The kernel's number of the calling thread.</summary>
    [LibraryImport(Library, EntryPoint = "gettid")]
    public static partial int ThreadId();

    /// <summary>Processor time that a thread of this process has used; 0 when there is no such thread.</summary>
    public static long ThreadTimeNanoseconds(int thread)
    {
        // MAKE_THREAD_CPUCLOCK(thread, CPUCLOCK_SCHED) of the kernel's include/linux/posix-timers_types.h.
        const int PerThreadScheduled = 6;
        TimeSpecification time = default;
        return GetClock((~thread << 3) | PerThreadScheduled, &time) == 0 ? (time.Seconds * 1_000_000_000) + time.Nanoseconds : 0;
    }

    [LibraryImport(Library, EntryPoint = "clock_gettime")]
    private static partial int GetClock(int clock, TimeSpecification* time);

    [LibraryImport(Library, EntryPoint = "sched_setscheduler", SetLastError = true)]
    private static partial int SetScheduler(int thread, int policy, int* parameters);

    [LibraryImport(Library, EntryPoint = "sched_setaffinity", SetLastError = true)]
    private static partial int SetAffinity(int thread, nuint maskBytes, byte* mask);
}
