// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Diagnostics;
using Exo.Core.Net;

namespace Exo.Core.Tests.Net;

/// <summary>A TCP super-packet with known payload, and what must arrive of it.</summary>
public sealed class SuperPacket
{
    private const uint FirstSequence = 0xffff_f000;
    private const int TcpBytes = 32;

    private int _tcp;

    public byte[] Header { get; private init; } = [];

    public byte[] Payload { get; private init; } = [];

    public PacketOffload Offload { get; private init; }

    public static SuperPacket Make(MacAddress from, MacAddress to, bool isV6, int payloadBytes, ushort segmentBytes)
    {
        byte[] payload = new byte[payloadBytes];
        new Random(payloadBytes).NextBytes(payload);
        int tcp = isV6 ? 54 : 34;
        byte[] header = new byte[tcp + TcpBytes];
        to.Write(header);
        from.Write(header.AsSpan(6));
        BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(12), isV6 ? (ushort)0x86dd : (ushort)0x0800);
        Span<byte> ip = header.AsSpan(14);
        uint length = (uint)(TcpBytes + payloadBytes);
        uint pseudo;
        if (isV6)
        {
            ip[0] = 0x60;
            BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)length);
            (ip[6], ip[7], ip[8], ip[23], ip[24], ip[39]) = (6, 64, 0xfd, 1, 0xfd, 2);
            pseudo = PacketChecksum.Sum(ip[8..40], 6 + length);
        }
        else
        {
            ip[0] = 0x45;
            BinaryPrimitives.WriteUInt16BigEndian(ip[2..], (ushort)(20 + length));
            BinaryPrimitives.WriteUInt16BigEndian(ip[4..], 0xfff0);
            (ip[6], ip[8], ip[9], ip[12], ip[15], ip[16], ip[19]) = (0x40, 64, 6, 10, 1, 10, 2);
            BinaryPrimitives.WriteUInt16BigEndian(ip[10..], (ushort)~PacketChecksum.Sum(ip[..20]));
            pseudo = PacketChecksum.Sum(ip[12..20], 6 + length);
        }

        Span<byte> segment = header.AsSpan(tcp);
        BinaryPrimitives.WriteUInt16BigEndian(segment, 80);
        BinaryPrimitives.WriteUInt16BigEndian(segment[2..], 5000);
        BinaryPrimitives.WriteUInt32BigEndian(segment[4..], FirstSequence);
        (segment[12], segment[13]) = (TcpBytes / 4 << 4, 0x19); // ACK, PSH, FIN
        BinaryPrimitives.WriteUInt16BigEndian(segment[14..], 1000);
        BinaryPrimitives.WriteUInt16BigEndian(segment[16..], (ushort)pseudo);
        (segment[20], segment[21], segment[22], segment[23]) = (1, 1, 8, 10); // timestamps
        return new SuperPacket
        {
            Header = header,
            Payload = payload,
            _tcp = tcp,
            Offload = new PacketOffload((ushort)tcp, 16, isV6 ? SegmentationKind.Tcp6 : SegmentationKind.Tcp4, segmentBytes, (ushort)header.Length),
        };
    }

    /// <summary>Sends and takes packets until every byte is there: every segment must have a good header, a good sum and the right bytes. What got lost is sent again.</summary>
    /// <param name="send">Sends it.</param>
    /// <param name="receive">Gives what has come in, waiting at most so long.</param>
    public void AssertArrived(Action send, Func<TimeSpan, List<(byte[] Bytes, ReceivedPacket Packet)>> receive)
    {
        byte[] got = new byte[Payload.Length];
        HashSet<int> segments = [];
        int attempts = 0;
        long start = 0;
        while (segments.Count < PacketSegmenter.SegmentCount(Header.Length + Payload.Length, Offload))
        {
            if (attempts == 0 || Stopwatch.GetElapsedTime(start).TotalSeconds > 1)
            {
                Assert.True(attempts++ < 20, $"{segments.Count} segments of {Payload.Length} bytes arrived");
                send();
                start = Stopwatch.GetTimestamp();
            }

            foreach ((byte[] bytes, ReceivedPacket packet) in receive(TimeSpan.FromMilliseconds(50)))
            {
                if (bytes.Length < Header.Length || !bytes.AsSpan(12, 2).SequenceEqual(Header.AsSpan(12, 2)) || !bytes.AsSpan(_tcp, 4).SequenceEqual(Header.AsSpan(_tcp, 4)))
                {
                    continue;
                }

                if (packet.Offload.IsSuperPacket)
                {
                    Assert.Equal(Offload.SegmentBytes, packet.Offload.SegmentBytes);
                    Assert.NotEqual(ChecksumState.Unknown, packet.Checksum);
                    PacketOffload offload = Offload with { Segmentation = packet.Offload.Segmentation };
                    byte[] one = new byte[2048];
                    for (int i = 0; i < PacketSegmenter.SegmentCount(bytes.Length, offload); i++)
                    {
                        segments.Add(Check(one.AsSpan(0, PacketSegmenter.WriteSegment(bytes, offload, i, one)), got));
                    }

                    continue;
                }

                if (packet.Checksum == ChecksumState.Partial)
                {
                    Assert.True(PacketChecksum.TryComplete(bytes, packet.Offload));
                }

                segments.Add(Check(bytes, got));
            }
        }

        Assert.Equal(Payload, got);
    }

    // Where in the payload it belongs.
    private int Check(ReadOnlySpan<byte> packet, byte[] got)
    {
        ReadOnlySpan<byte> ip = packet[14.._tcp];
        ReadOnlySpan<byte> segment = packet[_tcp..];
        int at = (int)(BinaryPrimitives.ReadUInt32BigEndian(segment[4..]) - FirstSequence);
        ReadOnlySpan<byte> payload = segment[TcpBytes..];
        bool isLast = at + payload.Length == Payload.Length;
        Assert.Equal(isLast ? 0x19 : 0x10, segment[13]);
        Assert.True(payload.Length == Offload.SegmentBytes || isLast, $"a segment of {payload.Length} bytes");
        uint pseudo = 6 + (uint)segment.Length;
        if (ip.Length == 20)
        {
            Assert.Equal(packet.Length - 14, BinaryPrimitives.ReadUInt16BigEndian(ip[2..]));
            Assert.Equal(0xffff, PacketChecksum.Sum(ip));
            pseudo = PacketChecksum.Sum(ip[12..20], pseudo);
        }
        else
        {
            Assert.Equal(segment.Length, BinaryPrimitives.ReadUInt16BigEndian(ip[4..]));
            pseudo = PacketChecksum.Sum(ip[8..40], pseudo);
        }

        Assert.Equal(0xffff, PacketChecksum.Sum(segment, pseudo));
        payload.CopyTo(got.AsSpan(at));
        return at;
    }
}
