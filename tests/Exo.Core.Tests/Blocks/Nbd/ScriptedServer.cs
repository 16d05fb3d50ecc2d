// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Net.Sockets;

namespace Exo.Core.Tests.Blocks.Nbd;

/// <summary>A server that says what a test wants, to each connection in turn, on one thread. It does not use Exo's code.</summary>
internal sealed class ScriptedServer : IDisposable
{
    private readonly string _path = NbdPeer.NewSocketPath();
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly Thread _thread;
    private volatile Socket? _current;

    /// <param name="script">Talks to connection n; what it throws when the client leaves is ignored.</param>
    public ScriptedServer(Action<NetworkStream, int> script)
    {
        _listener.Bind(new UnixDomainSocketEndPoint(_path));
        _listener.Listen(16);
        _thread = new Thread(() =>
        {
            for (int n = 0; ; n++)
            {
                try
                {
                    using Socket client = _listener.Accept();
                    _current = client;
                    using var stream = new NetworkStream(client);
                    try
                    {
                        script(stream, n);
                    }
                    catch (IOException)
                    {
                        // The client left.
                    }
                }
                catch (Exception closed) when (closed is SocketException or ObjectDisposedException)
                {
                    return;
                }
            }
        })
        { IsBackground = true };
        _thread.Start();
    }

    public string Uri => $"nbd+unix:///?socket={_path}";

    /// <summary>The negotiation of a server with GO and nothing else.</summary>
    public static void Negotiate(NetworkStream stream, ulong lengthBytes, ushort flags, bool structured = false)
    {
        Span<byte> greeting = stackalloc byte[18];
        BinaryPrimitives.WriteUInt64BigEndian(greeting, 0x4e42444d41474943);
        BinaryPrimitives.WriteUInt64BigEndian(greeting[8..], 0x49484156454F5054);
        BinaryPrimitives.WriteUInt16BigEndian(greeting[16..], 3);
        stream.Write(greeting);
        stream.ReadExactly(new byte[4]);
        while (true)
        {
            byte[] option = new byte[16];
            stream.ReadExactly(option);
            uint number = BinaryPrimitives.ReadUInt32BigEndian(option.AsSpan(8));
            stream.ReadExactly(new byte[BinaryPrimitives.ReadInt32BigEndian(option.AsSpan(12))]);
            switch (number)
            {
                case 7:
                    byte[] info = new byte[12];
                    BinaryPrimitives.WriteUInt64BigEndian(info.AsSpan(2), lengthBytes);
                    BinaryPrimitives.WriteUInt16BigEndian(info.AsSpan(10), flags);
                    stream.Write(OptionReply(number, 3, info));
                    stream.Write(OptionReply(number, 1, []));
                    return;
                case 8 when structured:
                    stream.Write(OptionReply(number, 1, []));
                    break;
                default:
                    stream.Write(OptionReply(number, 0x80000001, []));
                    break;
            }
        }
    }

    public static byte[] OptionReply(uint option, uint type, byte[] data)
    {
        byte[] reply = new byte[20 + data.Length];
        BinaryPrimitives.WriteUInt64BigEndian(reply, 0x0003e889045565a9);
        BinaryPrimitives.WriteUInt32BigEndian(reply.AsSpan(8), option);
        BinaryPrimitives.WriteUInt32BigEndian(reply.AsSpan(12), type);
        BinaryPrimitives.WriteInt32BigEndian(reply.AsSpan(16), data.Length);
        data.CopyTo(reply, 20);
        return reply;
    }

    /// <summary>The next request, with a write's payload.</summary>
    public static (ushort Command, ushort Flags, ulong Cookie, ulong Offset, byte[] Payload, uint Length) ReadRequest(NetworkStream stream)
    {
        byte[] request = new byte[28];
        stream.ReadExactly(request);
        ushort command = BinaryPrimitives.ReadUInt16BigEndian(request.AsSpan(6));
        uint length = BinaryPrimitives.ReadUInt32BigEndian(request.AsSpan(24));
        byte[] payload = new byte[command == 1 ? length : 0];
        stream.ReadExactly(payload);
        return (command, BinaryPrimitives.ReadUInt16BigEndian(request.AsSpan(4)), BinaryPrimitives.ReadUInt64BigEndian(request.AsSpan(8)),
            BinaryPrimitives.ReadUInt64BigEndian(request.AsSpan(16)), payload, length);
    }

    public static byte[] SimpleReply(ulong cookie, uint error = 0, byte[]? data = null)
    {
        byte[] reply = new byte[16 + (data?.Length ?? 0)];
        BinaryPrimitives.WriteUInt32BigEndian(reply, 0x67446698);
        BinaryPrimitives.WriteUInt32BigEndian(reply.AsSpan(4), error);
        BinaryPrimitives.WriteUInt64BigEndian(reply.AsSpan(8), cookie);
        data?.CopyTo(reply, 16);
        return reply;
    }

    public static byte[] Chunk(ulong cookie, ushort flags, ushort type, byte[] payload)
    {
        byte[] chunk = new byte[20 + payload.Length];
        BinaryPrimitives.WriteUInt32BigEndian(chunk, 0x668e33ef);
        BinaryPrimitives.WriteUInt16BigEndian(chunk.AsSpan(4), flags);
        BinaryPrimitives.WriteUInt16BigEndian(chunk.AsSpan(6), type);
        BinaryPrimitives.WriteUInt64BigEndian(chunk.AsSpan(8), cookie);
        BinaryPrimitives.WriteInt32BigEndian(chunk.AsSpan(16), payload.Length);
        payload.CopyTo(chunk, 20);
        return chunk;
    }

    public void Dispose()
    {
        _listener.Dispose();
        try
        {
            _current?.Shutdown(SocketShutdown.Both);
        }
        catch (Exception gone) when (gone is SocketException or ObjectDisposedException)
        {
            // It has left by itself.
        }

        _thread.Join();
        File.Delete(_path);
    }
}
