// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;

namespace Exo.FileSystems.CFFS;

/// <summary>
/// C-FFS refused an operation, or found its image damaged. Nothing was changed. <see cref="Exception.HResult"/> is the errno value, as in an <see cref="IOException"/> that .NET on Linux has no kind of its own for. What has been disposed of
/// throws <see cref="ObjectDisposedException"/>.
/// </summary>
public sealed class CffsException : IOException
{
    internal CffsException(CffsError error, string message, Exception? inner = null)
        : base(message, inner)
    {
        Error = error;
        HResult = (int)error;
    }

    /// <summary>The reason.</summary>
    public CffsError Error { get; }

    /// <summary>The message begins with the path that the caller gave.</summary>
    internal bool SaysPath { get; init; }

    /// <summary>The reason as a Linux errno value.</summary>
    public int Errno => (int)Error;

    [DoesNotReturn]
    internal static void Throw(CffsError error, string message) => throw new CffsException(error, message);
}
