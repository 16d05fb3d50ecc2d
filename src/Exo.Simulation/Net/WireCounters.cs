// SPDX-License-Identifier: MIT
namespace Exo.Simulation.Net;

/// <summary>What happened on a wire: packets, segments counted each.</summary>
/// <param name="Sent">Put on the wire.</param>
/// <param name="Lost">Lost by chance.</param>
/// <param name="Overflowed">Lost for want of room in a queue.</param>
/// <param name="TooLong">Lost because they exceeded the path's MTU.</param>
/// <param name="Duplicated">Delivered twice.</param>
/// <param name="Reordered">Delayed, so that others overtake.</param>
/// <param name="Corrupted">Delivered with a wrong bit.</param>
/// <param name="Marked">Marked as by a router that is about to be full (RFC 3168).</param>
public readonly record struct WireCounters(long Sent, long Lost, long Overflowed, long TooLong, long Duplicated, long Reordered, long Corrupted, long Marked = 0);
