// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Exo.Core.Memory;
using Exo.Core.Net;

namespace Exo.Benchmarks.Peers.Wire;

/// <summary>What a wire does to packets, each way.</summary>
/// <param name="Loss">Share of packets that do not arrive.</param>
/// <param name="Reordering">Share of packets that take up to a quarter longer, so that others overtake them.</param>
/// <param name="DelayMs">How long a packet takes.</param>
internal sealed record WireFaults(double Loss, double Reordering, double DelayMs);

/// <summary>
/// A wire between two interfaces in user space, because this kernel has no netem: every packet that comes in on one leaves on the other, later, or not at all. It stands between
/// any two TCPs alike.
/// </summary>
internal sealed class WireRelay
{
    private readonly WireFaults _faults;
    private readonly Random _random = new(1);

    private WireRelay(WireFaults faults) => _faults = faults;

    /// <summary>Runs until the process is killed; says "ready" when packets pass.</summary>
    public static void Run(string first, string second, WireFaults faults)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 256 << 20 });
        PacketSocketOptions options = new() { IsPromiscuous = true };
        using PacketSocketDevice a = PacketSocketDevice.Open(first, frames, options), b = PacketSocketDevice.Open(second, frames, options);
        using ReceiveBatch batch = new(frames);
        WireRelay relay = new(faults);
        PriorityQueue<PacketSlice, long> toA = new(), toB = new();
        Console.WriteLine("ready");
        while (true)
        {
            long now = Stopwatch.GetTimestamp();
            int moved = relay.Take(a, batch, toB, now) + relay.Take(b, batch, toA, now) + Give(a, toA, now) + Give(b, toB, now);
            if (moved == 0)
            {
                Thread.SpinWait(20);
            }
        }
    }

    private int Take(NetworkDevice from, ReceiveBatch batch, PriorityQueue<PacketSlice, long> queue, long now)
    {
        int count = from.Receive(batch);
        for (int i = 0; i < count; i++)
        {
            if (batch.Packets[i].LengthBytes > FramePool.FrameBytes || batch.Packets[i].Offload != default)
            {
                throw new InvalidOperationException($"{from.Name} does not send packets as they are on a wire");
            }

            if (_random.NextDouble() < _faults.Loss || !from.Frames.TryAllocate(from.Frames.RootCredential, out FrameNumber frame))
            {
                continue;
            }

            double delayMs = _faults.DelayMs * (_random.NextDouble() < _faults.Reordering ? 1 + 0.25 * _random.NextDouble() : 1);
            queue.Enqueue(new PacketSlice(frame, 0, batch.CopyTo(i, from.Frames.Bytes(frame))), now + (long)(delayMs / 1000 * Stopwatch.Frequency));
        }

        return count;
    }

    private static int Give(NetworkDevice to, PriorityQueue<PacketSlice, long> queue, long now)
    {
        int given = 0;
        while (queue.TryPeek(out PacketSlice packet, out long due) && due <= now && to.Transmit([new TransmitPacket(packet)], []) == 1)
        {
            queue.Dequeue();
            to.Frames.Release(packet.Frame);
            given++;
        }

        return given;
    }
}
