// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Exo.Simulation.Net;

/// <summary>
/// Writes packets to a stream in the format of pcap files (Ethernet, nanoseconds), for tcpdump and Wireshark. For one thread at a time.
/// <code>
///   file    0xa1b23c4d | 2 | 4 | 0 | 0 | 262144 | 1          24 bytes, little-endian
///   packet  seconds | nanoseconds | length | length | bytes  16 bytes and the packet
/// </code>
/// </summary>
public sealed class PacketTrace : IDisposable
{
    private readonly Stream _stream;
    private readonly bool _leaveOpen;

    /// <summary>Begins a file.</summary>
    public PacketTrace(Stream stream, bool leaveOpen = false)
    {
        ArgumentNullException.ThrowIfNull(stream);
        _stream = stream;
        _leaveOpen = leaveOpen;
        Span<byte> header = stackalloc byte[24];
        header.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(header, 0xa1b2_3c4d);
        BinaryPrimitives.WriteUInt16LittleEndian(header[4..], 2);
        BinaryPrimitives.WriteUInt16LittleEndian(header[6..], 4);
        BinaryPrimitives.WriteUInt32LittleEndian(header[16..], 262_144);
        BinaryPrimitives.WriteUInt32LittleEndian(header[20..], 1);
        stream.Write(header);
    }

    /// <summary>Writes a packet.</summary>
    /// <param name="time">Since the beginning.</param>
    /// <param name="packet">From the Ethernet header on.</param>
    public void Write(TimeSpan time, ReadOnlySpan<byte> packet)
    {
        Span<byte> header = stackalloc byte[16];
        BinaryPrimitives.WriteUInt32LittleEndian(header, (uint)(time.Ticks / TimeSpan.TicksPerSecond));
        BinaryPrimitives.WriteUInt32LittleEndian(header[4..], (uint)(time.Ticks % TimeSpan.TicksPerSecond * 100));
        BinaryPrimitives.WriteUInt32LittleEndian(header[8..], (uint)packet.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(header[12..], (uint)packet.Length);
        _stream.Write(header);
        _stream.Write(packet);
    }

    /// <summary>Flushes the stream, and closes it unless it was to be left open.</summary>
    public void Dispose()
    {
        _stream.Flush();
        if (!_leaveOpen)
        {
            _stream.Dispose();
        }
    }
}
