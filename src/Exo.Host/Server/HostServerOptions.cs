// SPDX-License-Identifier: MIT
using Exo.Capabilities;

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

    /// <summary>What the host calls itself to observers. Default "exo host".</summary>
    public string Name { get; init; } = "exo host";

    /// <summary>Observers that may be connected at a time (<see cref="ExokernelObserver"/>); 0: none. They take no frames, and are told at most ten times a second. Default 8.</summary>
    public int ObserversMax { get; init; } = 8;

    /// <summary>Says who may look at the host: its frames, its registry, who is attached. Null: the host's own user, and the superuser.</summary>
    public Func<HostPeer, bool>? AdmitObserver { get; init; }

    /// <summary>
    /// Says what a library OS may do, by what the kernel says about its process; null: it may not attach. The default gives the host's own user, and the superuser, everything that the volume's owner may,
    /// and every other user the capability of that user (<see cref="UnixNames"/>).
    /// </summary>
    public Func<HostPeer, Capability?>? Admit { get; init; }
}

/// <summary>Who is at the other end of a socket, as the kernel knows it.</summary>
/// <param name="ProcessId">The process that connected.</param>
/// <param name="User">Its effective user.</param>
/// <param name="Group">Its effective group.</param>
public readonly record struct HostPeer(int ProcessId, uint User, uint Group);
