// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using Exo.Core.Memory;
using Exo.Core.Net;

namespace Exo.Benchmarks.Peers.Packets;

/// <summary>Sends packets of one size through a device as fast as one thread can, in a process of its own; the counterpart of packet_send.c.</summary>
internal static class PacketSender
{
    private const int Batch = 32;
    private const int HeaderBytes = 54;
    private const ushort SegmentBytes = 1448;

    /// <summary>Opens a device by the name that the command line uses: packet, tap, xdp-driver, xdp-generic.</summary>
    public static NetworkDevice Open(string driver, string interfaceName, FramePool frames)
    {
        switch (driver)
        {
            case "packet":
                return PacketSocketDevice.Open(interfaceName, frames);
            case "tap":
                TapDevice tap = TapDevice.Open(interfaceName, frames);
                using (NetworkLink link = NetworkLink.Open(interfaceName))
                {
                    link.IsUp = true;
                }

                return tap;
            case "xdp-driver":
                return XdpDevice.Open(interfaceName, frames, new XdpOptions { Mode = XdpMode.Driver });
            case "xdp-generic":
                return XdpDevice.Open(interfaceName, frames, new XdpOptions { Mode = XdpMode.Generic });
            default:
                throw new ArgumentException($"There is no driver '{driver}'.", nameof(driver));
        }
    }

    /// <summary>Sends, and prints packets and processor seconds on one line.</summary>
    public static void Run(string driver, string interfaceName, int bytes, double seconds)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        using NetworkDevice device = Open(driver, interfaceName, frames);
        if (!frames.TryAllocateRun(frames.RootCredential, 17, out FrameNumber first))
        {
            throw new InvalidOperationException("no frames");
        }

        frames.Bytes(new FrameNumber(first.Value + 1), 16).Fill(0x5a);
        WriteHeader(frames.Bytes(first), bytes);
        var header = new PacketSlice(first, 0, HeaderBytes);
        PacketSlice[] payload = [new PacketSlice(new FrameNumber(first.Value + 1), 0, bytes - HeaderBytes)];
        PacketOffload offload = bytes > 1514 ? new PacketOffload(34, 16, SegmentationKind.Tcp4, SegmentBytes, HeaderBytes) : default;
        TransmitBatch batch = new(Batch);


        // Until the compiler has done its work, by processor time: on a busy machine a second of the clock may be little.
        while (Process.GetCurrentProcess().TotalProcessorTime.TotalSeconds < 1.5)
        {
            Send(device, batch, header, payload, offload, 0.1);
        }

        TimeSpan before = Process.GetCurrentProcess().TotalProcessorTime;
        long sent = Send(device, batch, header, payload, offload, seconds);
        double cpu = (Process.GetCurrentProcess().TotalProcessorTime - before).TotalSeconds;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{sent} {cpu:0.000000}"));
    }

    private static long Send(NetworkDevice device, TransmitBatch batch, PacketSlice header, PacketSlice[] payload, PacketOffload offload, double seconds)
    {
        long sent = 0, start = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(start).TotalSeconds < seconds)
        {
            for (int round = 0; round < 32; round++)
            {
                while (batch.TryAdd(header, payload, offload))
                {
                }

                while (batch.Count > 0)
                {
                    sent += device.Transmit(batch);
                }
            }
        }

        return sent;
    }

    private static void WriteHeader(Span<byte> packet, int bytes)
    {
        new MacAddress(0x02_00_00_00_00_99).Write(packet);
        new MacAddress(0x02_00_00_00_00_98).Write(packet[6..]);
        (packet[12], packet[14], packet[22], packet[23], packet[26], packet[30], packet[46]) = (8, 0x45, 64, 6, 10, 10, 0x50);
        BinaryPrimitives.WriteUInt16BigEndian(packet[16..], (ushort)(bytes - 14));
    }
}
