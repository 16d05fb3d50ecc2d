// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.Linux;

/// <summary>Where threads run.</summary>
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

    [LibraryImport(Library, EntryPoint = "sched_setaffinity", SetLastError = true)]
    private static partial int SetAffinity(int thread, nuint maskBytes, byte* mask);
}
