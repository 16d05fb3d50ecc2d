// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.Linux;

/// <summary>
/// A mapping that somebody owns. It is unmapped by <see cref="Dispose"/> only: a span over it does not keep it alive, so a
/// finalizer could take memory away under a running copy or under the kernel.
/// </summary>
internal sealed class MappedRegion : IDisposable
{
    private nint _address;

    private MappedRegion(nint address, long lengthBytes)
    {
        _address = address;
        LengthBytes = lengthBytes;
    }

    /// <summary>First byte; page-aligned. Zero once disposed.</summary>
    public nint Address => _address;

    public long LengthBytes { get; }

    /// <summary>Private zeroed memory; pages come into being when they are first touched.</summary>
    /// <exception cref="IOException">The kernel refused.</exception>
    public static MappedRegion Anonymous(long lengthBytes) =>
        Map(lengthBytes, Abi.PROT_READ | Abi.PROT_WRITE, Abi.MAP_PRIVATE | Abi.MAP_ANONYMOUS | Abi.MAP_NORESERVE, -1, 0);

    /// <summary>A shared mapping of a file or of a ring.</summary>
    /// <exception cref="IOException">The kernel refused.</exception>
    public static MappedRegion Shared(int fd, long lengthBytes, long offset = 0, int extraFlags = 0) =>
        Map(lengthBytes, Abi.PROT_READ | Abi.PROT_WRITE, Abi.MAP_SHARED | extraFlags, fd, offset);

    /// <summary>A shared mapping of a file that begins at a multiple of <paramref name="alignmentBytes"/>, a power of two of pages.</summary>
    /// <exception cref="IOException">The kernel refused.</exception>
    public static MappedRegion SharedAligned(int fd, long lengthBytes, int alignmentBytes, int extraFlags = 0)
    {
        // Address space for the region at any alignment; the mapping goes over a part of it, and the rest is given back.
        MappedRegion room = Map(lengthBytes + alignmentBytes, 0, Abi.MAP_PRIVATE | Abi.MAP_ANONYMOUS | Abi.MAP_NORESERVE, -1, 0);
        nint start = (room.Address + alignmentBytes - 1) & -(nint)alignmentBytes;
        nint end = room.Address + (nint)room.LengthBytes;
        try
        {
            MappedRegion region = Map(lengthBytes, Abi.PROT_READ | Abi.PROT_WRITE, Abi.MAP_SHARED | Abi.MAP_FIXED | extraFlags, fd, 0, start);
            GiveBack(room.Address, start);
            GiveBack(start + (nint)lengthBytes, end);
            return region;
        }
        catch
        {
            room.Dispose();
            throw;
        }

        static void GiveBack(nint from, nint to)
        {
            nint first = (from + Environment.SystemPageSize - 1) & -(nint)Environment.SystemPageSize;
            if (to > first)
            {
                _ = Libc.MemoryUnmap(first, (nuint)(to - first));
            }
        }
    }

    /// <summary>A shared mapping of a file that may be for reading only.</summary>
    /// <exception cref="IOException">The kernel refused.</exception>
    public static MappedRegion SharedFile(int fd, long lengthBytes, bool writable) =>
        Map(lengthBytes, writable ? Abi.PROT_READ | Abi.PROT_WRITE : Abi.PROT_READ, Abi.MAP_SHARED | Abi.MAP_NORESERVE, fd, 0);

    /// <summary>
    /// Keeps the region out of children made by fork: a child holding the pages while direct I/O writes into them would
    /// break the sharing (open(2), NOTES on O_DIRECT).
    /// </summary>
    public void DoNotFork() => Invariant.Check(Libc.MemoryAdvise(_address, (nuint)LengthBytes, Abi.MADV_DONTFORK) == 0);

    /// <summary>Puts the whole of a memory file in the place of a part of this region, in one step: nobody ever finds nothing there.</summary>
    /// <exception cref="IOException">The kernel refused.</exception>
    public void MapOver(long offsetBytes, SharedMemory memory)
    {
        // A second mapping of what may be sealed already; sealed or not, the one that exists can be duplicated (mremap(2): old size 0).
        nint duplicate = Libc.MemoryDuplicate(memory.Address, (nuint)memory.LengthBytes, _address + (nint)offsetBytes);
        if (duplicate == -1)
        {
            throw new IOException($"Cannot map {memory.LengthBytes} bytes: {Errno.Describe(Marshal.GetLastPInvokeError())}.");
        }

        _ = Libc.MemoryAdvise(duplicate, (nuint)memory.LengthBytes, Abi.MADV_DONTFORK);
    }

    /// <summary>Puts a part of a file in the place of a part of this region.</summary>
    /// <exception cref="IOException">The kernel refused.</exception>
    public void MapOver(long offsetBytes, int fd, long fileOffset, long lengthBytes)
    {
        nint mapped = Libc.MemoryMap(
            _address + (nint)offsetBytes, (nuint)lengthBytes, Abi.PROT_READ | Abi.PROT_WRITE, Abi.MAP_SHARED | Abi.MAP_FIXED | Abi.MAP_NORESERVE, fd, fileOffset);
        if (mapped == -1)
        {
            throw new IOException($"Cannot map {lengthBytes} bytes: {Errno.Describe(Marshal.GetLastPInvokeError())}.");
        }

        _ = Libc.MemoryAdvise(mapped, (nuint)lengthBytes, Abi.MADV_DONTFORK);
    }

    public void Dispose()
    {
        nint address = Interlocked.Exchange(ref _address, 0);
        if (address != 0)
        {
            _ = Libc.MemoryUnmap(address, (nuint)LengthBytes);
        }
    }

    private static MappedRegion Map(long lengthBytes, int protection, int flags, int fd, long offset, nint at = 0)
    {
        nint address = Libc.MemoryMap(at, (nuint)lengthBytes, protection, flags, fd, offset);
        if (address == -1)
        {
            throw new IOException($"Cannot map {lengthBytes} bytes: {Errno.Describe(Marshal.GetLastPInvokeError())}.");
        }

        return new MappedRegion(address, lengthBytes);
    }
}
