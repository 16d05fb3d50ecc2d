// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Ip;

/// <summary>An address of an interface and how much of it names the link.</summary>
/// <param name="Address">The address.</param>
/// <param name="PrefixBits">Leading bits that all hosts of the link share.</param>
public readonly record struct InterfaceAddress(InternetAddress Address, int PrefixBits)
{
    /// <summary>Reads 10.0.0.2/24 or fd00::2/64.</summary>
    /// <exception cref="FormatException">It is not of that form, or the address is none a host can have.</exception>
    public static InterfaceAddress Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        string[] parts = text.Split('/');
        if (parts.Length == 2 && IPAddress.TryParse(parts[0], out IPAddress? address)
            && int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out int bits))
        {
            InternetAddress own = InternetAddress.From(address);
            if (own.IsUnicast && !own.IsLoopback && bits <= (own.IsV4 ? 32 : 128))
            {
                return new InterfaceAddress(own, bits);
            }
        }

        throw new FormatException($"'{text}' is no address with a prefix length, like 10.0.0.2/24 or fd00::2/64.");
    }

    /// <summary>As it is read.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Address}/{PrefixBits}");
}

/// <summary>Our addresses, who is on the link, and who passes on the rest.</summary>
internal sealed class RouteTable(IReadOnlyList<InterfaceAddress> own, InternetAddress? gatewayV4, InternetAddress? gatewayV6)
{
    private readonly InterfaceAddress[] addresses = [.. own];   // an array: it is walked for every packet

    public IEnumerable<InternetAddress> Addresses => addresses.Select(own => own.Address);

    public bool IsOwn(InternetAddress address)
    {
        foreach (InterfaceAddress own in addresses)
        {
            if (own.Address == address)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Multicast groups that hosts with our addresses belong to: all nodes, and those in which our addresses are asked for.</summary>
    public bool IsOwnGroup(InternetAddress group)
    {
        if (group == new InternetAddress(0xFF02_0000_0000_0000, 1))
        {
            return true;
        }

        foreach (InterfaceAddress own in addresses)
        {
            if (!own.Address.IsV4 && own.Address.SolicitedNode == group)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>All hosts of one of our links.</summary>
    public bool IsBroadcast(InternetAddress address)
    {
        foreach (InterfaceAddress own in addresses)
        {
            if (own.Address.IsV4 && own.PrefixBits < 31 && address.IsV4
                && address.V4 == (own.Address.V4 | (uint.MaxValue >> own.PrefixBits)))
            {
                return true;
            }
        }

        return address.IsLimitedBroadcast;
    }

    /// <summary>Whom to give a packet to.</summary>
    public bool TryNextHop(InternetAddress destination, out InternetAddress next)
    {
        next = destination;
        foreach (InterfaceAddress own in addresses)
        {
            if (own.Address.SharesPrefix(destination, own.PrefixBits))
            {
                return true;
            }
        }

        if ((destination.IsV4 ? gatewayV4 : gatewayV6) is { } gateway && !destination.IsLinkLocalV6)
        {
            next = gateway;
            return true;
        }

        return destination.IsLinkLocalV6;
    }

    /// <summary>The address of ours to use towards a destination: on the same link if there is one, else of the same family.</summary>
    public bool TrySourceFor(InternetAddress destination, out InternetAddress source)
    {
        source = default;
        bool found = false;
        foreach (InterfaceAddress own in addresses)
        {
            if (own.Address.SharesPrefix(destination, own.PrefixBits))
            {
                source = own.Address;
                return true;
            }

            if (!found && own.Address.IsV4 == destination.IsV4)
            {
                source = own.Address;
                found = true;
            }
        }

        return found;
    }
}
