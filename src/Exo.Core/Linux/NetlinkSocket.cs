// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.Linux;

/// <summary>
/// A socket of routing netlink, in the network namespace of the thread that made it. Requests are carried out while they are sent, so that answers are there at once; nothing here blocks.
/// For one thread at a time.
/// </summary>
internal sealed unsafe class NetlinkSocket : IDisposable
{
    private const int BufferBytes = 32 << 10;

    private readonly SafeFileHandle _socket;
    private readonly byte[] _buffer = new byte[BufferBytes];
    private uint _sequence;

    private NetlinkSocket(SafeFileHandle socket) => _socket = socket;

    /// <summary>Takes a message's type, what follows its header, and the number of the request that it answers; false ends the reading.</summary>
    public delegate bool Reader(ushort type, ReadOnlySpan<byte> body, uint sequence);

    private int Descriptor => (int)_socket.DangerousGetHandle();

    /// <summary>Opens one.</summary>
    /// <param name="groups">What the kernel is to tell without being asked, as bits; 0: nothing.</param>
    /// <exception cref="IOException">The kernel refused.</exception>
    public static NetlinkSocket Open(uint groups = 0)
    {
        int fd = Libc.Socket(NetlinkAbi.AF_NETLINK, PacketAbi.SOCK_RAW | Libc.SocketNonBlocking | Libc.SocketCloseOnExec, NetlinkAbi.NETLINK_ROUTE);
        SafeFileHandle socket = fd >= 0 ? new SafeFileHandle(fd, ownsHandle: true) : throw new IOException($"Cannot make a socket of routing netlink: {Errno.Describe(Errno.Last)}.");
        NetlinkAddress address = new() { Family = NetlinkAbi.AF_NETLINK, Groups = groups };
        if (Libc.Bind(fd, (byte*)&address, (uint)sizeof(NetlinkAddress)) != 0)
        {
            int errno = Errno.Last;
            socket.Dispose();
            throw new IOException($"Cannot bind a socket of routing netlink: {Errno.Describe(errno)}.");
        }

        return new NetlinkSocket(socket);
    }

    /// <summary>Sends a request of a fixed part and at most one attribute.</summary>
    /// <returns>Its number; 0: the kernel did not take it.</returns>
    public uint Request<TRecord>(ushort type, ushort flags, TRecord record, ushort attribute = 0, ReadOnlySpan<byte> value = default)
        where TRecord : unmanaged
    {
        int fixedBytes = sizeof(NetlinkHeader) + sizeof(TRecord);
        int lengthBytes = fixedBytes + (attribute == 0 ? 0 : 4 + ((value.Length + 3) & ~3));
        Span<byte> message = stackalloc byte[lengthBytes];
        message.Clear();
        uint sequence = ++_sequence == 0 ? ++_sequence : _sequence;
        NetlinkHeader header = new() { LengthBytes = (uint)lengthBytes, Type = type, Flags = (ushort)(flags | NetlinkAbi.NLM_F_REQUEST), Sequence = sequence };
        MemoryMarshal.Write(message, in header);
        MemoryMarshal.Write(message[sizeof(NetlinkHeader)..], in record);
        if (attribute != 0)
        {
            ushort attributeBytes = (ushort)(4 + value.Length);
            MemoryMarshal.Write(message[fixedBytes..], in attributeBytes);
            MemoryMarshal.Write(message[(fixedBytes + 2)..], in attribute);
            value.CopyTo(message[(fixedBytes + 4)..]);
        }

        NetlinkAddress kernel = new() { Family = NetlinkAbi.AF_NETLINK };
        fixed (byte* bytes = message)
        {
            return Libc.SendTo(Descriptor, bytes, (nuint)lengthBytes, Libc.MessageDontWait, &kernel, (uint)sizeof(NetlinkAddress)) == lengthBytes ? sequence : 0;
        }
    }

    /// <summary>Reads what is there.</summary>
    /// <returns>False: the kernel has had more to tell than there was room for.</returns>
    public bool Read(Reader reader)
    {
        bool isComplete = true;
        fixed (byte* buffer = _buffer)
        {
            while (true)
            {
                nint received = Libc.Receive(Descriptor, buffer, BufferBytes, Libc.MessageDontWait);
                if (received < 0)
                {
                    int errno = Errno.Last;
                    if (errno is Libc.ErrnoNoBuffers or Errno.EINTR)
                    {
                        isComplete &= errno == Errno.EINTR;
                        continue;
                    }

                    return isComplete;
                }

                for (ReadOnlySpan<byte> rest = _buffer.AsSpan(0, (int)received); rest.Length >= sizeof(NetlinkHeader);)
                {
                    NetlinkHeader header = MemoryMarshal.Read<NetlinkHeader>(rest);
                    if (header.LengthBytes < sizeof(NetlinkHeader) || header.LengthBytes > rest.Length)
                    {
                        break;
                    }

                    if (!reader(header.Type, rest[sizeof(NetlinkHeader)..(int)header.LengthBytes], header.Sequence))
                    {
                        return isComplete;
                    }

                    rest = rest[Math.Min(rest.Length, (int)(header.LengthBytes + 3 & ~3u))..];
                }
            }
        }
    }

    /// <summary>An attribute of a message's body behind the fixed part; empty when it has none of that kind.</summary>
    public static ReadOnlySpan<byte> Attribute(ReadOnlySpan<byte> attributes, ushort kind)
    {
        while (attributes.Length >= 4)
        {
            ushort lengthBytes = MemoryMarshal.Read<ushort>(attributes);
            if (lengthBytes < 4 || lengthBytes > attributes.Length)
            {
                break;
            }

            if ((MemoryMarshal.Read<ushort>(attributes[2..]) & 0x3FFF) == kind)
            {
                return attributes[4..lengthBytes];
            }

            attributes = attributes[Math.Min(attributes.Length, (lengthBytes + 3) & ~3)..];
        }

        return default;
    }

    public void Dispose() => _socket.Dispose();
}
