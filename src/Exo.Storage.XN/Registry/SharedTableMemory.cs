// SPDX-License-Identifier: MIT
namespace Exo.Storage.XN;

/// <summary>
/// A registry's memory in a file that one process writes and others map for reading. The file has its full size from the start and no memory where nothing was written yet.
/// <code>
///   0        magic 8 B | header (sequence, buckets) 8 B
///   1 Mi     directory of heads:   u32 per chunk, its page in the file; 0: not there yet
///   2 Mi     directory of entries
///   3 Mi     directory of states
///   4 Mi     chunks, one after the other, whole pages
/// </code>
/// Pages and directories are written before the sequence count is even again, so whoever reads by it finds what it leads to. Readers check every number against the size: they trust the writer, but not a version that they do not know.
/// </summary>
internal sealed unsafe class SharedTableMemory : TableMemory
{
    public const ulong Magic = 0x3130474552_4E5845; // "EXNREG01"

    /// <summary>Size for so many blocks, all of them in core and on their way to the disk, and a margin for chunks that are begun.</summary>
    public static long BytesFor(ulong blocks) => (long)Math.Min(blocks, 1UL << 36) * 144 + (16 << 20);

    private const int PageBytes = 4096;
    private const int DirectoryBytes = 1 << 20;
    private const int ChunksMax = DirectoryBytes / sizeof(uint);
    private const int ChunksAt = 4 * DirectoryBytes;

    private readonly nint _address;
    private readonly long _lengthBytes;
    private readonly object _owner;
    private long _used = ChunksAt;

    /// <summary>Takes memory that is zero, to write a registry into, or that another process writes one into.</summary>
    /// <param name="address">The mapping.</param>
    /// <param name="lengthBytes">Its size.</param>
    /// <param name="owner">What keeps it mapped as long as it is reachable.</param>
    /// <param name="isWriter">Whether the registry is made here.</param>
    /// <exception cref="IOException">To read: there is no registry, or of another version.</exception>
    public SharedTableMemory(nint address, long lengthBytes, object owner, bool isWriter)
    {
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(lengthBytes, ChunksAt);
        _address = address;
        _lengthBytes = lengthBytes;
        _owner = owner;
        if (isWriter)
        {
            *(ulong*)address = Magic;
        }
        else if (*(ulong*)address != Magic)
        {
            throw new IOException("What the host has sent is no registry, or one of another version.");
        }
    }

    public override RegistryHeader* Header => (RegistryHeader*)(_address + sizeof(ulong));

    /// <exception cref="InvalidOperationException">The file is full: the registry of a shared volume is as large as it can get.</exception>
    public override nint AddChunk(RegistryTable table, int number, nuint lengthBytes)
    {
        long at = _used;
        if (number >= ChunksMax || at + (long)lengthBytes > _lengthBytes)
        {
            throw new InvalidOperationException($"The shared registry of {_lengthBytes} bytes is full.");
        }

        _used = (at + (long)lengthBytes + PageBytes - 1) & -PageBytes;
        Volatile.Write(ref Directory(table)[number], (uint)(at / PageBytes));
        return _address + (nint)at;
    }

    public override bool TryFindChunk(RegistryTable table, int number, nuint lengthBytes, out nint chunk)
    {
        chunk = 0;
        long at = number < ChunksMax ? (long)Volatile.Read(ref Directory(table)[number]) * PageBytes : 0;
        if (at < ChunksAt || at + (long)lengthBytes > _lengthBytes)
        {
            return false;
        }

        chunk = _address + (nint)at;
        GC.KeepAlive(_owner);
        return true;
    }

    private uint* Directory(RegistryTable table) => (uint*)(_address + ((int)table + 1) * DirectoryBytes);
}
