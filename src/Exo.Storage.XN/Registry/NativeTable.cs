// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;

namespace Exo.Storage.XN;

/// <summary>
/// A table outside the garbage-collected heap that grows in chunks and never moves or gives back one: a reference to an element stays good as long as its memory is reachable, whoever writes
/// meanwhile. New elements are zero. One writer at a time; readers need no lock, but a protocol to know what is whole.
/// </summary>
internal sealed unsafe class NativeTable<T>(TableMemory memory, RegistryTable table)
    where T : unmanaged
{
    private const int ChunkShift = 12;
    private const int ChunkElements = 1 << ChunkShift;
    private static readonly nuint s_chunkBytes = (nuint)(ChunkElements * sizeof(T));

    private nint[] _chunks = [];

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
            nint chunk = memory.AddChunk(table, _chunks.Length, s_chunkBytes);
            Volatile.Write(ref _chunks, [.. _chunks, chunk]);
        }
    }

    /// <summary>Where another process grows the table: finds the chunks that have come.</summary>
    public void Refresh()
    {
        while (memory.TryFindChunk(table, _chunks.Length, s_chunkBytes, out nint chunk))
        {
            Volatile.Write(ref _chunks, [.. _chunks, chunk]);
        }
    }
}
