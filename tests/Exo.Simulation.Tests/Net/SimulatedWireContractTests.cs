// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Core.Tests.Net;
using Exo.Simulation.Net;

namespace Exo.Simulation.Tests.Net;

/// <summary>The simulated wire keeps what real devices keep.</summary>
public class SimulatedWireContractTests : NetworkDeviceContract
{
    protected virtual SimulatedDeviceOptions Options => new();

    protected override DevicePair Open()
    {
        FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        (SimulatedWire wire, SimulatedNetworkDevice a, SimulatedNetworkDevice b) = SimulatedWire.CreatePair(frames, frames, Options);
        return new DevicePair(frames, a, b, wire);
    }
}

/// <summary>With devices that neither cut nor sum.</summary>
public sealed class PlainSimulatedWireContractTests : SimulatedWireContractTests
{
    protected override SimulatedDeviceOptions Options => new() { TransmitChecksum = false };
}

/// <summary>With super-packets that nobody cuts.</summary>
public sealed class WholeSimulatedWireContractTests : SimulatedWireContractTests
{
    protected override SimulatedDeviceOptions Options => new() { ReceiveSuperPackets = true };
}
