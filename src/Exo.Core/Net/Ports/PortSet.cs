// SPDX-License-Identifier: MIT
using Exo.Core.PacketFilters;

namespace Exo.Core.Net;

/// <summary>Ports of TCP and UDP, one bit each: whoever sends looks without a lock, and <see cref="InterfacePorts"/> changes it under its own.</summary>
internal sealed class PortSet
{
    private const int PortCount = 1 << 16;

    private readonly ulong[] _words = new ulong[2 * PortCount / 64];

    /// <summary>The bit of a port; 0, which is never bound: none.</summary>
    public static int IndexOf(byte protocol, ushort port) => protocol switch
    {
        ProtocolFilters.Tcp => port,
        ProtocolFilters.Udp when port != 0 => PortCount + port,
        _ => 0,
    };

    public bool Contains(int index) => (Volatile.Read(ref _words[index >> 6]) >> (index & 63) & 1) != 0;

    /// <summary>By one thread at a time. Ports of other protocols have no bit.</summary>
    public void Set(int index, bool isBound)
    {
        if (index != 0)
        {
            ref ulong word = ref _words[index >> 6];
            ulong bit = 1UL << (index & 63);
            Volatile.Write(ref word, isBound ? word | bit : word & ~bit);
        }
    }
}
