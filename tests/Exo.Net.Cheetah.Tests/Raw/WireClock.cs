// SPDX-License-Identifier: MIT
using Exo.Simulation.Net;
using Exo.Simulation.Timing;

namespace Exo.Net.Cheetah.Tests.Raw;

/// <summary>Simulated time where nothing is to be done at this moment.</summary>
internal static class WireClock
{
    /// <summary>Lets time pass up to the wire's next packet, and 10 ms at most, since others have times to keep too.</summary>
    public static void PassTo(this VirtualTime time, SimulatedWire wire)
    {
        TimeSpan step = TimeSpan.FromMilliseconds(10);
        if (wire.NextArrival is { } arrival && arrival - wire.Elapsed < step)
        {
            step = arrival - wire.Elapsed;
        }

        time.Advance(step > TimeSpan.Zero ? step : TimeSpan.FromTicks(1));
    }
}
