// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Exo.Core.Blocks;
using Exo.Storage.XN;

namespace Exo.Host.Protocol;

/// <summary>Fills a message. Numbers are little-endian; what has a length is preceded by it, as u32.</summary>
internal ref struct WireWriter(Span<byte> into)
{
    private readonly Span<byte> _into = into;

    /// <summary>Bytes written.</summary>
    public int Length { get; private set; }

    /// <exception cref="HostException">The message is full.</exception>
    public void U32(uint value) => BinaryPrimitives.WriteUInt32LittleEndian(Take(4), value);

    public void U64(ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(Take(8), value);

    public void Block(BlockNumber block) => U64(block.Value);

    public void Extent(in BlockExtent extent)
    {
        Block(extent.First);
        U32(extent.Count);
    }

    public void Bytes(scoped ReadOnlySpan<byte> bytes)
    {
        U32((uint)bytes.Length);
        bytes.CopyTo(Take(bytes.Length));
    }

    public void Text(string text) => Bytes(Encoding.UTF8.GetBytes(text));

    /// <summary>Room for that many bytes, without a length.</summary>
    public Span<byte> Take(int lengthBytes)
    {
        if (lengthBytes > _into.Length - Length)
        {
            throw new HostException(HostStatus.Malformed, $"The request is larger than a message of {_into.Length} bytes: make it in pieces.");
        }

        Span<byte> taken = _into.Slice(Length, lengthBytes);
        Length += lengthBytes;
        return taken;
    }
}

/// <summary>Reads a message that somebody untrusted has written, out of memory that is the reader's own.</summary>
internal ref struct WireReader(ReadOnlySpan<byte> from)
{
    private readonly ReadOnlySpan<byte> _from = from;
    private int _at = 0;

    /// <summary>Whether everything was read.</summary>
    public readonly bool IsAtEnd => _at == _from.Length;

    /// <exception cref="MalformedException">The message ends before that.</exception>
    public uint U32() => BinaryPrimitives.ReadUInt32LittleEndian(Take(4));

    public ulong U64() => BinaryPrimitives.ReadUInt64LittleEndian(Take(8));

    public BlockNumber Block() => new(U64());

    public BlockExtent Extent() => new(Block(), U32());

    public ReadOnlySpan<byte> Bytes() => Take(Count(1));

    public string Text() => Encoding.UTF8.GetString(Bytes());

    /// <summary>A number of things of which each takes at least so many bytes: no more than the message can hold.</summary>
    public int Count(int eachBytes)
    {
        uint count = U32();
        return count <= (uint)((_from.Length - _at) / eachBytes) ? (int)count : throw new MalformedException($"{count} things of {eachBytes} bytes in {_from.Length - _at}");
    }

    public ReadOnlySpan<byte> Take(int lengthBytes)
    {
        if (lengthBytes > _from.Length - _at)
        {
            throw new MalformedException($"ends after {_from.Length} bytes");
        }

        ReadOnlySpan<byte> taken = _from.Slice(_at, lengthBytes);
        _at += lengthBytes;
        return taken;
    }

    /// <exception cref="MalformedException">There is more.</exception>
    public readonly void End()
    {
        if (!IsAtEnd)
        {
            throw new MalformedException($"{_from.Length - _at} bytes too many");
        }
    }
}

/// <summary>What a peer has written makes no sense.</summary>
internal sealed class MalformedException(string message) : Exception(message);
