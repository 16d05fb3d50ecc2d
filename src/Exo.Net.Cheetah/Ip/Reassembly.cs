// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Ip;

/// <summary>
/// Puts fragments together (RFC 791, RFC 8200 section 4.5), within bounds: so many packets at a time, each for so long. Fragments that overlap make
/// the whole packet untrusted, and it is dropped (RFC 5722, RFC 8900).
/// </summary>
internal sealed class Reassembly
{
    /// <summary>Packets under construction; the oldest makes room.</summary>
    public const int PacketsMax = 16;

    /// <summary>Fragments of one packet.</summary>
    public const int FragmentsMax = 64;

    /// <summary>How long a packet may stay incomplete (RFC 8200 says 60 s; half of it holds half the memory).</summary>
    public const long LifetimeUs = 30_000_000;

    private readonly List<Packet> packets = [];

    private sealed class Packet(FragmentKey key, long beganUs)
    {
        public readonly FragmentKey Key = key;
        public readonly long BeganUs = beganUs;
        public readonly List<(int Start, int End)> Pieces = [];
        public byte[] Buffer = [];
        public int TotalBytes = -1;
        public int HaveBytes;
        public bool IsDead;
    }

    private readonly record struct FragmentKey(InternetAddress Source, InternetAddress Destination, IpProtocol Protocol, uint Identification);

    public int Count => packets.Count;

    /// <summary>When the oldest packet is given up; long.MaxValue = there is none.</summary>
    public long NextUs => packets.Count == 0 ? long.MaxValue : packets[0].BeganUs + LifetimeUs;

    /// <summary>Adds a fragment. True when it completes its packet, whose payload is then given.</summary>
    public bool TryAdd(
        InternetAddress source, InternetAddress destination, IpProtocol protocol, uint identification, int offsetBytes, bool more, ReadOnlySpan<byte> bytes,
        long nowUs, out ReadOnlySpan<byte> payload)
    {
        payload = default;
        int end = offsetBytes + bytes.Length;
        if (bytes.IsEmpty || end > ushort.MaxValue || (more && bytes.Length % 8 != 0))
        {
            return false;
        }

        var key = new FragmentKey(source, destination, protocol, identification);
        Packet? packet = packets.Find(other => other.Key == key);
        if (packet is null)
        {
            if (packets.Count == PacketsMax)
            {
                packets.RemoveAt(0);
            }

            packet = new Packet(key, nowUs);
            packets.Add(packet);
        }

        if (packet.IsDead)
        {
            return false;
        }

        if (packet.Pieces.Contains((offsetBytes, end)))
        {
            return false;   // the same one twice
        }

        bool overlaps = packet.Pieces.Exists(piece => piece.Start < end && offsetBytes < piece.End);
        bool disagrees = (!more && packet.TotalBytes >= 0) || (packet.TotalBytes >= 0 && end > packet.TotalBytes)
            || (!more && packet.Pieces.Exists(piece => piece.End > end));
        if (overlaps || disagrees || packet.Pieces.Count == FragmentsMax)
        {
            packet.IsDead = true;   // stays until its time is over, so that its other fragments do not begin it anew
            packet.Buffer = [];
            return false;
        }

        if (packet.Buffer.Length < end)
        {
            Array.Resize(ref packet.Buffer, Math.Max(end, Math.Min(packet.Buffer.Length * 2, ushort.MaxValue)));
        }

        bytes.CopyTo(packet.Buffer.AsSpan(offsetBytes));
        packet.Pieces.Add((offsetBytes, end));
        packet.HaveBytes += bytes.Length;
        packet.TotalBytes = more ? packet.TotalBytes : end;
        if (packet.HaveBytes != packet.TotalBytes)
        {
            return false;
        }

        packets.Remove(packet);
        payload = packet.Buffer.AsSpan(0, packet.TotalBytes);
        return true;
    }

    public void Expire(long nowUs)
    {
        while (packets.Count > 0 && packets[0].BeganUs + LifetimeUs <= nowUs)
        {
            packets.RemoveAt(0);
        }
    }
}
