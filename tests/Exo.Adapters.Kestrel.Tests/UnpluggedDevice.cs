// SPDX-License-Identifier: MIT
using Exo.Core.Net;

namespace Exo.Adapters.Kestrel.Tests;

/// <summary>A device that is gone from some moment on, as an interface that is deleted.</summary>
internal sealed class UnpluggedDevice(NetworkDevice inner) : NetworkDevice(inner.Name, inner.Frames)
{
    private volatile bool isGone;

    public override NetworkDeviceFeatures Features => inner.Features;

    public override NetworkDeviceCounters Counters => inner.Counters;

    public void Unplug()
    {
        isGone = true;
        inner.Wake();
    }

    public override NetworkEvents Wait(NetworkEvents wanted, TimeSpan timeout) => isGone ? throw Gone() : inner.Wait(wanted, timeout);

    public override void Wake() => inner.Wake();

    protected override int TransmitChecked(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices) => isGone ? throw Gone() : inner.Transmit(packets, slices);

    protected override int ReceiveInto(ReceiveBatch batch) => isGone ? throw Gone() : inner.Receive(batch);

    // The other device is somebody else's.
    protected override void Dispose(bool disposing)
    {
    }

    private NetworkDeviceException Gone() => new(19, Name, $"{Name}: no such device");
}
