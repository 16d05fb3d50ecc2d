// SPDX-License-Identifier: MIT
using System.Net;
using System.Runtime.InteropServices;
using Exo.Core.Linux;

namespace Exo.Core.Net;

/// <summary>An address of an interface.</summary>
/// <param name="Address">The address.</param>
/// <param name="PrefixBits">Leading bits that all hosts of the link share.</param>
/// <param name="IsLinkLocal">Of use on the link only.</param>
public readonly record struct KernelAddress(IPAddress Address, int PrefixBits, bool IsLinkLocal);

/// <summary>What the kernel's own network stack has on an interface, by routing netlink: for a stack that has its addresses in common with it. A snapshot.</summary>
/// <param name="Addresses">Its addresses, in the kernel's order.</param>
/// <param name="GatewayV4">Who passes on IPv4 packets for other links by the interface; null: nobody.</param>
/// <param name="GatewayV6">The same for IPv6.</param>
public sealed record KernelAddresses(IReadOnlyList<KernelAddress> Addresses, IPAddress? GatewayV4, IPAddress? GatewayV6)
{
    /// <summary>Asks the kernel about an interface of the calling thread's network namespace.</summary>
    /// <exception cref="NetworkDeviceException">There is no such interface.</exception>
    /// <exception cref="IOException">The kernel refused.</exception>
    public static KernelAddresses Read(string interfaceName)
    {
        using NetworkLink link = NetworkLink.Open(interfaceName);
        List<KernelAddress> addresses = [];
        Dump(interfaceName, NetlinkAbi.RTM_GETADDR, NetlinkAbi.RTM_NEWADDR, (in AddressRecord record, ReadOnlySpan<byte> attributes) =>
        {
            // Of a point-to-point link IFA_ADDRESS is the other end.
            ReadOnlySpan<byte> own = NetlinkSocket.Attribute(attributes, NetlinkAbi.IFA_LOCAL);
            own = own.IsEmpty ? NetlinkSocket.Attribute(attributes, NetlinkAbi.IFA_ADDRESS) : own;
            if (record.InterfaceIndex == link.Index && own.Length is 4 or 16)
            {
                addresses.Add(new KernelAddress(new IPAddress(own), record.PrefixBits, record.Scope != NetlinkAbi.RT_SCOPE_UNIVERSE));
            }
        });

        // The first default route of the main table is the one with the best metric.
        IPAddress? v4 = null, v6 = null;
        Dump(interfaceName, NetlinkAbi.RTM_GETROUTE, NetlinkAbi.RTM_NEWROUTE, (in RouteRecord record, ReadOnlySpan<byte> attributes) =>
        {
            ReadOnlySpan<byte> gateway = NetlinkSocket.Attribute(attributes, NetlinkAbi.RTA_GATEWAY), output = NetlinkSocket.Attribute(attributes, NetlinkAbi.RTA_OIF);
            if (record.DestinationBits == 0 && record.Table == NetlinkAbi.RT_TABLE_MAIN && output.Length == sizeof(int) && MemoryMarshal.Read<int>(output) == link.Index)
            {
                v4 ??= gateway.Length == 4 ? new IPAddress(gateway) : null;
                v6 ??= gateway.Length == 16 ? new IPAddress(gateway) : null;
            }
        });
        return new KernelAddresses(addresses, v4, v6);
    }

    private delegate void Taker<TRecord>(in TRecord record, ReadOnlySpan<byte> attributes);

    private static unsafe void Dump<TRecord>(string interfaceName, ushort request, ushort answer, Taker<TRecord> take)
        where TRecord : unmanaged
    {
        using NetlinkSocket socket = NetlinkSocket.Open();
        uint wanted = socket.Request(request, NetlinkAbi.NLM_F_DUMP, default(TRecord));
        bool isDone = false;

        // A dump goes on as it is read: reading to the end is enough.
        _ = wanted != 0 && socket.Read((type, body, sequence) =>
        {
            isDone |= sequence == wanted && type == NetlinkAbi.NLMSG_DONE;
            if (type == answer && body.Length >= sizeof(TRecord))
            {
                take(MemoryMarshal.Read<TRecord>(body), body[sizeof(TRecord)..]);
            }

            return true;
        });
        if (!isDone)
        {
            throw new IOException($"Cannot read the addresses of {interfaceName} from the kernel.");
        }
    }
}
