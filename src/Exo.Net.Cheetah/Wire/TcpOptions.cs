// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Exo.Net.Cheetah.Wire;

/// <summary>One stretch of sequence numbers that has arrived out of order (RFC 2018).</summary>
/// <param name="Start">The first.</param>
/// <param name="End">The first that is not in it.</param>
public readonly record struct SackBlock(uint Start, uint End);

/// <summary>
/// The TCP options understood here; anything else is skipped. The value nothing was said about is the default one.
/// <code>
/// 0 end · 1 no-operation · 2,4 MSS · 3,3 window scale · 4,2 SACK permitted · 5,n SACK blocks · 8,10 timestamps
/// </code>
/// </summary>
/// <param name="MaximumSegmentBytes">0 = absent (RFC 9293 section 3.7.1).</param>
/// <param name="HasWindowScale">The option is there (RFC 7323 section 2).</param>
/// <param name="WindowScale">A shift of 0 to 14; larger ones are read as 14.</param>
/// <param name="SackPermitted">RFC 2018 section 2.</param>
/// <param name="HasTimestamps">The option is there (RFC 7323 section 3).</param>
/// <param name="Timestamp">The sender's clock.</param>
/// <param name="TimestampEcho">The clock last heard.</param>
/// <param name="SackCount">How many of the blocks count, 0 to 4.</param>
/// <param name="Sack0">The block received last.</param>
/// <param name="Sack1">The second block.</param>
/// <param name="Sack2">The third block.</param>
/// <param name="Sack3">The fourth block; no room for it beside timestamps.</param>
public readonly record struct TcpOptions(
    ushort MaximumSegmentBytes = 0, bool HasWindowScale = false, byte WindowScale = 0, bool SackPermitted = false,
    bool HasTimestamps = false, uint Timestamp = 0, uint TimestampEcho = 0,
    int SackCount = 0, SackBlock Sack0 = default, SackBlock Sack1 = default, SackBlock Sack2 = default, SackBlock Sack3 = default)
{
    /// <summary>Options end here, whatever is asked for.</summary>
    public const int BytesMax = 40;

    /// <summary>Bytes of a timestamps option with the padding in front.</summary>
    public const int TimestampsBytes = 12;

    private const uint TimestampsHead = 0x0101_080A;

    /// <summary>The block at an index below <see cref="SackCount"/>.</summary>
    public SackBlock Sack(int index) => index switch { 0 => Sack0, 1 => Sack1, 2 => Sack2, _ => Sack3 };

    /// <summary>Bytes on the wire, a multiple of 4, at most <see cref="BytesMax"/>: SACK blocks beyond that must not be asked for.</summary>
    public int SizeBytes =>
        (MaximumSegmentBytes != 0 ? 4 : 0) + (HasWindowScale ? 4 : 0) + (SackPermitted && !HasTimestamps ? 4 : 0)
        + (HasTimestamps ? TimestampsBytes : 0) + (SackCount > 0 ? 4 + (8 * SackCount) : 0);

    /// <summary>
    /// Reads the options of one header. False when one of them leaves the header or has a length it cannot have; after an end everything is
    /// padding.
    /// </summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, out TcpOptions options)
    {
        if (bytes.Length == TimestampsBytes && BinaryPrimitives.ReadUInt32BigEndian(bytes) == TimestampsHead)
        {
            options = new TcpOptions(
                HasTimestamps: true, Timestamp: BinaryPrimitives.ReadUInt32BigEndian(bytes[4..]), TimestampEcho: BinaryPrimitives.ReadUInt32BigEndian(bytes[8..]));
            return true;
        }

        options = default;
        while (!bytes.IsEmpty && bytes[0] != 0)
        {
            if (bytes[0] == 1)
            {
                bytes = bytes[1..];
                continue;
            }

            if (bytes.Length < 2 || bytes[1] < 2 || bytes[1] > bytes.Length || !TryTake(bytes[0], bytes[2..bytes[1]], ref options))
            {
                return false;
            }

            bytes = bytes[bytes[1]..];
        }

        return true;
    }

    private static bool TryTake(byte kind, ReadOnlySpan<byte> body, ref TcpOptions options)
    {
        switch (kind)
        {
            case 2 when body.Length == 2:
                options = options with { MaximumSegmentBytes = BinaryPrimitives.ReadUInt16BigEndian(body) };
                return true;
            case 3 when body.Length == 1:
                options = options with { HasWindowScale = true, WindowScale = Math.Min(body[0], (byte)14) };
                return true;
            case 4 when body.IsEmpty:
                options = options with { SackPermitted = true };
                return true;
            case 5 when body.Length is > 0 and <= 32 && body.Length % 8 == 0:
                options = options with
                {
                    SackCount = body.Length / 8,
                    Sack0 = Block(body, 0),
                    Sack1 = Block(body, 1),
                    Sack2 = Block(body, 2),
                    Sack3 = Block(body, 3),
                };
                return true;
            case 8 when body.Length == 8:
                options = options with
                {
                    HasTimestamps = true,
                    Timestamp = BinaryPrimitives.ReadUInt32BigEndian(body),
                    TimestampEcho = BinaryPrimitives.ReadUInt32BigEndian(body[4..]),
                };
                return true;
            default:
                return kind is not (2 or 3 or 4 or 5 or 8);
        }
    }

    private static SackBlock Block(ReadOnlySpan<byte> body, int index) => body.Length < (index + 1) * 8
        ? default
        : new SackBlock(BinaryPrimitives.ReadUInt32BigEndian(body[(index * 8)..]), BinaryPrimitives.ReadUInt32BigEndian(body[((index * 8) + 4)..]));

    /// <summary>Writes the options, padded to words.</summary>
    public void Emit(Span<byte> bytes)
    {
        if (MaximumSegmentBytes != 0)
        {
            BinaryPrimitives.WriteUInt32BigEndian(bytes, 0x0204_0000u | MaximumSegmentBytes);
            bytes = bytes[4..];
        }

        if (HasWindowScale)
        {
            BinaryPrimitives.WriteUInt32BigEndian(bytes, 0x0103_0300u | WindowScale);
            bytes = bytes[4..];
        }

        if (HasTimestamps)
        {
            BinaryPrimitives.WriteUInt32BigEndian(bytes, SackPermitted ? 0x0402_080A : TimestampsHead);
            BinaryPrimitives.WriteUInt32BigEndian(bytes[4..], Timestamp);
            BinaryPrimitives.WriteUInt32BigEndian(bytes[8..], TimestampEcho);
            bytes = bytes[TimestampsBytes..];
        }
        else if (SackPermitted)
        {
            BinaryPrimitives.WriteUInt32BigEndian(bytes, 0x0101_0402);
            bytes = bytes[4..];
        }

        if (SackCount > 0)
        {
            BinaryPrimitives.WriteUInt32BigEndian(bytes, 0x0101_0500u | (uint)(2 + (8 * SackCount)));
            for (int i = 0; i < SackCount; i++)
            {
                BinaryPrimitives.WriteUInt32BigEndian(bytes[(4 + (8 * i))..], Sack(i).Start);
                BinaryPrimitives.WriteUInt32BigEndian(bytes[(8 + (8 * i))..], Sack(i).End);
            }
        }
    }
}
