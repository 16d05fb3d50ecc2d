// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Exo.Storage.XN;

/// <summary>
/// A table outside the garbage-collected heap that grows in chunks and never moves or gives back one: a reference to an element stays good as long as the table is reachable, whoever writes
/// meanwhile. New elements are zero. One writer at a time; readers need no lock, but a protocol to know what is whole.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "Freed by the finalizer, not sooner: a reader without a lock may be in it.")]
internal sealed unsafe class NativeTable<T>
    where T : unmanaged
{
    private const int ChunkShift = 12;
    private const int ChunkElements = 1 << ChunkShift;
    private static readonly nuint s_chunkBytes = (nuint)(ChunkElements * sizeof(T));

    private nint[] _chunks = [];

    ~NativeTable()
    {
        foreach (nint chunk in _chunks)
        {
            NativeMemory.AlignedFree((void*)chunk);
            GC.RemoveMemoryPressure((long)s_chunkBytes);
        }
    }

    /// <summary>Elements that there is room for.</summary>
    public int Capacity => Volatile.Read(ref _chunks).Length << ChunkShift;

    /// <summary>Bytes of memory that the table holds.</summary>
    public long SizeBytes => (long)_chunks.Length * (long)s_chunkBytes;

    public ref T this[int index]
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            // The array's own check bounds the chunk (a negative index shifts to a negative one); the mask bounds the element in it.
            nint chunk = Volatile.Read(ref _chunks)[index >> ChunkShift];
            return ref ((T*)chunk)[index & (ChunkElements - 1)];
        }
    }

    /// <summary>Makes room for at least <paramref name="count"/> elements.</summary>
    public void Reserve(int count)
    {
        while (Capacity < count)
        {
            void* chunk = NativeMemory.AlignedAlloc(s_chunkBytes, 64);
            NativeMemory.Clear(chunk, s_chunkBytes);
            GC.AddMemoryPressure((long)s_chunkBytes);
            Volatile.Write(ref _chunks, [.. _chunks, (nint)chunk]);
        }
    }
}
