// SPDX-License-Identifier: MIT
namespace Exo.Core.Linux;

/// <summary>
/// Every call into the C library, one partial file per area. "libc" resolves on glibc and on musl. Signatures are blittable;
/// <c>open</c>, <c>ioctl</c> and <c>syscall</c> are variadic in C, which on linux-x64 and linux-arm64 is the same calling
/// convention (it is not on Apple's arm64). No call here suppresses the GC transition: each of them may block.
/// </summary>
internal static partial class Libc
{
    private const string Library = "libc";
}
