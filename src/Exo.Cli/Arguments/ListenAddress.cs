// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Exo.Cli.Arguments;

/// <summary>ADDR:PORT as a server takes it: <c>127.0.0.1:8080</c>, <c>[::1]:8080</c>, <c>localhost:0</c>, <c>*:80</c>, or a port alone (loopback).</summary>
internal static class ListenAddress
{
    /// <summary>Parses <paramref name="text"/>. No name is looked up but "localhost".</summary>
    public static bool TryParse(string? text, out IPEndPoint endPoint)
    {
        endPoint = new IPEndPoint(IPAddress.Loopback, 0);
        ReadOnlySpan<char> rest = text.AsSpan().Trim();
        int colon = rest.LastIndexOf(':');
        ReadOnlySpan<char> host = colon < 0 ? "localhost" : rest[..colon];
        if (!ushort.TryParse(rest[(colon + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out ushort port))
        {
            return false;
        }

        IPAddress? address;
        if (host is "localhost")
        {
            address = IPAddress.Loopback;
        }
        else if (host is "*" or "")
        {
            address = IPAddress.Any;
        }
        else if (host.StartsWith('[') && host.EndsWith(']'))
        {
            if (!IPAddress.TryParse(host[1..^1], out address) || address.AddressFamily != AddressFamily.InterNetworkV6)
            {
                return false;
            }
        }
        else if (host.Contains(':') || host.Count('.') != 3 || !IPAddress.TryParse(host, out address))
        {
            return false; // an IPv6 address needs brackets; "10.1" would mean 10.0.0.1, which nobody means
        }

        endPoint = new IPEndPoint(address, port);
        return true;
    }
}
