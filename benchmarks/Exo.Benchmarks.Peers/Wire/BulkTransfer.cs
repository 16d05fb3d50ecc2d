// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Tcp;

namespace Exo.Benchmarks.Peers.Wire;

/// <summary>Connections that send as fast as they can, and the kernel's end that takes it: whose TCP sends is what is compared.</summary>
internal static class BulkTransfer
{
    private const int ChunkBytes = 1 << 16;

    // IPPROTO_TCP and TCP_CONGESTION.
    private const int ProtocolNumber = 6, CongestionOption = 13;

    /// <summary>Accepts connections and reads them; the bytes that arrived per second, counted from when all were there.</summary>
    public static double Receive(IPEndPoint at, int connections, double seconds)
    {
        using Socket listener = new(at.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(at);
        listener.Listen(connections);
        Console.Error.WriteLine("ready");
        Socket[] sockets = [.. Enumerable.Range(0, connections).Select(_ => listener.Accept())];
        long total = 0;
        Thread[] threads = [.. sockets.Select(socket => new Thread(() =>
        {
            byte[] buffer = new byte[4 * ChunkBytes];
            try
            {
                for (int read; (read = socket.Receive(buffer)) > 0;)
                {
                    Interlocked.Add(ref total, read);
                }
            }
            catch (SocketException)
            {
                // Closed below.
            }
        }) { IsBackground = true })];
        long start = Stopwatch.GetTimestamp();
        Array.ForEach(threads, thread => thread.Start());
        Thread.Sleep(TimeSpan.FromSeconds(seconds));
        double rate = Interlocked.Read(ref total) / Stopwatch.GetElapsedTime(start).TotalSeconds;
        Array.ForEach(sockets, socket => socket.Close(0));
        return rate;
    }

    /// <summary>Sends by the kernel until the other end closes.</summary>
    public static void SendByKernel(IPEndPoint to, int connections)
    {
        Thread[] threads = [.. Enumerable.Range(0, connections).Select(_ => new Thread(() =>
        {
            using Socket socket = new(to.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            socket.SetRawSocketOption(ProtocolNumber, CongestionOption, "cubic"u8);
            socket.Connect(to);
            byte[] chunk = new byte[ChunkBytes];
            try
            {
                while (true)
                {
                    socket.Send(chunk);
                }
            }
            catch (SocketException)
            {
                // The other end has seen enough.
            }
        }))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
    }

    /// <summary>Sends by a stack of Exo's on an interface until the other end closes.</summary>
    public static void SendByExo(string interfaceName, string own, IPEndPoint to, int connections)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 128 << 20 });
        using PacketSocketDevice device = PacketSocketDevice.Open(interfaceName, frames);
        using NetworkStack stack = new(device, new NetworkStackOptions { Addresses = [InterfaceAddress.Parse(own)] });
        using CancellationTokenSource ended = new();
        Sender sender = new(connections, ended);
        for (int i = 0; i < connections; i++)
        {
            stack.Connect(to, sender);
        }

        stack.Run(ended.Token);
    }

    private sealed class Sender(int connections, CancellationTokenSource ended) : ITcpHandler
    {
        // Much more than is under way at a time, so that only the network limits.
        private const int QueuedBytesMax = 8 << 20;

        private readonly byte[] _chunk = new byte[ChunkBytes];
        private int _open = connections;

        public void OnOpened(TcpConnection connection) => OnAcknowledged(connection);

        public int OnReceived(TcpConnection connection, ReadOnlySpan<byte> bytes) => bytes.Length;

        public void OnAcknowledged(TcpConnection connection)
        {
            while (connection.QueuedBytes < QueuedBytesMax && connection.TrySend(_chunk))
            {
                // Until there is enough.
            }
        }

        public void OnPeerClosed(TcpConnection connection) => connection.Close();

        public void OnClosed(TcpConnection connection, TcpCloseReason reason)
        {
            if (--_open == 0)
            {
                ended.Cancel();
            }
        }
    }
}
