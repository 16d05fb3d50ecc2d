// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Net;

namespace Exo.Net.Cheetah.Tests.Kernel;

/// <summary>A device that loses, repeats and swaps packets on their way out and in, by a seed.</summary>
internal sealed class ImpairedDevice(NetworkDevice inner, int seed, double loss, double duplication = 0, double swapping = 0) : NetworkDevice(inner.Name, inner.Frames)
{
    private readonly Random random = new(seed);
    private readonly ReceiveBatch arrived = new(inner.Frames);

    // Without segmentation, so that each packet meets its own fate.
    public override NetworkDeviceFeatures Features =>
        inner.Features with { SegmentationV4 = false, SegmentationV6 = false, SuperPacketBytesMax = 0 };

    public override NetworkDeviceCounters Counters => inner.Counters;

    public override bool TakesHandlers => inner.TakesHandlers;

    public override void SetHandler(PacketHandler? handler) => inner.SetHandler(handler);

    public override NetworkEvents Wait(NetworkEvents wanted, TimeSpan timeout) => inner.Wait(wanted, timeout);

    public override void Wake() => inner.Wake();

    protected override int TransmitChecked(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices)
    {
        for (int i = 0; i < packets.Length; i++)
        {
            if (swapping > 0 && i + 1 < packets.Length && random.NextDouble() < swapping)
            {
                Send(packets[i + 1], slices);
                Send(packets[i], slices);
                i++;
                continue;
            }

            Send(packets[i], slices);
        }

        return packets.Length;
    }

    protected override int ReceiveInto(ReceiveBatch batch)
    {
        inner.Receive(arrived);
        for (int i = 0; i < arrived.Count; i++)
        {
            if (random.NextDouble() >= loss)
            {
                ReceivedPacket packet = arrived.Packets[i];
                foreach (PacketSlice slice in arrived.Slices(i))
                {
                    for (uint k = 0; k < slice.FrameCount; k++)
                    {
                        Frames.Retain(new FrameNumber(slice.Frame.Value + k));
                    }
                }

                batch.Add(null, arrived.Slices(i), packet.Checksum, packet.Offload);
            }
        }

        arrived.Clear();
        return batch.Count;
    }

    protected override void Dispose(bool disposing) => arrived.Dispose();

    private void Send(in TransmitPacket packet, ReadOnlySpan<PacketSlice> slices)
    {
        if (random.NextDouble() < loss)
        {
            return;
        }

        _ = inner.Transmit([packet], slices);
        if (random.NextDouble() < duplication)
        {
            _ = inner.Transmit([packet], slices);
        }
    }
}
