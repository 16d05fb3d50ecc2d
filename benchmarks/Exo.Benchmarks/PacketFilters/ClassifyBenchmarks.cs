// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Net;
using BenchmarkDotNet.Attributes;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.PacketFilters;

namespace Exo.Benchmarks.PacketFilters;

/// <summary>
/// One TCP packet of a connection, classified among 10 and among 10,000 filters (connections of one server and its listening port),
/// beside a demultiplexer written by hand for exactly that: parse the headers, look the connection up in a dictionary.
/// Figures are per packet, over packets of 1024 connections in turn.
/// </summary>
public class ClassifyBenchmarks
{
    private const int Packets = 1024;

    private static readonly IPEndPoint Server = new(IPAddress.Parse("10.0.0.1"), 80);

    private readonly byte[][] _packets = new byte[Packets][];
    private readonly Dictionary<(ulong Addresses, uint Ports), ulong> _connections = [];
    private readonly Dictionary<ushort, ulong> _listeners = [];
    private ExoEnvironment _owner = null!;
    private PacketFilterTree _tree = null!;
    private PacketFilter _next = null!;

    /// <summary>How many filters are installed.</summary>
    [Params(10, 10_000)]
    public int Filters { get; set; }

    /// <summary>Installs the filters and makes packets for them.</summary>
    [GlobalSetup]
    public void Install()
    {
        _owner = ExoEnvironment.CreateRoot(CapabilityAuthority.Create());
        _tree = new PacketFilterTree(_owner.Credential.Capabilities[0].Authority);
        Add(ProtocolFilters.Port(ProtocolFilters.Tcp, new IPEndPoint(IPAddress.Any, 80)));
        _listeners.Add(80, 1);
        for (int i = 1; i < Filters; i++)
        {
            Add(ProtocolFilters.Connection(ProtocolFilters.Tcp, Server, Client(i)));
            byte[] packet = Packet(Client(i));
            _connections.Add((BinaryPrimitives.ReadUInt64BigEndian(packet.AsSpan(26)), BinaryPrimitives.ReadUInt32BigEndian(packet.AsSpan(34))), (ulong)i + 1);
        }

        for (int i = 0; i < Packets; i++)
        {
            _packets[i] = Packet(Client(1 + (int)((long)i * (Filters - 1) / Packets)));
            if (_tree.Classify(_packets[i])!.Number != Demultiplex(_packets[i]))
            {
                throw new InvalidOperationException("The two do not agree.");
            }
        }

        _next = ProtocolFilters.Connection(ProtocolFilters.Tcp, Server, Client(Filters));
    }

    /// <summary>The tree.</summary>
    [Benchmark(OperationsPerInvoke = Packets)]
    public ulong Tree()
    {
        ulong sum = 0;
        foreach (byte[] packet in _packets)
        {
            sum += _tree.Classify(packet)!.Number;
        }

        return sum;
    }

    /// <summary>Written by hand.</summary>
    [Benchmark(Baseline = true, OperationsPerInvoke = Packets)]
    public ulong ByHand()
    {
        ulong sum = 0;
        foreach (byte[] packet in _packets)
        {
            sum += Demultiplex(packet);
        }

        return sum;
    }

    /// <summary>A connection comes and goes.</summary>
    [Benchmark]
    public void InsertAndRemove()
    {
        _ = _tree.TryInsert(_owner, _next, out InstalledFilter? installed);
        installed!.Dispose();
    }

    private static IPEndPoint Client(int i) => new(new IPAddress([10, 1, (byte)(i >> 8), (byte)i]), 32_768 + (i * 7919 % 28_000));

    private static byte[] Packet(IPEndPoint from)
    {
        byte[] packet = new byte[60];
        packet[12] = 0x08;
        packet[14] = 0x45;
        packet[23] = ProtocolFilters.Tcp;
        from.Address.GetAddressBytes().CopyTo(packet, 26);
        Server.Address.GetAddressBytes().CopyTo(packet, 30);
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(34), (ushort)from.Port);
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(36), (ushort)Server.Port);
        return packet;
    }

    private void Add(PacketFilter filter)
    {
        if (!_tree.TryInsert(_owner, filter, out _).IsInstalled)
        {
            throw new InvalidOperationException($"{filter} was refused.");
        }
    }

    private ulong Demultiplex(ReadOnlySpan<byte> packet)
    {
        if (packet.Length < 34 || BinaryPrimitives.ReadUInt16BigEndian(packet[12..]) != 0x0800 || packet[14] >> 4 != 4
            || packet[23] != ProtocolFilters.Tcp || (BinaryPrimitives.ReadUInt16BigEndian(packet[20..]) & 0x1fff) != 0)
        {
            return 0;
        }

        int transport = 14 + ((packet[14] & 15) << 2);
        if (packet.Length < transport + 4)
        {
            return 0;
        }

        uint ports = BinaryPrimitives.ReadUInt32BigEndian(packet[transport..]);
        return _connections.TryGetValue((BinaryPrimitives.ReadUInt64BigEndian(packet[26..]), ports), out ulong number) ? number
            : _listeners.TryGetValue((ushort)ports, out number) ? number : 0;
    }
}
