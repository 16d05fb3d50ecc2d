// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Exo.Net.Cheetah.Wire;

/// <summary>The control bits of a segment (RFC 9293 section 3.1).</summary>
[Flags]
public enum TcpFlags : byte
{
    /// <summary>No bit.</summary>
    None = 0,

    /// <summary>The sender has no more.</summary>
    Fin = 1,

    /// <summary>Sequence numbers begin here.</summary>
    Syn = 2,

    /// <summary>The connection is not, or is no more.</summary>
    Rst = 4,

    /// <summary>Give what has come to the application.</summary>
    Psh = 8,

    /// <summary>The acknowledgment number counts.</summary>
    Ack = 16,

    /// <summary>The urgent pointer counts; it is read and has no effect here (RFC 6093).</summary>
    Urg = 32,

    /// <summary>ECN echo (RFC 3168).</summary>
    Ece = 64,

    /// <summary>Congestion window reduced (RFC 3168).</summary>
    Cwr = 128,
}

/// <summary>
/// A TCP header with its options (RFC 9293 section 3.1).
/// <code>
/// 0        2             4     8     12      13      14       16    18       20
/// | source | destination | seq | ack | off 0 | flags | window | sum | urgent | options... | payload
/// </code>
/// </summary>
/// <param name="SourcePort">The sender's port.</param>
/// <param name="DestinationPort">The receiver's port.</param>
/// <param name="Sequence">Of the first byte, or of the SYN.</param>
/// <param name="Acknowledgment">The next byte expected, with <see cref="TcpFlags.Ack"/>.</param>
/// <param name="Flags">The control bits.</param>
/// <param name="Window">As in the header, unscaled.</param>
/// <param name="Options">Those understood; others are skipped when read.</param>
public readonly record struct TcpSegment(
    ushort SourcePort, ushort DestinationPort, uint Sequence, uint Acknowledgment, TcpFlags Flags, ushort Window, TcpOptions Options)
{
    /// <summary>Bytes of the header without options.</summary>
    public const int FixedBytes = 20;

    /// <summary>Where the checksum stands in the header.</summary>
    public const int ChecksumOffset = 16;

    /// <summary>Bytes of the header with its options.</summary>
    public int SizeBytes => FixedBytes + Options.SizeBytes;

    /// <summary>Reads a header. The checksum is a matter of <see cref="Check"/>: a device may have looked at it already.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, out TcpSegment segment, out ReadOnlySpan<byte> payload)
    {
        segment = default;
        payload = default;
        if (bytes.Length < FixedBytes)
        {
            return false;
        }

        int headerBytes = bytes[12] >> 4 << 2;
        if (headerBytes < FixedBytes || headerBytes > bytes.Length || !TcpOptions.TryParse(bytes[FixedBytes..headerBytes], out TcpOptions options))
        {
            return false;
        }

        segment = new TcpSegment(
            BinaryPrimitives.ReadUInt16BigEndian(bytes), BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]),
            BinaryPrimitives.ReadUInt32BigEndian(bytes[4..]), BinaryPrimitives.ReadUInt32BigEndian(bytes[8..]),
            (TcpFlags)bytes[13], BinaryPrimitives.ReadUInt16BigEndian(bytes[14..]), options);
        payload = bytes[headerBytes..];
        return true;
    }

    /// <summary>The checksum over pseudo header, header and payload is right.</summary>
    public static bool Check(InternetAddress source, InternetAddress destination, ReadOnlySpan<byte> segment) =>
        PseudoHeader.Check(source, destination, IpProtocol.Tcp, segment);

    /// <summary>Writes header and options; the checksum field is left zero, see <see cref="Seal"/>.</summary>
    public void Emit(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt16BigEndian(bytes, SourcePort);
        BinaryPrimitives.WriteUInt16BigEndian(bytes[2..], DestinationPort);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[4..], Sequence);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[8..], Acknowledgment);
        bytes[12] = (byte)(SizeBytes >> 2 << 4);
        bytes[13] = (byte)Flags;
        BinaryPrimitives.WriteUInt16BigEndian(bytes[14..], Window);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[16..], 0);
        Options.Emit(bytes[FixedBytes..]);
    }

    /// <summary>Completes the checksum of an emitted header whose payload has the partial sum <paramref name="payloadSum"/>.</summary>
    public static void Seal(InternetAddress source, InternetAddress destination, Span<byte> header, int payloadBytes, ushort payloadSum)
    {
        ushort sum = PseudoHeader.Partial(source, destination, IpProtocol.Tcp, header.Length + payloadBytes);
        sum = InternetChecksum.Combine(sum, 0, InternetChecksum.Partial(header));
        BinaryPrimitives.WriteUInt16BigEndian(header[ChecksumOffset..], InternetChecksum.Finish(InternetChecksum.Combine(sum, 0, payloadSum)));
    }
}
