// SPDX-License-Identifier: MIT
namespace Exo.Core.Blocks;

/// <summary>What a device has done since it was opened; a snapshot.</summary>
/// <param name="Reads">Read requests.</param>
/// <param name="Writes">Write, write-zeroes and discard requests.</param>
/// <param name="Flushes">Flush requests.</param>
/// <param name="BlocksRead">Blocks asked for by reads.</param>
/// <param name="BlocksWritten">Blocks covered by writes.</param>
/// <param name="Failures">Requests that ended with an error.</param>
/// <param name="SystemCalls">Calls into the kernel for I/O.</param>
public readonly record struct BlockDeviceCounters(
    long Reads, long Writes, long Flushes, long BlocksRead, long BlocksWritten, long Failures, long SystemCalls);
