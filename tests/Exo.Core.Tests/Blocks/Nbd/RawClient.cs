// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Net.Sockets;

namespace Exo.Core.Tests.Blocks.Nbd;

/// <summary>A client that says what a test wants, in bytes. It does not use Exo's code.</summary>
internal sealed class RawClient : IDisposable
{
    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

    public RawClient(string path)
    {
        _socket.Connect(new UnixDomainSocketEndPoint(path));
        _socket.ReceiveTimeout = 20_000;
        _socket.SendTimeout = 20_000;
        Stream = new NetworkStream(_socket);
        Stream.ReadExactly(new byte[18]);
    }

    public NetworkStream Stream { get; }

    public void SendFlags(uint flags = 3)
    {
        byte[] bytes = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, flags);
        Stream.Write(bytes);
    }

    public void SendOption(uint option, byte[] data)
    {
        byte[] message = new byte[16 + data.Length];
        BinaryPrimitives.WriteUInt64BigEndian(message, 0x49484156454F5054);
        BinaryPrimitives.WriteUInt32BigEndian(message.AsSpan(8), option);
        BinaryPrimitives.WriteInt32BigEndian(message.AsSpan(12), data.Length);
        data.CopyTo(message, 16);
        Stream.Write(message);
    }

    public (uint Type, byte[] Data) ReceiveOptionReply()
    {
        byte[] header = new byte[20];
        Stream.ReadExactly(header);
        byte[] data = new byte[BinaryPrimitives.ReadInt32BigEndian(header.AsSpan(16))];
        Stream.ReadExactly(data);
        return (BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(12)), data);
    }

    /// <summary>Takes the default export, replies without chunks. Returns its size and flags.</summary>
    public (ulong LengthBytes, ushort Flags) ChooseByName()
    {
        SendFlags();
        SendOption(1, []);
        byte[] reply = new byte[10];
        Stream.ReadExactly(reply);
        return (BinaryPrimitives.ReadUInt64BigEndian(reply), BinaryPrimitives.ReadUInt16BigEndian(reply.AsSpan(8)));
    }

    public void SendRequest(ushort command, ulong offset, uint length, ulong cookie = 0, ushort flags = 0, byte[]? payload = null)
    {
        byte[] request = new byte[28 + (payload?.Length ?? 0)];
        BinaryPrimitives.WriteUInt32BigEndian(request, 0x25609513);
        BinaryPrimitives.WriteUInt16BigEndian(request.AsSpan(4), flags);
        BinaryPrimitives.WriteUInt16BigEndian(request.AsSpan(6), command);
        BinaryPrimitives.WriteUInt64BigEndian(request.AsSpan(8), cookie);
        BinaryPrimitives.WriteUInt64BigEndian(request.AsSpan(16), offset);
        BinaryPrimitives.WriteUInt32BigEndian(request.AsSpan(24), length);
        payload?.CopyTo(request, 28);
        Stream.Write(request);
    }

    public (uint Error, ulong Cookie) ReceiveReply()
    {
        byte[] reply = new byte[16];
        Stream.ReadExactly(reply);
        Assert.Equal(0x67446698u, BinaryPrimitives.ReadUInt32BigEndian(reply));
        return (BinaryPrimitives.ReadUInt32BigEndian(reply.AsSpan(4)), BinaryPrimitives.ReadUInt64BigEndian(reply.AsSpan(8)));
    }

    /// <summary>One request and its reply; for a successful read, the data.</summary>
    public uint Do(ushort command, ulong offset, uint length, ushort flags = 0, byte[]? payload = null, byte[]? read = null)
    {
        SendRequest(command, offset, length, 7, flags, payload);
        (uint error, ulong cookie) = ReceiveReply();
        Assert.Equal(7UL, cookie);
        if (error == 0 && read is not null)
        {
            Stream.ReadExactly(read);
        }

        return error;
    }

    /// <summary>Whether the server has closed the connection, now or soon.</summary>
    public bool IsClosedByServer()
    {
        try
        {
            return Stream.Read(new byte[1]) == 0;
        }
        catch (IOException)
        {
            return true;
        }
    }

    public void Dispose()
    {
        Stream.Dispose();
        _socket.Dispose();
    }
}
