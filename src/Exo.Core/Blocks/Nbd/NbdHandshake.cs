// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Net.Security;
using System.Numerics;
using System.Text;
using Exo.Core.Linux;
using Exo.Core.Memory;

namespace Exo.Core.Blocks.Nbd;

/// <summary>
/// The client's side of the fixed newstyle negotiation. Nothing that a server says makes it take more than a few KiB, more than
/// <see cref="RepliesMax"/> replies to one option, or longer than its time limit.
/// <code>
/// greeting, flags -> [STARTTLS] -> STRUCTURED_REPLY -> [SET_META_CONTEXT base:allocation] -> GO, or EXPORT_NAME where GO is unknown
/// </code>
/// </summary>
internal sealed class NbdHandshake
{
    public const int RepliesMax = 64;
    private const int ReplyBytesMax = 8192;

    private readonly byte[] _buffer = new byte[ReplyBytesMax];
    private NbdTransport _transport;
    private int _replies;

    private NbdHandshake(NbdTransport transport) => _transport = transport;

    /// <summary>Negotiates. Owns the transport, which it may wrap: on failure it is closed.</summary>
    /// <exception cref="NbdConnectionException">The server refuses, breaks the protocol or the connection, or is too slow.</exception>
    public static (NbdTransport Transport, NbdExport Export) Run(
        NbdTransport transport, string exportName, SslClientAuthenticationOptions? tls, int timeoutMs)
    {
        transport.SetTimeouts(timeoutMs, timeoutMs);
        transport.SetDeadline(timeoutMs);
        var handshake = new NbdHandshake(transport);
        try
        {
            NbdExport export = handshake.Negotiate(Encoding.UTF8.GetBytes(exportName), exportName, tls);
            transport.SetDeadline(0);
            return (handshake._transport, export);
        }
        catch
        {
            handshake._transport.Dispose();
            throw;
        }
    }

    private NbdExport Negotiate(byte[] name, string nameText, SslClientAuthenticationOptions? tls)
    {
        Span<byte> greeting = Receive(18);
        if (BinaryPrimitives.ReadUInt64BigEndian(greeting) != NbdProtocol.ServerMagic)
        {
            throw NbdConnectionException.Violation("it does not greet as an NBD server does");
        }

        ulong style = BinaryPrimitives.ReadUInt64BigEndian(greeting[8..]);
        if (style != NbdProtocol.OptionMagic)
        {
            throw style == NbdProtocol.OldStyleMagic
                ? NbdConnectionException.Refusal(Errno.EOPNOTSUPP, "the server speaks only the old style of negotiation")
                : NbdConnectionException.Violation("unknown style of negotiation");
        }

        ushort serverFlags = BinaryPrimitives.ReadUInt16BigEndian(greeting[16..]);
        bool isFixed = (serverFlags & NbdProtocol.HandshakeFixedNewStyle) != 0;
        bool noZeroes = (serverFlags & NbdProtocol.HandshakeNoZeroes) != 0;
        Span<byte> clientFlags = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(clientFlags, (uint)(serverFlags & (NbdProtocol.HandshakeFixedNewStyle | NbdProtocol.HandshakeNoZeroes)));
        _transport.SendAll(clientFlags);
        if (tls is not null)
        {
            if (!isFixed || !AskPlain(NbdProtocol.OptionStartTls))
            {
                throw NbdConnectionException.Refusal(Errno.EACCES, "the server offers no TLS");
            }

            _transport = TlsTransport.AsClient(_transport, tls); // The deadline of what is below holds on.
        }

        if (!isFixed)
        {
            return ExportByName(name, noZeroes);
        }

        bool isStructured = AskPlain(NbdProtocol.OptionStructuredReply);
        uint? context = isStructured ? SetAllocationContext(name) : null;
        NbdExport export = Go(name, nameText) ?? ExportByName(name, noZeroes);
        return Check(export with { IsStructured = isStructured, AllocationContext = context });
    }

    /// <summary>An option without data that is acknowledged or refused.</summary>
    private bool AskPlain(uint option)
    {
        Send(option, []);
        uint type = NextReply(option, out _);
        return type == NbdProtocol.ReplyAck
            || ((type & NbdProtocol.ReplyErrorBit) != 0 ? false : throw NbdConnectionException.Violation($"reply {type} to option {option}"));
    }

