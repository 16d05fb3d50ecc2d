// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using Exo.Cli.Output;

namespace Exo.Cli.HostTree;

/// <summary>The host refused a system call on one of its files.</summary>
internal sealed class HostException(string what, int errno)
    : IOException($"{what}: {Marshal.GetPInvokeErrorMessage(errno)}")
{
    /// <summary>Error number of Linux.</summary>
    public int Errno { get; } = errno;

    [DoesNotReturn]
    public static void ThrowLast(string action, ReadOnlySpan<byte> path) =>
        throw new HostException($"{action} {ByteText.Escape(path)}", Marshal.GetLastPInvokeError());
}
