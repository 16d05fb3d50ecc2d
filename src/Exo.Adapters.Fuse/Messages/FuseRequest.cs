// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Exo.Adapters.Fuse.Messages;

/// <summary>The message is shorter than its kind says, or a name in it has no end.</summary>
internal sealed class FuseMessageException(string message) : Exception(message);

/// <summary>
/// One message of the kernel: struct fuse_in_header and what follows. Every access is checked against the message's length.
/// <code>
/// | length 4 | opcode 4 | unique 8 | node 8 | user 4 | group 4 | process 4 | extensions 2 | pad 2 | body ...
/// </code>
/// </summary>
internal readonly struct FuseRequest
{
    public const int HeaderBytes = 40;

    /// <summary>Where the number of the thread is that asks.</summary>
    public const int SenderAt = 32;

    private readonly ReadOnlyMemory<byte> _message;

    private FuseRequest(ReadOnlyMemory<byte> message)
    {
        _message = message;
    }

    public FuseOpcode Opcode => (FuseOpcode)Word(4);

    public ulong Unique => Long(8);

    public ulong Node => Long(16);

    public uint User => Word(24);

    public uint Group => Word(28);

    /// <summary>What follows the header.</summary>
    public ReadOnlyMemory<byte> Body => _message[HeaderBytes..];

    /// <summary>Takes a message as it was read. False when it is not even a header, or its length is another than it says.</summary>
    public static bool TryParse(ReadOnlyMemory<byte> message, out FuseRequest request)
    {
        request = default;
        if (message.Length < HeaderBytes || BinaryPrimitives.ReadUInt32LittleEndian(message.Span) != message.Length)
        {
            return false;
        }

        request = new FuseRequest(message);
        return true;
    }

    /// <summary>A 32-bit field of the body.</summary>
    public uint BodyWord(int offset) => BinaryPrimitives.ReadUInt32LittleEndian(BodyField(offset, 4));

    /// <summary>A 64-bit field of the body.</summary>
    public ulong BodyLong(int offset) => BinaryPrimitives.ReadUInt64LittleEndian(BodyField(offset, 8));

    /// <summary>A NUL-terminated name in the body; <paramref name="offset"/> moves behind it.</summary>
    public ReadOnlyMemory<byte> Name(ref int offset)
    {
        ReadOnlyMemory<byte> body = Body;
        int end = offset <= body.Length ? body.Span[offset..].IndexOf((byte)0) : -1;
        if (end < 0)
        {
            throw new FuseMessageException($"{Opcode}: a name without an end");
        }

        ReadOnlyMemory<byte> name = body.Slice(offset, end);
        offset += end + 1;
        return name;
    }

    private ReadOnlySpan<byte> BodyField(int offset, int lengthBytes)
    {
        ReadOnlySpan<byte> body = Body.Span;
        return offset + lengthBytes <= body.Length
            ? body.Slice(offset, lengthBytes)
            : throw new FuseMessageException($"{Opcode}: {body.Length} bytes are too few");
    }

    // The header was checked when the message was taken.
    private uint Word(int offset) => BinaryPrimitives.ReadUInt32LittleEndian(_message.Span[offset..]);

    private ulong Long(int offset) => BinaryPrimitives.ReadUInt64LittleEndian(_message.Span[offset..]);
}
