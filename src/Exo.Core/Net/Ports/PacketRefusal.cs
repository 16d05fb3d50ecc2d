// SPDX-License-Identifier: MIT
namespace Exo.Core.Net;

/// <summary>Why a packet was not let out of an environment (<see cref="EnvironmentDevice"/>). A closed list.</summary>
public enum PacketRefusal : byte
{
    /// <summary>It was.</summary>
    None = 0,

    /// <summary>Its headers are cut short, contradict themselves, or are not all in the first piece, which is at most a frame.</summary>
    Malformed = 1,

    /// <summary>It is said to come from another hardware address than the interface's.</summary>
    HardwareAddress = 2,

    /// <summary>It is not ARP, nor TCP, UDP or ICMP right behind a header of IP: a tag of a VLAN, an extension header, a tunnel, another protocol.</summary>
    Protocol = 3,

    /// <summary>It is said to come from an address that is not the interface's.</summary>
    Address = 4,

    /// <summary>It is a piece of a packet, whoever's.</summary>
    Fragment = 5,

    /// <summary>It comes from a port that the environment has not bound.</summary>
    Port = 6,

    /// <summary>What the device is to do to it is not to its own checksum, or not to its own segments.</summary>
    Offload = 7,

    /// <summary>A message about neighbours or of ICMP that no stack needs to send for its ports, or that says what is not so.</summary>
    Message = 8,
}
