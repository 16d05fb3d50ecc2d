// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>Where connections are waited for: a port of one address, of all IPv4 addresses, or of all.</summary>
/// <param name="Address">One of the stack's, or <see cref="AllV4"/>, or <see cref="All"/>.</param>
/// <param name="Port">The port.</param>
internal readonly record struct ListenPoint(InternetAddress Address, ushort Port)
{
    /// <summary>0.0.0.0: every IPv4 address of the stack.</summary>
    public static InternetAddress AllV4 { get; } = InternetAddress.FromV4(0);

    /// <summary>[::]: every address of the stack.</summary>
    public static InternetAddress All => default;

    public static ListenPoint From(IPEndPoint endPoint) => new(InternetAddress.From(endPoint.Address), (ushort)endPoint.Port);

    /// <summary>Whether connections to an address are meant.</summary>
    public bool Covers(InternetAddress address) => Address == address || Address == All || (Address == AllV4 && address.IsV4);
}
