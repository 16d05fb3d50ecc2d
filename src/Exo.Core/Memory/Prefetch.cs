// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Exo.Core.Memory;

/// <summary>
/// Asks the processor for a cache line that will be wanted soon, so that it comes while other things are done: memory takes some 100 ns, and what waits for one line cannot ask for the next. It is a hint: where there is
/// no such instruction nothing happens.
/// </summary>
internal static unsafe class Prefetch
{
    /// <summary>The line in which a value begins.</summary>
    /// <remarks>The address may be stale as soon as it is taken (the collector moves objects): the instruction reads nothing that anybody can see and faults nowhere.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Line<T>(ref readonly T at)
        where T : allows ref struct
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0(Unsafe.AsPointer(ref Unsafe.AsRef(in at)));
        }
    }

    /// <summary>The line in which an object's fields begin.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Object(object? at)
    {
        if (at is not null)
        {
            Line(ref Unsafe.As<Fields>(at).First);
        }
    }

    /// <summary>What any object looks like to who only wants to know where it is: never read.</summary>
    private sealed class Fields
    {
#pragma warning disable CS0649 // Nobody assigns it: only its place is of interest.
        public byte First;
#pragma warning restore CS0649
    }
}
