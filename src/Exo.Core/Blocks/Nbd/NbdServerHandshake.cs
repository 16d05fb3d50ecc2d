// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;

namespace Exo.Core.Blocks.Nbd;

/// <summary>What a client and the server agreed on.</summary>
/// <param name="IsStructured">Reads are answered in chunks.</param>
/// <param name="HasAllocation">The client may ask for base:allocation.</param>
internal readonly record struct NbdAgreement(bool IsStructured, bool HasAllocation);

/// <summary>
/// The server's side of the fixed newstyle negotiation. A client gets so many options, so many bytes and so much time, and
/// costs less than 100 KiB meanwhile.
/// </summary>
internal sealed class NbdServerHandshake
{
    public const int OptionsMax = 128;
    public const uint AllocationContext = 1;
    private const int OptionBytesMax = 64 << 10;
    private const int DrainBytesMax = 1 << 20;

    private readonly NbdServer _server;
    private readonly byte[] _buffer = new byte[OptionBytesMax];
    private bool _isSecure;
    private bool _isStructured;
    private bool _hasAllocation;

    private NbdServerHandshake(NbdServer server, NbdTransport transport)
    {
        _server = server;
        Transport = transport;
    }

    /// <summary>The transport, which TLS may have wrapped.</summary>
    public NbdTransport Transport { get; private set; }

    /// <summary>Negotiates.</summary>
    /// <returns>Null: the client wants nothing, or nothing that is to be had.</returns>
    /// <exception cref="NbdConnectionException">It broke the protocol or the connection, or is too slow.</exception>
    public static (NbdTransport Transport, NbdAgreement? Agreement) Run(NbdServer server, NbdTransport transport)
    {
        transport.SetTimeouts(server.Options.HandshakeTimeoutMs, server.Options.HandshakeTimeoutMs);
        transport.SetDeadline(server.Options.HandshakeTimeoutMs);
        var handshake = new NbdServerHandshake(server, transport);
        NbdAgreement? agreement = handshake.Negotiate();
        transport.SetDeadline(0);
        transport.SetTimeouts(0, 0);
        return (handshake.Transport, agreement);
    }

    private NbdAgreement? Negotiate()
    {
        Span<byte> greeting = stackalloc byte[18];
        BinaryPrimitives.WriteUInt64BigEndian(greeting, NbdProtocol.ServerMagic);
        BinaryPrimitives.WriteUInt64BigEndian(greeting[8..], NbdProtocol.OptionMagic);
        BinaryPrimitives.WriteUInt16BigEndian(greeting[16..], NbdProtocol.HandshakeFixedNewStyle | NbdProtocol.HandshakeNoZeroes);
        Transport.SendAll(greeting);
        uint clientFlags = BinaryPrimitives.ReadUInt32BigEndian(Receive(4));
        if ((clientFlags & ~(uint)(NbdProtocol.HandshakeFixedNewStyle | NbdProtocol.HandshakeNoZeroes)) != 0)
        {
            throw NbdConnectionException.Violation("unknown client flags");
        }

        for (int i = 0; i < OptionsMax; i++)
        {
            Span<byte> header = Receive(NbdProtocol.OptionBytes);
            uint option = BinaryPrimitives.ReadUInt32BigEndian(header[8..]);
            uint length = BinaryPrimitives.ReadUInt32BigEndian(header[12..]);
            if (BinaryPrimitives.ReadUInt64BigEndian(header) != NbdProtocol.OptionMagic)
            {
                throw NbdConnectionException.Violation("no option");
            }

            if (length > OptionBytesMax)
            {
                Drain(length);
                Reply(option, NbdProtocol.ReplyTooBig, []);
                continue;
            }

            Span<byte> data = Receive((int)length);
            bool mustBeSecure = _server.Options.Tls is not null && !_server.Options.IsTlsOptional && !_isSecure;
            if (option == NbdProtocol.OptionExportName)
            {
                if (mustBeSecure || !IsOurs(data))
                {
                    return null; // This option has no way to say no.
                }

                SendExport((clientFlags & NbdProtocol.HandshakeNoZeroes) != 0);
                return new NbdAgreement(_isStructured, _hasAllocation);
            }

            if (option == NbdProtocol.OptionAbort)
            {
                Reply(option, NbdProtocol.ReplyAck, []);
                return null;
            }

            if (option == NbdProtocol.OptionStartTls)
            {
                StartTls(length);
            }
            else if (mustBeSecure)
            {
                Reply(option, NbdProtocol.ReplyTlsRequired, []);
            }
            else if (Answer(option, data))
            {
                return new NbdAgreement(_isStructured, _hasAllocation);
            }
        }

        throw NbdConnectionException.Violation("options without end");
    }

