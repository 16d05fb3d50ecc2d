// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Core.Linux;

namespace Exo.Net.Cheetah;

/// <summary>The server cannot listen where it was told to: the port is taken, the address is not this machine's, or a right is missing.</summary>
public sealed class EndPointUnavailableException : IOException
{
    internal EndPointUnavailableException(IPEndPoint endPoint, int errno)
        : base(errno == Libc.ErrnoAddressInUse
            ? $"Another program already listens on {endPoint}. Stop it or choose another port."
            : $"Cannot listen on {endPoint}: {Errno.Describe(errno)}.")
    {
        EndPoint = endPoint;
        ErrorNumber = errno;
    }

    /// <summary>Where the server was to listen.</summary>
    public IPEndPoint EndPoint { get; }

    /// <summary>The system's error number.</summary>
    public int ErrorNumber { get; }

    /// <summary>Another socket has the port.</summary>
    public bool IsInUse => ErrorNumber == Libc.ErrnoAddressInUse;
}
