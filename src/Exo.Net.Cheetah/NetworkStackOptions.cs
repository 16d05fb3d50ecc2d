// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Core.Net;
using Exo.Net.Cheetah.Ip;

namespace Exo.Net.Cheetah;

/// <summary>Settings of a <see cref="NetworkStack"/>.</summary>
public sealed record NetworkStackOptions
{
    /// <summary>The interface's addresses, at least one, of either family.</summary>
    public required IReadOnlyList<InterfaceAddress> Addresses { get; init; }

    /// <summary>Who passes on IPv4 packets for other links; null: nobody.</summary>
    public IPAddress? GatewayV4 { get; init; }

    /// <summary>Who passes on IPv6 packets for other links; null: nobody.</summary>
    public IPAddress? GatewayV6 { get; init; }

    /// <summary>
    /// Who knows the neighbours' hardware addresses where somebody else is the host at <see cref="Addresses"/>, as a rule the kernel (<see cref="KernelNeighbors"/>): the stack then neither
    /// asks nor answers on the link, is not to be pinged, and has of the addresses just its ports. Used by the thread that polls; stays the caller's. Null: the stack is the host.
    /// </summary>
    public INeighborResolver? Neighbors { get; init; }

    /// <summary>Whom the stack asks for a port before it listens or connects there; null: the device's (<see cref="NetworkDevice.Ports"/>), or nobody if it has none.</summary>
    public IPortBinder? Ports { get; init; }

    /// <summary>The clock.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>Makes everything that is drawn (initial sequence numbers, ports, hashes) repeatable; null: drawn from the system, as it must be on a real network.</summary>
    public ulong? Seed { get; init; }

    /// <summary>The receive window of a connection in bytes, 2048 to 1 GiB. Memory is used only while bytes wait.</summary>
    public int ReceiveWindowBytes { get; init; } = 512 * 1024;

    /// <summary>Bytes that may wait on all connections together; beyond, bytes out of order and those no application takes are dropped, and come again.</summary>
    public long ReceiveMemoryBytesMax { get; init; } = 128 * 1024 * 1024;

    /// <summary>Connections at a time, half-open ones included; who wants one more is not answered. A <see cref="CheetahServer"/> sets it itself: to its own <see cref="CheetahServerOptions.ConnectionsMax"/> and <see cref="HalfOpenMax"/>.</summary>
    public int ConnectionsMax { get; init; } = 65_536;

    /// <summary>Handshakes that peers have begun and not completed; beyond, SYN cookies are sent and nothing is kept.</summary>
    public int HalfOpenMax { get; init; } = 1024;

    /// <summary>Entries in TIME-WAIT, about 100 bytes each; beyond, the oldest go.</summary>
    public int TimeWaitMax { get; init; } = 32_768;

    /// <summary>How long an entry stays in TIME-WAIT.</summary>
    public TimeSpan TimeWait { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>How long an acknowledgment may wait for company (RFC 9293 section 3.8.6.3: less than half a second).</summary>
    public TimeSpan DelayedAcknowledgment { get; init; } = TimeSpan.FromMilliseconds(40);

    /// <summary>A connection silent for so long is probed; zero: never (RFC 9293 section 3.8.4).</summary>
    public TimeSpan KeepAlive { get; init; }

    /// <summary>How long after a probe the next follows, and how long the last one has for an answer; null: <see cref="KeepAlive"/>, but 75 s at most and a second at least.</summary>
    public TimeSpan? KeepAliveInterval { get; init; }

    /// <summary>Probes without an answer before a silent connection is given up.</summary>
    public int KeepAliveProbes { get; init; } = 9;

    /// <summary>How long after a path was found small, or a larger packet was lost on it, a connection tries a larger one (RFC 1191 section 6.3, RFC 4821); zero: never.</summary>
    public TimeSpan PathMtuRetry { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>Challenge acknowledgments a second, of all connections together (RFC 5961 section 7).</summary>
    public int ChallengeAcksPerSecond { get; init; } = 1000;

    /// <summary>Resets a second in answer to segments that belong to nothing.</summary>
    public int ResetsPerSecond { get; init; } = 1000;

    /// <summary>Explicit congestion notification. Handshakes by SYN cookie, and so those that a handler answers, go without.</summary>
    public EcnUse Ecn { get; init; } = EcnUse.WhenAsked;

    /// <summary>Left out, to be measured or tested.</summary>
    internal Ablations Without { get; init; }

    /// <summary>Checks what can be checked before the stack is made, which does the same.</summary>
    /// <exception cref="ArgumentException">A setting makes no sense; <see cref="ArgumentException.ParamName"/> is the property's name.</exception>
    public void Validate()
    {
        ArgumentNullException.ThrowIfNull(Addresses);
        ArgumentNullException.ThrowIfNull(Time);
        ArgumentOutOfRangeException.ThrowIfZero(Addresses.Count, nameof(Addresses));
        SettingRange.Check(ReceiveWindowBytes, 2048, 1 << 30, nameof(ReceiveWindowBytes));
        SettingRange.Check(ReceiveMemoryBytesMax, 0, long.MaxValue, nameof(ReceiveMemoryBytesMax));
        SettingRange.Check(ConnectionsMax, 1, int.MaxValue, nameof(ConnectionsMax));
        SettingRange.Check(HalfOpenMax, 0, 1 << 24, nameof(HalfOpenMax));
        SettingRange.Check(TimeWaitMax, 1, 1 << 24, nameof(TimeWaitMax));
        SettingRange.Check(TimeWait, TimeSpan.Zero, TimeSpan.FromDays(1), nameof(TimeWait));
        SettingRange.Check(DelayedAcknowledgment, TimeSpan.Zero, TimeSpan.FromMilliseconds(500), nameof(DelayedAcknowledgment));
        SettingRange.Check(KeepAlive, TimeSpan.Zero, TimeSpan.FromDays(1), nameof(KeepAlive));
        if (KeepAliveInterval is { } interval)
        {
            SettingRange.Check(interval, TimeSpan.FromMilliseconds(1), TimeSpan.FromDays(1), nameof(KeepAliveInterval));
        }

        SettingRange.Check(PathMtuRetry, TimeSpan.Zero, TimeSpan.FromDays(1), nameof(PathMtuRetry));
        SettingRange.Check(KeepAliveProbes, 1, 1000, nameof(KeepAliveProbes));
        SettingRange.Check(ChallengeAcksPerSecond, 1, int.MaxValue, nameof(ChallengeAcksPerSecond));
        SettingRange.Check(ResetsPerSecond, 1, int.MaxValue, nameof(ResetsPerSecond));
        SettingRange.Check((int)Ecn, (int)EcnUse.Never, (int)EcnUse.Ask, nameof(Ecn));
    }
}