    /// <returns>True: the client has chosen the export.</returns>
    private bool Answer(uint option, ReadOnlySpan<byte> data)
    {
        switch (option)
        {
            case NbdProtocol.OptionList when data.IsEmpty:
                byte[] entry = new byte[4 + _server.ExportName.Length];
                BinaryPrimitives.WriteInt32BigEndian(entry, _server.ExportName.Length);
                _server.ExportName.CopyTo(entry, 4);
                Reply(option, NbdProtocol.ReplyServer, entry);
                Reply(option, NbdProtocol.ReplyAck, []);
                break;
            case NbdProtocol.OptionStructuredReply when data.IsEmpty:
                _isStructured = true;
                Reply(option, NbdProtocol.ReplyAck, []);
                break;
            case NbdProtocol.OptionList or NbdProtocol.OptionStructuredReply:
                Reply(option, NbdProtocol.ReplyInvalid, []);
                break;
            case NbdProtocol.OptionInfo or NbdProtocol.OptionGo:
                return Describe(option, data) && option == NbdProtocol.OptionGo;
            case NbdProtocol.OptionListMetaContext or NbdProtocol.OptionSetMetaContext:
                AnswerContexts(option, data);
                break;
            default:
                Reply(option, NbdProtocol.ReplyUnsupported, []);
                break;
        }

        return false;
    }

    private bool Describe(uint option, ReadOnlySpan<byte> data)
    {
        if (!TryTakeString(ref data, out ReadOnlySpan<byte> name) || data.Length < 2
            || data.Length != 2 + 2 * BinaryPrimitives.ReadUInt16BigEndian(data))
        {
            Reply(option, NbdProtocol.ReplyInvalid, []);
            return false;
        }

        if (!IsOurs(name))
        {
            Reply(option, NbdProtocol.ReplyUnknown, []);
            return false;
        }

        Span<byte> export = stackalloc byte[12];
        BinaryPrimitives.WriteUInt16BigEndian(export, NbdProtocol.InfoExport);
        BinaryPrimitives.WriteUInt64BigEndian(export[2..], _server.LengthBytes);
        BinaryPrimitives.WriteUInt16BigEndian(export[10..], _server.ExportFlags);
        Reply(option, NbdProtocol.ReplyInfo, export);
        bool wantsName = false, wantsSizes = false;
        for (ReadOnlySpan<byte> rest = data[2..]; !rest.IsEmpty; rest = rest[2..])
        {
            ushort info = BinaryPrimitives.ReadUInt16BigEndian(rest);
            wantsName |= info == NbdProtocol.InfoName;
            wantsSizes |= info == NbdProtocol.InfoBlockSize;
        }

        if (wantsName)
        {
            Reply(option, NbdProtocol.ReplyInfo, [0, (byte)NbdProtocol.InfoName, .. _server.ExportName]);
        }

        if (wantsSizes)
        {
            Span<byte> sizes = stackalloc byte[14];
            BinaryPrimitives.WriteUInt16BigEndian(sizes, NbdProtocol.InfoBlockSize);
            BinaryPrimitives.WriteInt32BigEndian(sizes[2..], 1);
            BinaryPrimitives.WriteInt32BigEndian(sizes[6..], 4096);
            BinaryPrimitives.WriteInt32BigEndian(sizes[10..], NbdProtocol.PayloadBytesMax);
            Reply(option, NbdProtocol.ReplyInfo, sizes);
        }

        Reply(option, NbdProtocol.ReplyAck, []);
        return true;
    }

