// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using Exo.Core.Memory;
using Exo.Core.Net;

namespace Exo.Benchmarks.Peers.Web;

/// <summary>ARP (RFC 826), as much as a client on one link needs.</summary>
internal static class AddressResolution
{
    private const int PacketBytes = 42;

    /// <summary>
    /// The hardware address of the clients: not that of the interface, as if they were another machine on the link. So the kernel at the client's end, which gets a copy of
    /// every packet, sees at once that they are not for it.
    /// </summary>
    public static MacAddress Own { get; } = MacAddress.Parse("02:65:78:6f:00:01");

    /// <summary>Asks for the hardware address of a neighbour until he answers.</summary>
    /// <exception cref="InvalidOperationException">He does not, for 10 seconds.</exception>
    public static MacAddress Ask(NetworkDevice device, ReceiveBatch batch, IPAddress own, IPAddress wanted)
    {
        byte[] address = wanted.GetAddressBytes();
        long start = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(start).TotalSeconds < 10)
        {
            Send(device, 1, MacAddress.Broadcast, own, address);
            device.Wait(NetworkEvents.Receivable, TimeSpan.FromMilliseconds(100));
            device.Receive(batch);
            for (int i = 0; i < batch.Count; i++)
            {
                ReadOnlySpan<byte> packet = batch.Head(i);
                if (IsArp(packet, 2) && packet[28..32].SequenceEqual(address))
                {
                    return MacAddress.Read(packet[22..]);
                }
            }
        }

        throw new InvalidOperationException($"{wanted} does not answer");
    }

    /// <summary>Answers a question for our address.</summary>
    /// <returns>Whether the packet was ARP.</returns>
    public static bool TryAnswer(NetworkDevice device, ReadOnlySpan<byte> packet, IPAddress own)
    {
        if (packet.Length < PacketBytes || packet[12] != 8 || packet[13] != 6)
        {
            return false;
        }

        if (IsArp(packet, 1) && packet[38..42].SequenceEqual(own.GetAddressBytes()))
        {
            Send(device, 2, MacAddress.Read(packet[22..]), own, packet[28..32]);
        }

        return true;
    }

    private static bool IsArp(ReadOnlySpan<byte> packet, byte operation) =>
        packet.Length >= PacketBytes && packet[12] == 8 && packet[13] == 6 && packet[21] == operation;

    private static void Send(NetworkDevice device, ushort operation, MacAddress to, IPAddress own, ReadOnlySpan<byte> target)
    {
        if (!device.Frames.TryAllocate(device.Frames.RootCredential, out FrameNumber frame))
        {
            return;
        }

        Span<byte> packet = device.Frames.Bytes(frame)[..PacketBytes];
        packet.Clear();
        to.Write(packet);
        Own.Write(packet[6..]);
        (packet[12], packet[13], packet[15], packet[16], packet[18], packet[19]) = (8, 6, 1, 8, 6, 4);
        BinaryPrimitives.WriteUInt16BigEndian(packet[20..], operation);
        Own.Write(packet[22..]);
        own.TryWriteBytes(packet[28..], out _);
        if (operation == 2)
        {
            to.Write(packet[32..]);
        }

        target.CopyTo(packet[38..]);
        device.Transmit([new TransmitPacket(new PacketSlice(frame, 0, PacketBytes))], []);
        device.Frames.Release(frame);
    }
}
