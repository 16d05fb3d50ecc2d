// SPDX-License-Identifier: MIT
using System.Net;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Exo.Core.Linux;

namespace Exo.Core.Net;

/// <summary>
/// The kernel's table of an interface's neighbours, by routing netlink: for a stack that has an address in common with the kernel. The kernel answers for the address and asks for others, as ever; the
/// stack asks the kernel. So nobody on the link hears two opinions, and nothing that comes up by the stack's filters can put an address into the table.
/// <para>Finding is two calls into the kernel and allocates nothing to speak of; a stack remembers what it found, and hears of changes. Having a neighbour asked for needs CAP_NET_ADMIN; without it only
/// those are found that the kernel knows already. For one thread at a time.</para>
/// </summary>
public sealed class KernelNeighbors : INeighborResolver, IDisposable
{
    private readonly NetlinkSocket _asking;
    private readonly NetlinkSocket _hearing;
    private readonly int _interfaceIndex;

    private KernelNeighbors(NetlinkSocket asking, NetlinkSocket hearing, int interfaceIndex)
    {
        _asking = asking;
        _hearing = hearing;
        _interfaceIndex = interfaceIndex;
    }

    /// <summary>Opens the table for an interface of the calling thread's network namespace.</summary>
    /// <exception cref="NetworkDeviceException">There is no such interface.</exception>
    /// <exception cref="IOException">The kernel refused.</exception>
    public static KernelNeighbors Open(string interfaceName)
    {
        using NetworkLink link = NetworkLink.Open(interfaceName);
        NetlinkSocket asking = NetlinkSocket.Open();
        try
        {
            return new KernelNeighbors(asking, NetlinkSocket.Open(NetlinkAbi.RTMGRP_NEIGH), link.Index);
        }
        catch
        {
            asking.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public bool TryFind(IPAddress neighbor, out MacAddress hardware)
    {
        ArgumentNullException.ThrowIfNull(neighbor);
        byte family = (byte)(neighbor.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork ? Libc.AddressFamilyInet : Libc.AddressFamilyInet6);
        byte[] address = neighbor.GetAddressBytes();

        // As if the kernel had a packet for it: who is not known is asked, who has not been heard of for a while is probed soon.
        NeighborRecord record = new() { Family = family, InterfaceIndex = _interfaceIndex, Flags = NetlinkAbi.NTF_USE };
        _ = _asking.Request(NetlinkAbi.RTM_NEWNEIGH, NetlinkAbi.NLM_F_CREATE, record, NetlinkAbi.NDA_DST, address);
        record.Flags = 0;
        uint wanted = _asking.Request(NetlinkAbi.RTM_GETNEIGH, 0, record, NetlinkAbi.NDA_DST, address);
        MacAddress? found = null;
        _ = _asking.Read((type, body, sequence) =>
        {
            if (type == NetlinkAbi.RTM_NEWNEIGH && sequence == wanted && TryParse(body, out _, out MacAddress? told))
            {
                found = told;
            }

            return true;
        });
        hardware = found ?? default;
        return found is not null;
    }

    /// <inheritdoc/>
    public bool ReadChanges(Action<IPAddress, MacAddress?> told)
    {
        ArgumentNullException.ThrowIfNull(told);
        return _hearing.Read((type, body, _) =>
        {
            if (type is NetlinkAbi.RTM_NEWNEIGH or NetlinkAbi.RTM_DELNEIGH && TryParse(body, out IPAddress? neighbor, out MacAddress? hardware))
            {
                told(neighbor!, type == NetlinkAbi.RTM_NEWNEIGH ? hardware : null);
            }

            return true;
        });
    }

    /// <summary>Closes it; the kernel's table stays as it is.</summary>
    public void Dispose()
    {
        _asking.Dispose();
        _hearing.Dispose();
    }

    // A neighbour of this interface; without a hardware address when it is none to send to now.
    private bool TryParse(ReadOnlySpan<byte> body, out IPAddress? neighbor, out MacAddress? hardware)
    {
        neighbor = null;
        hardware = null;
        int fixedBytes = Unsafe.SizeOf<NeighborRecord>();
        if (body.Length < fixedBytes)
        {
            return false;
        }

        NeighborRecord record = MemoryMarshal.Read<NeighborRecord>(body);
        ReadOnlySpan<byte> attributes = body[fixedBytes..];
        ReadOnlySpan<byte> address = NetlinkSocket.Attribute(attributes, NetlinkAbi.NDA_DST);
        if (record.InterfaceIndex != _interfaceIndex || record.Family is not (Libc.AddressFamilyInet or Libc.AddressFamilyInet6) || address.Length is not (4 or 16))
        {
            return false;
        }

        neighbor = new IPAddress(address);
        ReadOnlySpan<byte> link = NetlinkSocket.Attribute(attributes, NetlinkAbi.NDA_LLADDR);
        if ((record.State & NetlinkAbi.NudValid) != 0 && link.Length == MacAddress.SizeBytes)
        {
            hardware = MacAddress.Read(link);
        }

        return true;
    }
}
