// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.Linux;

/// <summary>Memory files and mappings.</summary>
internal static unsafe partial class Libc
{
    [LibraryImport(Library, EntryPoint = "memfd_create", SetLastError = true)]
    public static partial int MemoryFileCreate(byte* name, uint flags);

    [LibraryImport(Library, EntryPoint = "mmap", SetLastError = true)]
    public static partial nint MemoryMap(nint address, nuint lengthBytes, int protection, int flags, int fd, long offset);

    [LibraryImport(Library, EntryPoint = "munmap", SetLastError = true)]
    public static partial int MemoryUnmap(nint address, nuint lengthBytes);

    [LibraryImport(Library, EntryPoint = "madvise", SetLastError = true)]
    public static partial int MemoryAdvise(nint address, nuint lengthBytes, int advice);

    /// <summary>A second mapping of what a shared one maps, at a place of choice, over what is there. Needs no permission of the file. The address, or -1.</summary>
    public static nint MemoryDuplicate(nint address, nuint lengthBytes, nint at) =>
        MemoryRemap(address, 0, lengthBytes, SharingAbi.MREMAP_MAYMOVE | SharingAbi.MREMAP_FIXED, at);

    [LibraryImport(Library, EntryPoint = "mremap", SetLastError = true)]
    private static partial nint MemoryRemap(nint address, nuint oldBytes, nuint newBytes, int flags, nint at);
}
