// SPDX-License-Identifier: MIT
namespace Exo.Core.Net;

/// <summary>A device's counters, written by the thread that uses it and read by any: each field by itself is never torn.</summary>
internal struct DeviceTally
{
    public long TransmittedPackets;
    public long TransmittedBytes;
    public long TransmitDropped;
    public long TransmitFull;
    public long TransmitCopiedBytes;
    public long ReceivedPackets;
    public long ReceivedBytes;
    public long ReceiveDropped;
    public long SystemCalls;

    public readonly NetworkDeviceCounters Read() => new(
        Volatile.Read(in TransmittedPackets), Volatile.Read(in TransmittedBytes), Volatile.Read(in TransmitDropped), Volatile.Read(in TransmitFull),
        Volatile.Read(in ReceivedPackets), Volatile.Read(in ReceivedBytes), Volatile.Read(in ReceiveDropped), Volatile.Read(in SystemCalls))
    {
        TransmitCopiedBytes = Volatile.Read(in TransmitCopiedBytes),
    };
}
