// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Tcp;

/// <summary>Sequence numbers are compared modulo 2^32 (RFC 9293 section 3.4): a comes before b when the way from a to b is shorter than half the circle.</summary>
internal static class SequenceNumber
{
    public static bool IsBefore(uint a, uint b) => (int)(a - b) < 0;

    public static bool IsAfter(uint a, uint b) => (int)(a - b) > 0;

    public static bool IsAtOrBefore(uint a, uint b) => (int)(a - b) <= 0;

    public static bool IsAtOrAfter(uint a, uint b) => (int)(a - b) >= 0;

    public static uint Earlier(uint a, uint b) => IsBefore(a, b) ? a : b;

    public static uint Later(uint a, uint b) => IsAfter(a, b) ? a : b;
}
