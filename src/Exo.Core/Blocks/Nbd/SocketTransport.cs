// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using Exo.Core.Linux;

namespace Exo.Core.Blocks.Nbd;

/// <summary>A blocking TCP or UNIX socket, one system call per send and receive.</summary>
internal sealed unsafe class SocketTransport(int descriptor) : NbdTransport
{
    private int _descriptor = descriptor;

    public override bool CanSendWithoutWaiting => true;

    /// <summary>Connects to the first of the end points that answers.</summary>
    public static SocketTransport Connect(NbdUri uri, int timeoutMs)
    {
        NbdConnectionException? failure = null;
        foreach (EndPoint endPoint in uri.Resolve())
        {
            try
            {
                return Connect(endPoint, timeoutMs);
            }
            catch (NbdConnectionException refused)
            {
                failure = refused;
            }
        }

        throw failure ?? new NbdConnectionException(Libc.ErrnoHostUnreachable, $"{uri.Host} has no address");
    }

    public override long Send(IoVector* vectors, int count, bool mayWait)
    {
        var message = new Libc.MessageHeader { Vectors = vectors, VectorCount = (nuint)count };
        while (true)
        {
            nint sent = Libc.SendMessage(_descriptor, &message, Libc.MessageNoSignal | (mayWait ? 0 : Libc.MessageDontWait));
            if (sent > 0)
            {
                return sent;
            }

            int errno = Errno.Last;
            if (errno == Errno.EAGAIN && !mayWait)
            {
                return 0;
            }

            if (errno != Errno.EINTR)
            {
                throw Broken(errno);
            }
        }
    }

    public override long Receive(IoVector* vectors, int count)
    {
        var message = new Libc.MessageHeader { Vectors = vectors, VectorCount = (nuint)count };
        while (true)
        {
            nint received = Libc.ReceiveMessage(_descriptor, &message, 0);
            if (received >= 0)
            {
                return received;
            }

            if (Errno.Last is var errno and not Errno.EINTR)
            {
                throw Broken(errno);
            }
        }
    }

    public override void Shutdown() => _ = Libc.Shutdown(_descriptor, Libc.ShutdownBoth);

    public override void SetTimeouts(int receiveMs, int sendMs) => Libc.SetSocketTimeouts(_descriptor, receiveMs, sendMs);

    public override void Dispose()
    {
        int open = Interlocked.Exchange(ref _descriptor, -1);
        if (open >= 0)
        {
            _ = Libc.Close(open);
        }
    }

    /// <summary>What both sides of a TCP connection set: no delay for small messages, and notice of a peer that vanished.</summary>
    public static void Tune(int descriptor, AddressFamily family)
    {
        if (family is AddressFamily.InterNetwork or AddressFamily.InterNetworkV6)
        {
            int one = 1;
            _ = Libc.SetSocketOption(descriptor, Libc.IpProtocolTcp, Libc.TcpNoDelay, &one, sizeof(int));
            _ = Libc.SetSocketOption(descriptor, Libc.SolSocket, Libc.SoKeepAlive, &one, sizeof(int));
        }
    }

    private static SocketTransport Connect(EndPoint endPoint, int timeoutMs)
    {
        int family = endPoint.AddressFamily switch
        {
            AddressFamily.Unix => Libc.AddressFamilyUnix,
            AddressFamily.InterNetworkV6 => Libc.AddressFamilyInet6,
            _ => Libc.AddressFamilyInet,
        };
        int descriptor = Libc.Socket(family, Libc.SocketStream | Libc.SocketCloseOnExec, 0);
        if (descriptor < 0)
        {
            throw Broken(Errno.Last);
        }

        var transport = new SocketTransport(descriptor);
        try
        {
            Tune(descriptor, endPoint.AddressFamily);
            transport.SetTimeouts(timeoutMs, timeoutMs);
            SocketAddress address = endPoint.Serialize();
            fixed (byte* bytes = address.Buffer.Span)
            {
                // Bounds: Size never exceeds the buffer (SocketAddress). An interrupted connect goes on by itself (connect(2)).
                while (Libc.Connect(descriptor, bytes, (uint)address.Size) != 0)
                {
                    int errno = Errno.Last;
                    if (errno != Errno.EINTR)
                    {
                        errno = errno is Errno.EAGAIN or Libc.ErrnoInProgress ? Libc.ErrnoTimedOut : errno;
                        throw new NbdConnectionException(errno, $"cannot connect to {endPoint}: {Errno.Describe(errno)}");
                    }
                }
            }

            return transport;
        }
        catch
        {
            transport.Dispose();
            throw;
        }
    }

    private static NbdConnectionException Broken(int errno)
    {
        errno = errno == Errno.EAGAIN ? Libc.ErrnoTimedOut : errno; // SO_RCVTIMEO and SO_SNDTIMEO say EAGAIN.
        return new NbdConnectionException(errno, Errno.Describe(errno));
    }
}
