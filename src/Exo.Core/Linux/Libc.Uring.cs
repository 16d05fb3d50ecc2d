// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.Linux;

/// <summary>io_uring has no functions in the C library: its three calls go through <c>syscall</c>.</summary>
internal static unsafe partial class Libc
{
    public static int UringSetup(uint entries, UringParameters* parameters) =>
        (int)SystemCall(Abi.SYS_io_uring_setup, (nint)entries, (nint)parameters, 0, 0, 0, 0);

    public static int UringEnter(int ring, uint toSubmit, uint minComplete, uint flags) =>
        (int)SystemCall(Abi.SYS_io_uring_enter, ring, (nint)toSubmit, (nint)minComplete, (nint)flags, 0, 0);

    public static int UringRegister(int ring, uint operation, void* argument, uint count) =>
        (int)SystemCall(Abi.SYS_io_uring_register, ring, (nint)operation, (nint)argument, (nint)count, 0, 0);

    [LibraryImport(Library, EntryPoint = "syscall", SetLastError = true)]
    private static partial nint SystemCall(nint number, nint a, nint b, nint c, nint d, nint e, nint f);
}
