// SPDX-License-Identifier: MIT
using Exo.Simulation.Net;

namespace Exo.Adapters.Kestrel.Tests;

/// <summary>Uploads and downloads over the other devices, and over a wire that loses and reorders.</summary>
public sealed class DeviceTests
{
    [Theory]
    [InlineData(false, "http://10.9.0.2/", 1)]
    [InlineData(false, "https://10.9.0.2/", 2)]
    [InlineData(true, "http://10.9.0.2/", 1)]
    [InlineData(true, "https://10.9.0.2/", 2)]
    public async Task A_packet_socket_or_XDP_carries_an_application(bool isXdp, string address, int version)
    {
        await using VethNetwork network = new(isXdp);
        await Exchange.RunAsync(network, address, version, lengthBytes: 16 << 20);
    }

    [Fact]
    public async Task A_bad_wire_carries_it_too()
    {
        await using WireNetwork network = new();
        network.Impairments = new WireImpairments { Loss = 0.02, Reordering = 0.02 };
        await Exchange.RunAsync(network, "https://10.9.0.2/", 2, lengthBytes: 4 << 20);
    }
}
