// SPDX-License-Identifier: MIT
using Exo.Core.Linux;

namespace Exo.Core.Scheduling;

/// <summary>
/// What threads of this process wait for that happens once and takes longer than spinning is worth: they sleep at once, and one call wakes them all, without a lock that they would have to take by turns.
/// </summary>
internal sealed unsafe class ThreadLatch
{
    // A lost wake-up would be a fault of ours; then it costs this much, and not a thread.
    private static readonly TimeSpan s_sleepMax = TimeSpan.FromSeconds(1);

    // One word where the collector does not move it: 0 until it is opened.
    private readonly uint[] _word = GC.AllocateArray<uint>(1, pinned: true);

    /// <summary>Whether it is open.</summary>
    public bool IsOpen => Volatile.Read(ref _word[0]) != 0;

    /// <summary>Lets all go that wait, and whoever comes later.</summary>
    public void Open()
    {
        Volatile.Write(ref _word[0], 1);
        Libc.FutexWakeOwn(Address);
        GC.KeepAlive(_word);
    }

    /// <summary>Closes it again. For one that a single thread waits at, by that thread: a call that has opened it before may still wake it once for nothing.</summary>
    public void Close() => Volatile.Write(ref _word[0], 0);

    /// <summary>Sleeps until it is open.</summary>
    public void Wait()
    {
        while (!IsOpen)
        {
            Libc.FutexWaitOwn(Address, 0, s_sleepMax);
        }

        GC.KeepAlive(_word);
    }

    /// <summary>Sleeps until it is open, once and for so long at most; it may wake earlier.</summary>
    /// <returns>It is open.</returns>
    public bool TryWait(TimeSpan atMost)
    {
        if (!IsOpen && atMost > TimeSpan.Zero)
        {
            Libc.FutexWaitOwn(Address, 0, atMost);
        }

        GC.KeepAlive(_word);
        return IsOpen;
    }

    private nint Address => (nint)System.Runtime.CompilerServices.Unsafe.AsPointer(ref _word[0]);
}
