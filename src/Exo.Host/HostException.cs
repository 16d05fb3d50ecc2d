// SPDX-License-Identifier: MIT
using Exo.Storage.XN;

namespace Exo.Host;

/// <summary>How the host answered. A closed list; its numbers are the protocol's.</summary>
public enum HostStatus : uint
{
    /// <summary>Done.</summary>
    Ok = 0,

    /// <summary>XN refused: see <see cref="HostException.XnStatus"/>.</summary>
    Refused = 1,

    /// <summary>The disk failed: the message says how.</summary>
    DiskFailed = 2,

    /// <summary>The request could not be read, or asked for what cannot be: a frame that there is not, more than a message holds.</summary>
    Malformed = 3,

    /// <summary>The client's own memory for blocks is full: unbind some.</summary>
    NoFrames = 4,

    /// <summary>The connection is at an end: the host has gone, or has ended it because the client broke the protocol.</summary>
    Disconnected = 5,

    /// <summary>This user would have more blocks of the disk than it may: free some (<see cref="HostServerOptions.DiskBlocksPerUser"/>).</summary>
    OverQuota = 6,

    /// <summary>This client asks more often than it may: ask again later (<see cref="HostServerOptions.RequestsPerSecond"/>).</summary>
    TooManyRequests = 7,

    /// <summary>There is no room for another client, or this user has as many as it may: nothing is attached.</summary>
    TooManyClients = 8,

    /// <summary>The host does not let this process in: nothing is attached.</summary>
    NotAdmitted = 9,
}

/// <summary>A request that the host did not carry out.</summary>
public sealed class HostException : IOException
{
    internal HostException(HostStatus status, string message, XnStatus xnStatus = default)
        : base(message)
    {
        Status = status;
        XnStatus = xnStatus;
    }

    /// <summary>How the host answered.</summary>
    public HostStatus Status { get; }

    /// <summary>With <see cref="HostStatus.Refused"/>: why XN refused.</summary>
    public XnStatus XnStatus { get; }
}
