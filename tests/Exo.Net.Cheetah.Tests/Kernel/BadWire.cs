// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Net;

namespace Exo.Net.Cheetah.Tests.Kernel;

/// <summary>
/// A wire between the kernel's TCP and a device, which loses, repeats, swaps and damages packets both ways, by a seed: what a handler says passes it too.
/// <code>
///   10.9.0.1, fd09::1 at exo-c = exo-d ... this ... exo-tap = exo-v, the device
/// </code>
/// </summary>
internal sealed class BadWire : IDisposable
{
    private readonly FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
    private readonly PacketSocketDevice near, far;
    private readonly Random random;
    private readonly double loss, duplication, swapping, damage;
    private readonly Thread thread;
    private volatile bool isEnding;
    private Exception? failure;

    public BadWire(KernelNetwork network, int seed, double loss, double duplication, double swapping, double damage)
    {
        (this.loss, this.duplication, this.swapping, this.damage) = (loss, duplication, swapping, damage);
        random = new Random(seed);
        network.Run("ip", "addr", "flush", "dev", "exo-tap");
        network.Run("ip", "link", "set", "exo-tap", "arp", "off");
        network.Run("ip", "link", "add", "exo-c", "type", "veth", "peer", "name", "exo-d");
        network.Run("ip", "link", "set", "exo-d", "addrgenmode", "none", "up");
        network.Run("ip", "addr", "add", "10.9.0.1/24", "dev", "exo-c");
        network.Run("ip", "addr", "add", "fd09::1/64", "dev", "exo-c", "nodad");
        network.Run("ip", "link", "set", "exo-c", "up");
        near = network.In(() => PacketSocketDevice.Open("exo-d", frames));
        far = network.In(() => PacketSocketDevice.Open("exo-tap", frames));
        thread = new Thread(Run);
        thread.Start();
    }

    public int Lost { get; private set; }

    public int Repeated { get; private set; }

    public int Swapped { get; private set; }

    public int Damaged { get; private set; }

    /// <summary>Larger packets to the kernel are swallowed without a word.</summary>
    public int PacketBytesMax { get; init; } = int.MaxValue;

    public int Swallowed { get; private set; }

    public void Dispose()
    {
        isEnding = true;
        thread.Join();
        near.Dispose();
        far.Dispose();
        frames.Dispose();
        Assert.Null(failure);
    }

    private void Run()
    {
        try
        {
            using ReceiveBatch batch = new(frames);
            while (!isEnding)
            {
                if (Pass(near, far, batch) + Pass(far, near, batch) == 0)
                {
                    _ = near.Wait(NetworkEvents.Receivable, TimeSpan.FromMilliseconds(1));
                }
            }
        }
        catch (Exception e)
        {
            failure = e;
        }
    }

    private int Pass(PacketSocketDevice from, PacketSocketDevice to, ReceiveBatch batch)
    {
        from.Receive(batch);
        for (int i = 0; i < batch.Count; i++)
        {
            if (i + 1 < batch.Count && random.NextDouble() < swapping)
            {
                Swapped++;
                Pass(to, batch, i + 1);
                Pass(to, batch, i++);
            }
            else
            {
                Pass(to, batch, i);
            }
        }

        return batch.Count;
    }

    private void Pass(PacketSocketDevice to, ReceiveBatch batch, int index)
    {
        if (random.NextDouble() < loss)
        {
            Lost++;
            return;
        }

        PacketOffload offload = batch.Packets[index].Offload;
        int lengthBytes = 0;
        foreach (PacketSlice slice in batch.Slices(index))
        {
            lengthBytes += slice.LengthBytes;
        }

        if (to == near && (offload.IsSuperPacket ? offload.HeaderBytes + offload.SegmentBytes : lengthBytes) > PacketBytesMax)
        {
            Swallowed++;
            return;
        }

        if (damage > 0 && offload is { NeedsChecksum: true, IsSuperPacket: false } && batch.Slices(index).Length == 1)
        {
            // As a real wire has it: the sum is in the packet.
            Assert.True(PacketChecksum.TryComplete(batch.Head(index), offload));
            offload = default;
            if (random.NextDouble() < damage)
            {
                Damaged++;
                Span<byte> bytes = batch.Head(index);
                bytes[random.Next(14, bytes.Length)] ^= (byte)(1 << random.Next(8));
            }
        }

        bool isRepeated = random.NextDouble() < duplication;
        Repeated += isRepeated ? 1 : 0;
        ReadOnlySpan<PacketSlice> slices = batch.Slices(index);
        PacketSlice first = slices[0];
        int headerBytes = first.LengthBytes;
        if (offload.IsSuperPacket)
        {
            // The kernel says how much lies together, which may be more than headers.
            headerBytes = offload.ChecksumStartBytes + ((batch.Head(index)[offload.ChecksumStartBytes + 12] >> 4) * 4);
            offload = offload with { HeaderBytes = (ushort)headerBytes };
        }

        PacketSlice header = first with { LengthBytes = headerBytes };
        PacketSlice[] rest = first.LengthBytes == headerBytes ? [.. slices[1..]] : [new PacketSlice(first.Frame, first.OffsetBytes + headerBytes, first.LengthBytes - headerBytes), .. slices[1..]];
        for (int i = 0; i <= (isRepeated ? 1 : 0); i++)
        {
            _ = to.Transmit([new TransmitPacket(header, 0, rest.Length, offload)], rest);
        }
    }
}
