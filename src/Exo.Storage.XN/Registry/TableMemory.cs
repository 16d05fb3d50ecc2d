// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Storage.XN;

/// <summary>The tables of a registry.</summary>
internal enum RegistryTable
{
    Heads = 0,
    Entries = 1,
    States = 2,
}

/// <summary>The words of a registry that its readers look at first.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RegistryHeader
{
    /// <summary>Odd while a change is under way.</summary>
    public uint Sequence;

    /// <summary>Buckets in use; only grows.</summary>
    public int Buckets;
}

/// <summary>Where the chunks of a registry's tables come from: this process's own memory, or a file that other processes map.</summary>
internal abstract unsafe class TableMemory
{
    /// <summary>The header, zero at first. Good as long as this is reachable.</summary>
    public abstract RegistryHeader* Header { get; }

    /// <summary>Zeroed memory for chunk <paramref name="number"/> of a table; good as long as this is reachable.</summary>
    public abstract nint AddChunk(RegistryTable table, int number, nuint lengthBytes);

    /// <summary>A chunk that somebody else has added. Memory of this process has no somebody else.</summary>
    public virtual bool TryFindChunk(RegistryTable table, int number, nuint lengthBytes, out nint chunk)
    {
        chunk = 0;
        return false;
    }
}

/// <summary>Memory of this process: freed by the finalizer, not sooner, because a reader without a lock may be in it.</summary>
internal sealed unsafe class PrivateTableMemory : TableMemory
{
    private readonly List<(nint Address, nuint LengthBytes)> _chunks = [];
    private readonly RegistryHeader* _header = (RegistryHeader*)NativeMemory.AllocZeroed((nuint)sizeof(RegistryHeader));

    ~PrivateTableMemory()
    {
        foreach ((nint address, nuint lengthBytes) in _chunks)
        {
            NativeMemory.AlignedFree((void*)address);
            GC.RemoveMemoryPressure((long)lengthBytes);
        }

        NativeMemory.Free(_header);
    }

    public override RegistryHeader* Header => _header;

    public override nint AddChunk(RegistryTable table, int number, nuint lengthBytes)
    {
        void* chunk = NativeMemory.AlignedAlloc(lengthBytes, 64);
        NativeMemory.Clear(chunk, lengthBytes);
        GC.AddMemoryPressure((long)lengthBytes);
        _chunks.Add(((nint)chunk, lengthBytes));
        return (nint)chunk;
    }
}
