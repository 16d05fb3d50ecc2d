// SPDX-License-Identifier: MIT
using Exo.Core.Net;

namespace Exo.Simulation.Net;

/// <summary>A packet under way to one device. Used again and again; the buffer grows to the longest it ever held.</summary>
internal sealed class WirePacket
{
    public byte[] Buffer = [];
    public int LengthBytes;
    public ChecksumState Checksum;
    public PacketOffload Offload;

    public Span<byte> Bytes => Buffer.AsSpan(0, LengthBytes);

    /// <summary>Room for a packet of that length, whose contents are to be written.</summary>
    public Span<byte> Reserve(int lengthBytes)
    {
        if (Buffer.Length < lengthBytes)
        {
            Buffer = new byte[Math.Max(2048, lengthBytes)];
        }

        LengthBytes = lengthBytes;
        return Buffer.AsSpan(0, lengthBytes);
    }
}