    private uint? SetAllocationContext(byte[] name)
    {
        byte[] data = new byte[4 + name.Length + 4 + 4 + NbdProtocol.BaseAllocation.Length];
        BinaryPrimitives.WriteInt32BigEndian(data, name.Length);
        name.CopyTo(data, 4);
        BinaryPrimitives.WriteInt32BigEndian(data.AsSpan(4 + name.Length), 1);
        BinaryPrimitives.WriteInt32BigEndian(data.AsSpan(8 + name.Length), NbdProtocol.BaseAllocation.Length);
        NbdProtocol.BaseAllocation.CopyTo(data.AsSpan(12 + name.Length));
        Send(NbdProtocol.OptionSetMetaContext, data);
        uint? context = null;
        while (true)
        {
            uint type = NextReply(NbdProtocol.OptionSetMetaContext, out ReadOnlySpan<byte> reply);
            if (type == NbdProtocol.ReplyAck || (type & NbdProtocol.ReplyErrorBit) != 0)
            {
                return type == NbdProtocol.ReplyAck ? context : null;
            }

            if (type != NbdProtocol.ReplyMetaContext || reply.Length < 4 || !reply[4..].SequenceEqual(NbdProtocol.BaseAllocation))
            {
                throw NbdConnectionException.Violation("a metadata context that nobody asked for");
            }

            context = BinaryPrimitives.ReadUInt32BigEndian(reply);
        }
    }

    /// <summary>Chooses the export; null where the server does not know the option.</summary>
    private NbdExport? Go(byte[] name, string nameText)
    {
        byte[] data = new byte[4 + name.Length + 4];
        BinaryPrimitives.WriteInt32BigEndian(data, name.Length);
        name.CopyTo(data, 4);
        BinaryPrimitives.WriteUInt16BigEndian(data.AsSpan(4 + name.Length), 1);
        BinaryPrimitives.WriteUInt16BigEndian(data.AsSpan(6 + name.Length), NbdProtocol.InfoBlockSize);
        Send(NbdProtocol.OptionGo, data);
        NbdExport? export = null;
        (int Minimum, int Preferred, int Maximum) sizes = (1, 4096, NbdProtocol.PayloadBytesMax);
        while (true)
        {
            uint type = NextReply(NbdProtocol.OptionGo, out ReadOnlySpan<byte> reply);
            switch (type)
            {
                case NbdProtocol.ReplyAck:
                    return export is null
                        ? throw NbdConnectionException.Violation("it did not say how large the export is")
                        : export with { MinimumBlockBytes = sizes.Minimum, PreferredBlockBytes = sizes.Preferred, MaximumPayloadBytes = sizes.Maximum };
                case NbdProtocol.ReplyInfo when reply.Length >= 2:
                    ushort info = BinaryPrimitives.ReadUInt16BigEndian(reply);
                    if (info == NbdProtocol.InfoExport)
                    {
                        export = reply.Length == 12
                            ? new NbdExport { LengthBytes = BinaryPrimitives.ReadUInt64BigEndian(reply[2..]), Flags = BinaryPrimitives.ReadUInt16BigEndian(reply[10..]) }
                            : throw NbdConnectionException.Violation("a malformed description of the export");
                    }
                    else if (info == NbdProtocol.InfoBlockSize)
                    {
                        sizes = reply.Length == 14 ? BlockSizes(reply[2..]) : throw NbdConnectionException.Violation("malformed block sizes");
                    }

                    break; // A name or a description, or what is not known here, is of no use.
                case NbdProtocol.ReplyUnsupported:
                    return null;
                default:
                    throw Refusal(type, nameText);
            }
        }
    }

    private static (int Minimum, int Preferred, int Maximum) BlockSizes(ReadOnlySpan<byte> reply)
    {
        uint minimum = BinaryPrimitives.ReadUInt32BigEndian(reply);
        uint preferred = BinaryPrimitives.ReadUInt32BigEndian(reply[4..]);
        uint maximum = BinaryPrimitives.ReadUInt32BigEndian(reply[8..]);
        if (!BitOperations.IsPow2(minimum) || !BitOperations.IsPow2(preferred) || minimum > 65536 || preferred < minimum || maximum < minimum)
        {
            throw NbdConnectionException.Violation($"impossible block sizes {minimum}, {preferred}, {maximum}");
        }

        return ((int)minimum, (int)Math.Min(preferred, 1u << 30), (int)Math.Min(maximum, NbdProtocol.PayloadBytesMax));
    }

