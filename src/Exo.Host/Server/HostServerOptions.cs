// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Blocks;

namespace Exo.Host;

/// <summary>How a <see cref="HostServer"/> is made.</summary>
public sealed class HostServerOptions
{
    /// <summary>Where to listen: the path of a UNIX socket, at most 107 bytes. Who may connect is who may write it.</summary>
    public required string SocketPath { get; init; }

    /// <summary>Library OSes that can be attached at a time. Each takes <see cref="BlocksPerClient"/> and <see cref="FramesPerClient"/> frames of the pool. Default 8.</summary>
    public int ClientsMax { get; init; } = 8;

    /// <summary>Frames of a client for the blocks that are read in for it and for its metadata, which it can only read; 1 or more. Default 4,096 (16 MiB).</summary>
    public int BlocksPerClient { get; init; } = 4096;

    /// <summary>Frames of a client that it can write, for the contents of data blocks; 1 or more. Default 1,024 (4 MiB).</summary>
    public int FramesPerClient { get; init; } = 1024;

    /// <summary>Library OSes of one user that can be attached at a time; 1 or more. Null: as many as there is room for.</summary>
    public int? ClientsPerUser { get; init; }

    /// <summary>
    /// Blocks of the disk that the library OSes of one user may have allocated since the host began, less those that they have freed; 0 or more. A block that is given up counts as freed at once, and is free when its removal is durable.
    /// Null: as many as there are.
    /// </summary>
    public long? DiskBlocksPerUser { get; init; }

    /// <summary>Requests that a client may make in a second, on the average of a second at most; 1 or more. Null: as many as it can.</summary>
    public int? RequestsPerSecond { get; init; }

    /// <summary>Says what part of the disk a client gets when several want more of it than there is, in proportion to the others': 1 to 1,000,000. Null: all get the same.</summary>
    public Func<HostPeer, int>? DiskWeight { get; init; }

    /// <summary>Bytes of the clients' requests under way on the disk at a time, 4,096 or more: as little as keeps the disk busy, since who wants something waits for what is under way (<see cref="DiskShares"/>). Default 1 MiB.</summary>
    public long DiskBytesUnderWay { get; init; } = 1 << 20;

    /// <summary>The clock of <see cref="RequestsPerSecond"/>. Default: the system's.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>What the host calls itself to observers. Default "exo host".</summary>
    public string Name { get; init; } = "exo host";

    /// <summary>Observers that may be connected at a time (<see cref="ExokernelObserver"/>); 0: none. They take no frames, and are told at most ten times a second. Default 8.</summary>
    public int ObserversMax { get; init; } = 8;

    /// <summary>Says who may look at the host: its frames, its registry, who is attached. Null: the host's own user, and the superuser.</summary>
    public Func<HostPeer, bool>? AdmitObserver { get; init; }

    /// <summary>
    /// Says what a library OS may do, by what the kernel says about its process; null: it may not attach. The default gives the host's own user, and the superuser, everything that the volume's owner may,
    /// and every other user the capability of that user (<see cref="UnixNames"/>). It ends with the client, or at once if there is no room for it.
    /// </summary>
    public Func<HostPeer, Capability?>? Admit { get; init; }
}

/// <summary>Who is at the other end of a socket, as the kernel knows it.</summary>
/// <param name="ProcessId">The process that connected.</param>
/// <param name="User">Its effective user.</param>
/// <param name="Group">Its effective group.</param>
public readonly record struct HostPeer(int ProcessId, uint User, uint Group);
