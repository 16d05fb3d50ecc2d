// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Net;
using BenchmarkDotNet.Attributes;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Core.PacketFilters;

namespace Exo.Benchmarks.Net;

/// <summary>
/// What an environment pays for a packet on an interface that is shared: queued and given to a device that drops it. By a share of what is sent alone, and by an environment's device, which copies the header and
/// looks whether the port is the environment's; and what is refused there. Figures are per packet, over batches of 64.
/// </summary>
public class SharedSending
{
    private const int Packets = 64;

    private FramePool _frames = null!;
    private ExoEnvironment _root = null!;
    private Nowhere _device = null!;
    private TransmitShares _shares = null!;
    private TransmitShare _share = null!;
    private SharedInterface _shared = null!;
    private EnvironmentDevice _part = null!;
    private TransmitPacket[] _v4 = null!, _v6 = null!, _others = null!;

    [GlobalSetup]
    public void Setup()
    {
        _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        _root = ExoEnvironment.CreateRoot(_frames.Authority);
        _device = new Nowhere(_frames);
        _shares = new TransmitShares(_device);
        _ = _shares.TryAdd(_root, 1, 256, out TransmitShare? share);
        _share = share!;
        _shared = new SharedInterface(_device, new PacketFilterTree(_frames.Authority), _root, [IPAddress.Parse("10.0.0.1"), IPAddress.Parse("fd00::1")], areKernels: false);
        _ = _shared.TryOpen(_root, out EnvironmentDevice? part);
        _part = part!;
        _ = _part.Ports.TryBind(ProtocolFilters.Tcp, 80, null, out _);
        _v4 = Make(isV4: true, 80);
        _v6 = Make(isV4: false, 80);
        _others = Make(isV4: true, 81);
    }

    [Benchmark(Baseline = true, OperationsPerInvoke = Packets)]
    public int A_share_alone()
    {
        foreach (ref readonly TransmitPacket packet in _v4.AsSpan())
        {
            _ = _share.TrySend(packet.Header);
        }

        return _shares.Poll();
    }

    [Benchmark(OperationsPerInvoke = Packets)]
    public int An_environments_device_IPv4() => Send(_v4);

    [Benchmark(OperationsPerInvoke = Packets)]
    public int An_environments_device_IPv6() => Send(_v6);

    [Benchmark(OperationsPerInvoke = Packets)]
    public int From_a_port_that_is_not_its_own() => Send(_others);

    private int Send(TransmitPacket[] packets)
    {
        _ = _part.Transmit(packets, []);
        return _shared.Poll();
    }

    private TransmitPacket[] Make(bool isV4, ushort port)
    {
        TransmitPacket[] packets = new TransmitPacket[Packets];
        int transport = isV4 ? 34 : 54, lengthBytes = transport + 32;
        for (int i = 0; i < Packets; i++)
        {
            if (!_frames.TryAllocate(_frames.RootCredential, out FrameNumber frame, zero: true))
            {
                throw new InvalidOperationException();
            }

            PacketSlice slice = new(frame, 0, lengthBytes);
            Span<byte> packet = slice.Bytes(_frames), ip = packet[14..];
            BinaryPrimitives.WriteUInt16BigEndian(packet[12..], isV4 ? (ushort)0x0800 : (ushort)0x86DD);
            if (isV4)
            {
                (ip[0], ip[3], ip[9]) = (0x45, 52, ProtocolFilters.Tcp);
                IPAddress.Parse("10.0.0.1").GetAddressBytes().CopyTo(ip[12..]);
            }
            else
            {
                (ip[0], ip[5], ip[6]) = (0x60, 32, ProtocolFilters.Tcp);
                IPAddress.Parse("fd00::1").GetAddressBytes().CopyTo(ip[8..]);
            }

            BinaryPrimitives.WriteUInt16BigEndian(packet[transport..], port);
            packet[transport + 12] = 0x80;
            packets[i] = new TransmitPacket(slice);
        }

        return packets;
    }

    /// <summary>A device for which there is no wire.</summary>
    private sealed class Nowhere(FramePool frames) : NetworkDevice("nowhere", frames)
    {
        public override NetworkDeviceFeatures Features { get; } = new() { Driver = "nowhere", Address = default, MtuBytes = 1500, TransmitSlicesMax = 18 };

        public override NetworkDeviceCounters Counters => default;

        public override NetworkEvents Wait(NetworkEvents wanted, TimeSpan timeout) => wanted;

        public override void Wake()
        {
        }

        protected override int TransmitChecked(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices) => packets.Length;

        protected override int ReceiveInto(ReceiveBatch batch) => 0;

        protected override void Dispose(bool disposing)
        {
        }
    }
}
