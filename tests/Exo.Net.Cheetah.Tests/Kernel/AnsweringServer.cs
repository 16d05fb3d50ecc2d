// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Exo.Core.Memory;
using Exo.Net.Cheetah.Tcp.Answers;
using Exo.Net.Cheetah.Tests.Sockets;

namespace Exo.Net.Cheetah.Tests.Kernel;

/// <summary>A server on a veth pair whose handlers answer what they may; clients are the kernel's TCP.</summary>
internal sealed class AnsweringServer : IDisposable
{
    public AnsweringServer(TimeSpan? idle = null, Func<FramePool, IDocumentSource>? source = null, CheetahHandlers? handlers = null, AccessLogOptions? accessLog = null, ContentCodings precompressed = ContentCodings.None)
    {
        Network = new KernelNetwork(overVeth: true, takesHandlers: true);
        Documents = new MemoryDocumentSource(Network.Frames);
        Server = new CheetahServer(
            new CheetahServerOptions { Precompressed = precompressed, AccessLog = accessLog, Device = Network.Device, Network = Polled.Options, EndPoint = new IPEndPoint(IPAddress.IPv6Any, 80), IdleTimeout = idle ?? TimeSpan.FromSeconds(60), SendTimeout = TimeSpan.FromSeconds(60), Handlers = handlers ?? new() },
            source?.Invoke(Network.Frames) ?? Documents, Network.Frames);
    }

    public KernelNetwork Network { get; }

    public MemoryDocumentSource Documents { get; }

    public CheetahServer Server { get; }

    public AnsweredCounts Answered => Server.Raw!.Stack.Tcp.Answers!.Answered;

    /// <summary>Documents <c>/0</c> to <c>/3</c>, of which the last is more than one segment.</summary>
    public byte[][] SetDocuments()
    {
        byte[][] documents = [TestServer.Bytes(10, 1), TestServer.Bytes(1000, 2), TestServer.Bytes(1100, 3), TestServer.Bytes(20_000, 4)];
        for (int i = 0; i < documents.Length; i++)
        {
            Documents.Set($"/{i}", documents[i]);
        }

        return documents;
    }

    /// <summary>A wire that loses, repeats and swaps packets, and may damage them, for as long as it is there.</summary>
    public BadWire Spoil(bool damages) => new(Network, seed: 7, loss: 0.03, duplication: 0.03, swapping: 0.5, damage: damages ? 0.03 : 0);

    public Client Connect(string address = "10.9.0.2") => new(Network, address);

    public static void End(CheetahServer server) => server.DisposeAsync().AsTask().GetAwaiter().GetResult();

    public void Dispose()
    {
        End(Server);
        Documents.Dispose();
        Network.Dispose();
    }

    /// <summary>One connection.</summary>
    internal sealed class Client : IDisposable
    {
        private readonly byte[] room = new byte[1 << 20];
        private int filled;

        public Client(KernelNetwork network, string address)
        {
            Socket = network.In(() => new Socket(IPAddress.Parse(address).AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true, ReceiveTimeout = 60_000, SendTimeout = 60_000 });
            Socket.Connect(IPAddress.Parse(address), 80);
        }

        public Socket Socket { get; }

        public void Send(string request) => Assert.Equal(request.Length, Socket.Send(Encoding.ASCII.GetBytes(request)));

        /// <summary>The next response: its head, and its body as long as the head says. Empty when the server has closed.</summary>
        public (string Head, byte[] Body) Receive(bool isHead = false)
        {
            int end;
            while ((end = room.AsSpan(0, filled).IndexOf("\r\n\r\n"u8)) < 0)
            {
                if (!Fill())
                {
                    return ("", []);
                }
            }

            string head = Encoding.ASCII.GetString(room, 0, end + 4);
            int at = head.IndexOf("Content-Length: ", StringComparison.Ordinal);
            int lengthBytes = at < 0 || isHead ? 0 : int.Parse(head.AsSpan(at + 16, head.IndexOf('\r', at) - at - 16), CultureInfo.InvariantCulture);
            while (filled < end + 4 + lengthBytes)
            {
                Assert.True(Fill());
            }

            byte[] body = room[(end + 4)..(end + 4 + lengthBytes)];
            room.AsSpan(end + 4 + lengthBytes, filled - end - 4 - lengthBytes).CopyTo(room);
            filled -= end + 4 + lengthBytes;
            return (head, body);
        }

        public byte[] Get(string path)
        {
            Send($"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
            (string head, byte[] body) = Receive();
            Assert.StartsWith("HTTP/1.1 200 OK\r\n", head, StringComparison.Ordinal);
            return body;
        }

        public void Dispose() => Socket.Dispose();

        private bool Fill()
        {
            int received = Socket.Receive(room, filled, room.Length - filled, SocketFlags.None);
            filled += received;
            return received > 0;
        }
    }
}