    private NbdExport ExportByName(byte[] name, bool noZeroes)
    {
        Send(NbdProtocol.OptionExportName, name);
        Span<byte> reply = Receive(noZeroes ? 10 : 134);
        return Check(new NbdExport
        {
            LengthBytes = BinaryPrimitives.ReadUInt64BigEndian(reply),
            Flags = BinaryPrimitives.ReadUInt16BigEndian(reply[8..]),
        });
    }

    /// <summary>An export that this client can use: blocks of 4 KiB, numbered in 63 bits of bytes.</summary>
    private static NbdExport Check(NbdExport export)
    {
        if (export.LengthBytes > long.MaxValue)
        {
            throw NbdConnectionException.Violation($"an export of {export.LengthBytes} bytes");
        }

        if (export.LengthBytes < FramePool.FrameBytes)
        {
            throw NbdConnectionException.Refusal(Errno.EINVAL, $"the export has {export.LengthBytes} bytes, less than one block of 4,096");
        }

        if (export.MinimumBlockBytes > FramePool.FrameBytes || export.MaximumPayloadBytes < FramePool.FrameBytes)
        {
            throw NbdConnectionException.Refusal(
                Errno.EOPNOTSUPP, $"the server takes from {export.MinimumBlockBytes} to {export.MaximumPayloadBytes} bytes at a time, but blocks have 4,096");
        }

        return export with { MaximumPayloadBytes = export.MaximumPayloadBytes / FramePool.FrameBytes * FramePool.FrameBytes };
    }

    private static NbdConnectionException Refusal(uint type, string name) => type switch
    {
        NbdProtocol.ReplyUnknown => NbdConnectionException.Refusal(Errno.ENOENT, $"the server has no export '{name}'"),
        NbdProtocol.ReplyPolicy => NbdConnectionException.Refusal(Errno.EACCES, $"the server does not give out '{name}'"),
        NbdProtocol.ReplyTlsRequired => NbdConnectionException.Refusal(Errno.EACCES, "the server wants TLS: write nbds instead of nbd"),
        NbdProtocol.ReplyBlockSizeRequired => NbdConnectionException.Refusal(Errno.EOPNOTSUPP, "the server wants block sizes that this client cannot have"),
        NbdProtocol.ReplyShutdown => new NbdConnectionException(Libc.ErrnoShutdown, "the server is shutting down"),
        _ when (type & NbdProtocol.ReplyErrorBit) != 0 => NbdConnectionException.Refusal(Errno.EINVAL, $"the server refuses '{name}' (error {type & ~NbdProtocol.ReplyErrorBit})"),
        _ => NbdConnectionException.Violation($"reply {type} to the choice of an export"),
    };

    private void Send(uint option, ReadOnlySpan<byte> data)
    {
        byte[] message = new byte[NbdProtocol.OptionBytes + data.Length];
        BinaryPrimitives.WriteUInt64BigEndian(message, NbdProtocol.OptionMagic);
        BinaryPrimitives.WriteUInt32BigEndian(message.AsSpan(8), option);
        BinaryPrimitives.WriteInt32BigEndian(message.AsSpan(12), data.Length);
        data.CopyTo(message.AsSpan(NbdProtocol.OptionBytes));
        _transport.SendAll(message);
        _replies = 0;
    }

    /// <summary>The next reply to the option that was sent last. Its data is valid until the next call.</summary>
    private uint NextReply(uint option, out ReadOnlySpan<byte> data)
    {
        if (++_replies > RepliesMax)
        {
            throw NbdConnectionException.Violation($"more than {RepliesMax} replies to one option");
        }

        Span<byte> header = Receive(NbdProtocol.OptionReplyBytes);
        uint type = BinaryPrimitives.ReadUInt32BigEndian(header[12..]);
        uint length = BinaryPrimitives.ReadUInt32BigEndian(header[16..]);
        if (BinaryPrimitives.ReadUInt64BigEndian(header) != NbdProtocol.OptionReplyMagic || BinaryPrimitives.ReadUInt32BigEndian(header[8..]) != option)
        {
            throw NbdConnectionException.Violation("a reply to an option that was not sent");
        }

        if (length > ReplyBytesMax)
        {
            throw NbdConnectionException.Violation($"a reply of {length} bytes to an option");
        }

        data = Receive((int)length);
        return type;
    }

    private Span<byte> Receive(int length)
    {
        Span<byte> bytes = _buffer.AsSpan(0, length);
        _transport.ReceiveAll(bytes);
        return bytes;
    }
}