    private void AnswerContexts(uint option, ReadOnlySpan<byte> data)
    {
        bool isSet = option == NbdProtocol.OptionSetMetaContext;
        _hasAllocation &= !isSet;
        if (!_isStructured || !TryTakeString(ref data, out ReadOnlySpan<byte> name) || data.Length < 4)
        {
            Reply(option, NbdProtocol.ReplyInvalid, []);
            return;
        }

        if (!IsOurs(name))
        {
            Reply(option, NbdProtocol.ReplyUnknown, []);
            return;
        }

        uint queries = BinaryPrimitives.ReadUInt32BigEndian(data);
        data = data[4..];
        bool wanted = queries == 0 && !isSet;
        for (uint i = 0; i < queries; i++)
        {
            // Each query takes at least four bytes, so what has arrived bounds the loop.
            if (!TryTakeString(ref data, out ReadOnlySpan<byte> query))
            {
                Reply(option, NbdProtocol.ReplyInvalid, []);
                return;
            }

            wanted |= query.SequenceEqual(NbdProtocol.BaseAllocation) || (!isSet && query.SequenceEqual("base:"u8));
        }

        if (!data.IsEmpty)
        {
            Reply(option, NbdProtocol.ReplyInvalid, []);
            return;
        }

        if (wanted)
        {
            Span<byte> context = stackalloc byte[4 + NbdProtocol.BaseAllocation.Length];
            BinaryPrimitives.WriteUInt32BigEndian(context, AllocationContext);
            NbdProtocol.BaseAllocation.CopyTo(context[4..]);
            Reply(option, NbdProtocol.ReplyMetaContext, context);
            _hasAllocation |= isSet;
        }

        Reply(option, NbdProtocol.ReplyAck, []);
    }

    private void StartTls(uint length)
    {
        if (_server.Options.Tls is null)
        {
            Reply(NbdProtocol.OptionStartTls, NbdProtocol.ReplyUnsupported, []);
        }
        else if (_isSecure || length > 0)
        {
            Reply(NbdProtocol.OptionStartTls, NbdProtocol.ReplyInvalid, []);
        }
        else
        {
            // What was agreed on before anybody could be trusted is forgotten.
            Reply(NbdProtocol.OptionStartTls, NbdProtocol.ReplyAck, []);
            Transport = TlsTransport.AsServer(Transport, _server.Options.Tls);
            _isSecure = true;
            _isStructured = false;
            _hasAllocation = false;
        }
    }

    private void SendExport(bool noZeroes)
    {
        byte[] reply = new byte[noZeroes ? 10 : 134];
        BinaryPrimitives.WriteUInt64BigEndian(reply, _server.LengthBytes);
        BinaryPrimitives.WriteUInt16BigEndian(reply.AsSpan(8), _server.ExportFlags);
        Transport.SendAll(reply);
    }

    private bool IsOurs(ReadOnlySpan<byte> name) => name.IsEmpty || name.SequenceEqual(_server.ExportName);

    private static bool TryTakeString(ref ReadOnlySpan<byte> data, out ReadOnlySpan<byte> text)
    {
        text = default;
        if (data.Length < 4 || BinaryPrimitives.ReadUInt32BigEndian(data) > (uint)(data.Length - 4))
        {
            return false;
        }

        int length = (int)BinaryPrimitives.ReadUInt32BigEndian(data);
        text = data.Slice(4, length);
        data = data[(4 + length)..];
        return length <= NbdProtocol.StringBytesMax;
    }

    private void Reply(uint option, uint type, ReadOnlySpan<byte> data)
    {
        byte[] message = new byte[NbdProtocol.OptionReplyBytes + data.Length];
        BinaryPrimitives.WriteUInt64BigEndian(message, NbdProtocol.OptionReplyMagic);
        BinaryPrimitives.WriteUInt32BigEndian(message.AsSpan(8), option);
        BinaryPrimitives.WriteUInt32BigEndian(message.AsSpan(12), type);
        BinaryPrimitives.WriteInt32BigEndian(message.AsSpan(16), data.Length);
        data.CopyTo(message.AsSpan(NbdProtocol.OptionReplyBytes));
        Transport.SendAll(message);
    }

    private void Drain(uint length)
    {
        if (length > DrainBytesMax)
        {
            throw NbdConnectionException.Violation($"an option of {length} bytes");
        }

        for (uint left = length; left > 0; left -= Math.Min(left, OptionBytesMax))
        {
            Receive((int)Math.Min(left, OptionBytesMax));
        }
    }

    private Span<byte> Receive(int length)
    {
        Span<byte> bytes = _buffer.AsSpan(0, length);
        Transport.ReceiveAll(bytes);
        return bytes;
    }
}
