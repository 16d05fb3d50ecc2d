// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using Exo.Core.Memory;
using Exo.Core.Net;

namespace Exo.Benchmarks.Peers.Web;

/// <summary>Writes the packets of the load generator: a template of all headers, patched for each packet; checksums are left to whoever needs them.</summary>
internal sealed class ClientPackets
{
    public const byte Fin = 1, Syn = 2, Reset = 4, Push = 8, Acknowledge = 16;

    private const int SlotBytes = 128;
    private const int Tcp = 34;
    private const int StampsBytes = 12;
    private const int HeaderBytes = 54 + StampsBytes;

    // As Linux has them: maximum segment size 1460, SACK, timestamps, a window scale of 2^10.
    private static readonly byte[] SynOptions = [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 10];

    private readonly NetworkDevice _device;
    private readonly TransmitBatch _batch = new();
    private readonly FrameNumber _first;
    private readonly byte[] _template = new byte[HeaderBytes];
    private readonly PacketSlice[] _request = new PacketSlice[1];
    private readonly int _requestBytes;
    private readonly uint _pseudo;
    private readonly uint _ipSum;
    private int _slot;

    public ClientPackets(NetworkDevice device, MacAddress server, IPEndPoint to, IPAddress from, byte[] request)
    {
        FramePool frames = device.Frames;
        if (!frames.TryAllocateRun(frames.RootCredential, 3, out _first))
        {
            throw new InvalidOperationException("no frames");
        }

        _device = device;
        request.CopyTo(frames.Bytes(new FrameNumber(_first.Value + 2)));
        _request[0] = new PacketSlice(new FrameNumber(_first.Value + 2), 0, request.Length);
        _requestBytes = request.Length;
        server.Write(_template);
        AddressResolution.Own.Write(_template.AsSpan(6));
        Span<byte> ip = _template.AsSpan(14);
        (_template[12], ip[0], ip[6], ip[8], ip[9]) = (8, 0x45, 0x40, 64, 6);
        from.TryWriteBytes(ip[12..], out _);
        to.Address.TryWriteBytes(ip[16..], out _);
        _ipSum = PacketChecksum.Sum(ip[..20]);
        _pseudo = PacketChecksum.Sum(ip[12..20], 6);
        BinaryPrimitives.WriteUInt16BigEndian(_template.AsSpan(Tcp + 2), (ushort)to.Port);
        _template[Tcp + 12] = 0x80;
        ReadOnlySpan<byte> stamps = [1, 1, 8, 10];
        stamps.CopyTo(_template.AsSpan(Tcp + 20));
        _template[Tcp + 14] = _template[Tcp + 15] = 0xff;
    }

    public int RequestBytes => _requestBytes;

    /// <summary>One packet more; goes out with the next <see cref="Flush"/>, or before if there is no room.</summary>
    /// <param name="port">From which port.</param>
    /// <param name="sequence">The sequence number.</param>
    /// <param name="acknowledged">The next one expected.</param>
    /// <param name="echo">The timestamp last heard.</param>
    /// <param name="flags">The control bits.</param>
    /// <param name="withRequest">The request as payload.</param>
    public void Send(ushort port, uint sequence, uint acknowledged, uint echo, byte flags, bool withRequest = false)
    {
        if (_slot == NetworkDevice.BatchPacketsMax)
        {
            Flush();
        }

        int offset = _slot * SlotBytes;
        bool isSyn = (flags & Syn) != 0;
        int headerBytes = isSyn ? HeaderBytes - StampsBytes + SynOptions.Length : HeaderBytes;
        Span<byte> packet = _device.Frames.Bytes(_first, 2).Slice(offset, headerBytes);
        _template.AsSpan(0, Math.Min(headerBytes, HeaderBytes)).CopyTo(packet);
        int tcpBytes = headerBytes - Tcp + (withRequest ? _requestBytes : 0);
        BinaryPrimitives.WriteUInt16BigEndian(packet[16..], (ushort)(20 + tcpBytes));
        BinaryPrimitives.WriteUInt16BigEndian(packet[24..], (ushort)~Fold(_ipSum + 20 + (uint)tcpBytes));
        Span<byte> tcp = packet[Tcp..];
        BinaryPrimitives.WriteUInt16BigEndian(tcp, port);
        BinaryPrimitives.WriteUInt32BigEndian(tcp[4..], sequence);
        BinaryPrimitives.WriteUInt32BigEndian(tcp[8..], acknowledged);
        tcp[13] = flags;
        if (isSyn)
        {
            tcp[12] = 0xa0;
            SynOptions.CopyTo(tcp[20..]);
        }

        uint clock = (uint)(Stopwatch.GetTimestamp() / (Stopwatch.Frequency / 1000));
        BinaryPrimitives.WriteUInt32BigEndian(tcp[(isSyn ? 28 : 24)..], clock);
        BinaryPrimitives.WriteUInt32BigEndian(tcp[(isSyn ? 32 : 28)..], echo);
        BinaryPrimitives.WriteUInt16BigEndian(tcp[16..], Fold(_pseudo + (uint)tcpBytes));
        var header = new PacketSlice(new FrameNumber(_first.Value + (uint)(offset / FramePool.FrameBytes)), offset % FramePool.FrameBytes, headerBytes);
        _batch.TryAdd(header, withRequest ? _request : [], new PacketOffload(Tcp, 16));
        _slot++;
    }

    /// <summary>Hands everything to the device, which copies: the slots are free afterwards.</summary>
    public void Flush()
    {
        while (_batch.Count > 0)
        {
            if (_device.Transmit(_batch) == 0)
            {
                _device.Wait(NetworkEvents.Transmittable, TimeSpan.FromMilliseconds(1));
            }
        }

        _slot = 0;
    }

    private static ushort Fold(uint sum)
    {
        sum = (sum & 0xffff) + (sum >> 16);
        return (ushort)((sum & 0xffff) + (sum >> 16));
    }
}
