// SPDX-License-Identifier: MIT
namespace Exo.Core.Linux;

/// <summary>The kernel's asynchronous calls of before io_uring (io_setup(2)); the C library has no functions for them.</summary>
internal static unsafe partial class Libc
{
    public static int AioSetup(uint events, nint* context) =>
        (int)SystemCall(ArchitectureAbi.Current.SYS_io_setup, (nint)events, (nint)context, 0, 0, 0, 0);

    public static int AioDestroy(nint context) =>
        (int)SystemCall(ArchitectureAbi.Current.SYS_io_destroy, context, 0, 0, 0, 0, 0);

    public static int AioSubmit(nint context, nint count, AioControlBlock** blocks) =>
        (int)SystemCall(ArchitectureAbi.Current.SYS_io_submit, context, count, (nint)blocks, 0, 0, 0);

    public static int AioGetEvents(nint context, nint minCount, nint count, AioEvent* events) =>
        (int)SystemCall(ArchitectureAbi.Current.SYS_io_getevents, context, minCount, count, (nint)events, 0, 0);
}
