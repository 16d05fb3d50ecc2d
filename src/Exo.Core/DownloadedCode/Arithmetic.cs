// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>
/// The divisions of RFC 9669, section 4.1, which are defined on every input: by zero the quotient is 0 and the remainder is the
/// dividend; the least integer divided by -1 is itself, remainder 0. Signed division truncates towards zero.
/// </summary>
internal static class Arithmetic
{
    public static ulong Divide(ulong a, ulong b) => b == 0 ? 0 : a / b;

    public static uint Divide(uint a, uint b) => b == 0 ? 0 : a / b;

    public static ulong Modulo(ulong a, ulong b) => b == 0 ? a : a % b;

    public static uint Modulo(uint a, uint b) => b == 0 ? a : a % b;

    // -1 goes by itself: the processor traps on MinValue / -1. Negation wraps, which is the answer wanted.
    public static long Divide(long a, long b) => b == 0 ? 0 : b == -1 ? unchecked(-a) : a / b;

    public static int Divide(int a, int b) => b == 0 ? 0 : b == -1 ? unchecked(-a) : a / b;

    public static long Modulo(long a, long b) => b == 0 ? a : b == -1 ? 0 : a % b;

    public static int Modulo(int a, int b) => b == 0 ? a : b == -1 ? 0 : a % b;
}
