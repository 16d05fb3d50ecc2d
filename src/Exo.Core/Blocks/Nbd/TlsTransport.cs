// SPDX-License-Identifier: MIT
using System.Net.Security;
using System.Security.Authentication;
using Exo.Core.Linux;

namespace Exo.Core.Blocks.Nbd;

/// <summary>TLS over another transport. Owns it. A send always waits, and small pieces are gathered into one record.</summary>
internal sealed unsafe class TlsTransport : NbdTransport
{
    private const int RecordBytes = 16384;

    private readonly NbdTransport _inner;
    private readonly SslStream _stream;
    private readonly byte[] _record = new byte[RecordBytes];

    private TlsTransport(NbdTransport inner)
    {
        _inner = inner;
        _stream = new SslStream(new TransportStream(inner));
    }

    public override bool CanSendWithoutWaiting => false;

    public static TlsTransport AsClient(NbdTransport inner, SslClientAuthenticationOptions options) =>
        Authenticate(inner, stream => stream.AuthenticateAsClient(options));

    public static TlsTransport AsServer(NbdTransport inner, SslServerAuthenticationOptions options) =>
        Authenticate(inner, stream => stream.AuthenticateAsServer(options));

    public override long Send(IoVector* vectors, int count, bool mayWait)
    {
        int length = 0;
        for (int i = 0; i < count && length < RecordBytes; i++)
        {
            // Bounds: the caller vouches for the vectors; the piece ends with the record.
            int piece = (int)Math.Min((ulong)vectors[i].LengthBytes, (ulong)(RecordBytes - length));
            new ReadOnlySpan<byte>((void*)vectors[i].Base, piece).CopyTo(_record.AsSpan(length));
            length += piece;
        }

        try
        {
            _stream.Write(_record, 0, length);
            return length;
        }
        catch (IOException broken) when (broken is not NbdConnectionException)
        {
            throw Broken(broken);
        }
    }

    public override long Receive(IoVector* vectors, int count)
    {
        for (int i = 0; i < count; i++)
        {
            if (vectors[i].LengthBytes > 0)
            {
                try
                {
                    return _stream.Read(new Span<byte>((void*)vectors[i].Base, (int)Math.Min(vectors[i].LengthBytes, int.MaxValue)));
                }
                catch (IOException broken) when (broken is not NbdConnectionException)
                {
                    throw Broken(broken);
                }
            }
        }

        return 0;
    }

    public override void Shutdown() => _inner.Shutdown();

    public override void SetTimeouts(int receiveMs, int sendMs) => _inner.SetTimeouts(receiveMs, sendMs);

    public override void Dispose()
    {
        // Without a farewell: nobody may be reading it, and the protocol has its own.
        _stream.Dispose();
        _inner.Dispose();
    }

    private static TlsTransport Authenticate(NbdTransport inner, Action<SslStream> authenticate)
    {
        var transport = new TlsTransport(inner);
        try
        {
            authenticate(transport._stream);
            return transport;
        }
        catch (AuthenticationException refused)
        {
            throw NbdConnectionException.Refusal(Errno.EACCES, $"TLS: {refused.Message}");
        }
        catch (IOException broken) when (broken is not NbdConnectionException)
        {
            throw Broken(broken);
        }
    }

    private static NbdConnectionException Broken(IOException broken) => new(Libc.ErrnoConnectionReset, $"TLS: {broken.Message}");

    /// <summary>A transport as the stream that <see cref="SslStream"/> stands on.</summary>
    private sealed class TransportStream(NbdTransport transport) : Stream
    {
        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override int Read(Span<byte> buffer)
        {
            fixed (byte* start = buffer)
            {
                transport.CheckDeadline();
                var vector = new IoVector { Base = (nint)start, LengthBytes = (nuint)buffer.Length };
                return buffer.IsEmpty ? 0 : (int)transport.Receive(&vector, 1);
            }
        }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override void Write(ReadOnlySpan<byte> buffer) => transport.SendAll(buffer);

        public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
