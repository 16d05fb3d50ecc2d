// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;

namespace Exo.Core.DownloadedCode;

/// <summary>
/// The atomic operations of RFC 9669, section 5.3, on the host's memory; each returns the old value, zero-extended. They are atomic,
/// and ordered like a full fence, where the operand is naturally aligned in the host's memory; elsewhere, where processors offer no such
/// operation, they do the same to memory that nobody else may be using.
/// </summary>
internal static unsafe class AtomicAccess
{
    /// <summary>Carries out any atomic operation but compare-and-exchange.</summary>
    /// <param name="operation">Its number, one of the <c>Atomic</c> group.</param>
    /// <param name="at">The operand in memory: four or eight bytes, as the operation says.</param>
    /// <param name="value">The source register.</param>
    public static ulong Update(Operation operation, byte* at, ulong value) => operation switch
    {
        Operation.AtomicAdd32 or Operation.AtomicFetchAdd32 => Add32(at, value),
        Operation.AtomicAdd64 or Operation.AtomicFetchAdd64 => Add64(at, value),
        Operation.AtomicOr32 or Operation.AtomicFetchOr32 => Or32(at, value),
        Operation.AtomicOr64 or Operation.AtomicFetchOr64 => Or64(at, value),
        Operation.AtomicAnd32 or Operation.AtomicFetchAnd32 => And32(at, value),
        Operation.AtomicAnd64 or Operation.AtomicFetchAnd64 => And64(at, value),
        Operation.AtomicXor32 or Operation.AtomicFetchXor32 => Xor32(at, value),
        Operation.AtomicXor64 or Operation.AtomicFetchXor64 => Xor64(at, value),
        Operation.AtomicExchange32 => Exchange32(at, value),
        _ => Exchange64(at, value),
    };

    public static ulong Add32(byte* at, ulong value) => IsAligned(at, 4)
        ? unchecked(Interlocked.Add(ref *(uint*)at, (uint)value) - (uint)value)
        : Plain32(at, unchecked((uint)value + Read32(at)));

    public static ulong Add64(byte* at, ulong value) => IsAligned(at, 8)
        ? unchecked(Interlocked.Add(ref *(ulong*)at, value) - value)
        : Plain64(at, unchecked(value + Read64(at)));

    public static ulong Or32(byte* at, ulong value) => IsAligned(at, 4)
        ? Interlocked.Or(ref *(uint*)at, (uint)value)
        : Plain32(at, (uint)value | Read32(at));

    public static ulong Or64(byte* at, ulong value) => IsAligned(at, 8)
        ? Interlocked.Or(ref *(ulong*)at, value)
        : Plain64(at, value | Read64(at));

    public static ulong And32(byte* at, ulong value) => IsAligned(at, 4)
        ? Interlocked.And(ref *(uint*)at, (uint)value)
        : Plain32(at, (uint)value & Read32(at));

    public static ulong And64(byte* at, ulong value) => IsAligned(at, 8)
        ? Interlocked.And(ref *(ulong*)at, value)
        : Plain64(at, value & Read64(at));

    public static ulong Xor32(byte* at, ulong value)
    {
        if (!IsAligned(at, 4))
        {
            return Plain32(at, (uint)value ^ Read32(at));
        }

        uint old = Volatile.Read(ref *(uint*)at);
        for (uint seen; (seen = Interlocked.CompareExchange(ref *(uint*)at, old ^ (uint)value, old)) != old;)
        {
            old = seen;
        }

        return old;
    }

    public static ulong Xor64(byte* at, ulong value)
    {
        if (!IsAligned(at, 8))
        {
            return Plain64(at, value ^ Read64(at));
        }

        ulong old = Volatile.Read(ref *(ulong*)at);
        for (ulong seen; (seen = Interlocked.CompareExchange(ref *(ulong*)at, old ^ value, old)) != old;)
        {
            old = seen;
        }

        return old;
    }

    public static ulong Exchange32(byte* at, ulong value) => IsAligned(at, 4)
        ? Interlocked.Exchange(ref *(uint*)at, (uint)value)
        : Plain32(at, (uint)value);

    public static ulong Exchange64(byte* at, ulong value) => IsAligned(at, 8)
        ? Interlocked.Exchange(ref *(ulong*)at, value)
        : Plain64(at, value);

    /// <summary>Stores <paramref name="value"/> where the lower half of <paramref name="expected"/> is.</summary>
    public static ulong CompareExchange32(byte* at, ulong value, ulong expected) => IsAligned(at, 4)
        ? Interlocked.CompareExchange(ref *(uint*)at, (uint)value, (uint)expected)
        : Plain32(at, Read32(at) == (uint)expected ? (uint)value : Read32(at));

    /// <summary>Stores <paramref name="value"/> where <paramref name="expected"/> is.</summary>
    public static ulong CompareExchange64(byte* at, ulong value, ulong expected) => IsAligned(at, 8)
        ? Interlocked.CompareExchange(ref *(ulong*)at, value, expected)
        : Plain64(at, Read64(at) == expected ? value : Read64(at));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsAligned(byte* at, uint widthBytes) => ((nuint)at & (widthBytes - 1)) == 0;

    private static uint Read32(byte* at) => Unsafe.ReadUnaligned<uint>(at);

    private static ulong Read64(byte* at) => Unsafe.ReadUnaligned<ulong>(at);

    private static ulong Plain32(byte* at, uint value)
    {
        uint old = Read32(at);
        Unsafe.WriteUnaligned(at, value);
        return old;
    }

    private static ulong Plain64(byte* at, ulong value)
    {
        ulong old = Read64(at);
        Unsafe.WriteUnaligned(at, value);
        return old;
    }
}
