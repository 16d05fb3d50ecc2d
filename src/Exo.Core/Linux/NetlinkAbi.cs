// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.Linux;

/// <summary>Routing netlink under the kernel's names: linux/netlink.h, linux/rtnetlink.h, linux/neighbour.h, linux/if_addr.h.</summary>
internal static class NetlinkAbi
{
    public const int AF_NETLINK = 16;
    public const int NETLINK_ROUTE = 0;

    public const ushort NLMSG_DONE = 3;
    public const ushort NLM_F_REQUEST = 1;
    public const ushort NLM_F_DUMP = 0x300;
    public const ushort NLM_F_CREATE = 0x400;

    public const ushort RTM_NEWADDR = 20;
    public const ushort RTM_GETADDR = 22;
    public const ushort RTM_NEWROUTE = 24;
    public const ushort RTM_GETROUTE = 26;
    public const ushort RTM_NEWNEIGH = 28;
    public const ushort RTM_DELNEIGH = 29;
    public const ushort RTM_GETNEIGH = 30;

    /// <summary>RTNLGRP_NEIGH as a bit of the address that is bound to.</summary>
    public const uint RTMGRP_NEIGH = 1 << 2;

    public const ushort NDA_DST = 1;
    public const ushort NDA_LLADDR = 2;
    public const byte NTF_USE = 1;
    public const ushort RTA_OIF = 4;
    public const ushort RTA_GATEWAY = 5;
    public const byte RT_TABLE_MAIN = 254;
    public const byte RT_SCOPE_UNIVERSE = 0;
    public const ushort IFA_ADDRESS = 1;
    public const ushort IFA_LOCAL = 2;

    /// <summary>NUD_REACHABLE, _STALE, _DELAY, _PROBE, _NOARP and _PERMANENT: the hardware address is one to send to.</summary>
    public const ushort NudValid = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80;
}

/// <summary>struct sockaddr_nl.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NetlinkAddress
{
    public ushort Family;
    private readonly ushort _padding;
    public uint Port;
    public uint Groups;
}

/// <summary>struct nlmsghdr.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NetlinkHeader
{
    public uint LengthBytes;
    public ushort Type;
    public ushort Flags;
    public uint Sequence;
    public uint Port;
}

/// <summary>struct ndmsg.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NeighborRecord
{
    public byte Family;
    private readonly byte _padding1;
    private readonly ushort _padding2;
    public int InterfaceIndex;
    public ushort State;
    public byte Flags;
    public byte Type;
}

/// <summary>struct ifaddrmsg.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct AddressRecord
{
    public byte Family;
    public byte PrefixBits;
    public byte Flags;
    public byte Scope;
    public int InterfaceIndex;
}

/// <summary>struct rtmsg.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RouteRecord
{
    public byte Family;
    public byte DestinationBits;
    public byte SourceBits;
    public byte TypeOfService;
    public byte Table;
    public byte Protocol;
    public byte Scope;
    public byte Type;
    public uint Flags;
}
