// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using Exo.Core.Net;
using Exo.Tests;

namespace Exo.EndToEnd.Tests;

/// <summary><c>exo serve</c> on an interface whose addresses the kernel has too: each has its part of them, whatever the other does.</summary>
public sealed class SharedAddressTests : IDisposable
{
    private const int BulkBytes = 24 << 20;
    private const int HttpPort = 80, KernelPort = 5001, FreePort = 81;

    private readonly TempFolder _folder = new();
    private readonly TwoNamespaces _hosts = new();
    private readonly byte[] _page = new byte[200_000];

    public SharedAddressTests()
    {
        new Random(7).NextBytes(_page);
        Directory.CreateDirectory(_folder["site"]);
        File.WriteAllBytes(_folder["site/page.bin"], _page);
    }

    public void Dispose()
    {
        _hosts.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData("packet", false)]
    [InlineData("packet", true)]
    [InlineData("xdp", false)]
    public async Task The_kernel_keeps_all_but_the_port_and_gets_that_back_when_the_server_is_killed(string kind, bool handlers)
    {
        string linkBefore = _hosts.LinkOfServer();
        if (kind == "xdp")
        {
            // Who takes packets before the kernel closes their checksums is told of none: see docs/CAVEATS.md.
            NetworkNamespace.In(_hosts.Client, () =>
            {
                using NetworkLink link = NetworkLink.Open(TwoNamespaces.ClientLink);
                link.SetTransmitChecksumOffload(false);
                return 0;
            });
        }

        string[] options = handlers ? ["--handlers"] : [];
        using ExoProcess server = NetworkNamespace.In(_hosts.Server, () =>
            ExoProcess.Start("exo.dll", ["serve", _folder["site"], "--device", $"{kind}:{TwoNamespaces.ServerLink}", "--listen", $"[::]:{HttpPort}", .. options]));
        server.WaitForLine("http://");
        long resets = _hosts.ResetsOfServer();

        // Everything at once: pages from our stack, bulk by the kernel's both ways, and pings; over both families.
        using CancellationTokenSource bulkIsDone = new();
        Task<int>[] pages = [.. TwoNamespaces.ServerAddresses.Select(address => Start(_hosts.Client, () => FetchUntil(address, bulkIsDone.Token)))];
        Task[] bulk = [.. TwoNamespaces.ServerAddresses.Select(address => Bulk(address))];
        Task<int>[] pings = [.. TwoNamespaces.ServerAddresses.Select(address => Start(_hosts.Client, () => PingUntil(address, bulkIsDone.Token)))];
        try
        {
            await Task.WhenAll(bulk);
        }
        finally
        {
            await bulkIsDone.CancelAsync();
        }

        Assert.All(await Task.WhenAll(pages), count => Assert.True(count > 3, $"{count} pages while the bulk went on"));
        Assert.All(await Task.WhenAll(pings), count => Assert.True(count > 3, $"{count} pings"));
        Assert.Equal(resets, _hosts.ResetsOfServer());

        // The kernel refuses ports of its own that nobody has, and no program of this host gets ours.
        Assert.Equal(SocketError.ConnectionRefused, ConnectError(TwoNamespaces.ServerAddresses[0], FreePort));
        Assert.Equal(SocketError.AddressAlreadyInUse, NetworkNamespace.In(_hosts.Server, () => BindError(new IPEndPoint(IPAddress.Any, HttpPort))));

        server.Signal("KILL");
        server.Wait();
        foreach (IPAddress address in TwoNamespaces.ServerAddresses)
        {
            Assert.Equal(SocketError.ConnectionRefused, ConnectError(address, HttpPort));
            Assert.Equal(SocketError.Success, NetworkNamespace.In(_hosts.Server, () => BindError(new IPEndPoint(address, HttpPort))));
        }

        Assert.True(_hosts.ResetsOfServer() > resets);
        Assert.Equal(linkBefore, _hosts.LinkOfServer());
    }

    [Fact]
    public void A_port_that_a_program_of_the_host_has_is_refused_in_one_line()
    {
        using Socket service = NetworkNamespace.In(_hosts.Server, () => Listen(IPAddress.IPv6Any, KernelPort));
        string line = NetworkNamespace.In(_hosts.Server, () =>
            ExoProcess.Exo("serve", _folder["site"], "--device", $"packet:{TwoNamespaces.ServerLink}", "--listen", $"[::]:{KernelPort}").Refused(1));
        Assert.Contains($"port {KernelPort} is taken", line, StringComparison.Ordinal);

        string mixed = NetworkNamespace.In(_hosts.Server, () =>
            ExoProcess.Exo("serve", _folder["site"], "--device", $"packet:{TwoNamespaces.ServerLink}", "--address", $"{TwoNamespaces.ServerAddresses[0]}/24", "--address", "fd78::77/64").Refused(2));
        Assert.Contains("--address", mixed, StringComparison.Ordinal);
    }

    private static Task<T> Start<T>(string space, Func<T> action) =>
        Task.Factory.StartNew(() => NetworkNamespace.In(space, action), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    // Connections anew and kept, by turns, until told to end.
    private int FetchUntil(IPAddress server, CancellationToken end)
    {
        int count = 0;
        byte[] received = new byte[_page.Length];
        do
        {
            using Socket socket = Connect(server, HttpPort);
            for (int i = 0; i < 3; i++)
            {
                socket.Send(Encoding.ASCII.GetBytes("GET /page.bin HTTP/1.1\r\nHost: x\r\n\r\n"));
                StringBuilder head = new();
                while (!head.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal))
                {
                    Fill(socket, received.AsSpan(0, 1));
                    head.Append((char)received[0]);
                }

                Assert.StartsWith("HTTP/1.1 200", head.ToString(), StringComparison.Ordinal);
                Fill(socket, received);
                Assert.True(received.AsSpan().SequenceEqual(_page));
                count++;
            }
        }
        while (!end.IsCancellationRequested);
        return count;
    }

    private static int PingUntil(IPAddress server, CancellationToken end)
    {
        using Ping ping = new();
        int count = 0;
        do
        {
            try
            {
                Assert.Equal(IPStatus.Success, ping.Send(server, 5000).Status);
                count++;
            }
            catch (PingException full) when (full.InnerException is SocketException { SocketErrorCode: SocketError.NoBufferSpaceAvailable })
            {
                // The wire's queue is full of the others' packets: this one has not left.
                Thread.Yield();
            }
        }
        while (!end.IsCancellationRequested || count < 5);
        return count;
    }

    // A service of the kernel's: takes so many bytes, answers with their hash, and sends so many of its own.
    private async Task Bulk(IPAddress server)
    {
        using Socket listener = NetworkNamespace.In(_hosts.Server, () => Listen(server, KernelPort));
        Task<int> service = Task.Run(() =>
        {
            using Socket accepted = listener.Accept();
            accepted.ReceiveTimeout = accepted.SendTimeout = 60_000;
            byte[] bytes = new byte[BulkBytes];
            Fill(accepted, bytes);
            SendAll(accepted, SHA256.HashData(bytes));
            SendAll(accepted, Bytes(2));
            Fill(accepted, new byte[1]);
            return 0;
        });
        int client = await Start(_hosts.Client, () =>
        {
            using Socket socket = Connect(server, KernelPort);
            byte[] sent = Bytes(1), hash = new byte[32], received = new byte[BulkBytes];
            SendAll(socket, sent);
            Fill(socket, hash);
            Assert.Equal(SHA256.HashData(sent), hash);
            Fill(socket, received);
            Assert.Equal(SHA256.HashData(Bytes(2)), SHA256.HashData(received));
            SendAll(socket, [0]);
            return 0;
        });
        Assert.Equal(0, client + await service);
    }

    private static byte[] Bytes(int seed)
    {
        byte[] bytes = new byte[BulkBytes];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private SocketError ConnectError(IPAddress server, int port) => NetworkNamespace.In(_hosts.Client, () =>
    {
        try
        {
            using Socket socket = Connect(server, port);
            return SocketError.Success;
        }
        catch (SocketException refused)
        {
            return refused.SocketErrorCode;
        }
    });

    private static SocketError BindError(IPEndPoint local)
    {
        try
        {
            // No listener: it would be one that reuses the address.
            using Socket socket = new(local.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            socket.Bind(local);
            return SocketError.Success;
        }
        catch (SocketException refused)
        {
            return refused.SocketErrorCode;
        }
    }

    private static Socket Connect(IPAddress server, int port)
    {
        Socket socket = new(server.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { ReceiveTimeout = 60_000, SendTimeout = 60_000 };
        try
        {
            socket.Connect(server, port);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private static Socket Listen(IPAddress address, int port)
    {
        Socket socket = new(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(address, port));
        socket.Listen();
        return socket;
    }

    private static void Fill(Socket socket, Span<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            int count = socket.Receive(bytes);
            Assert.NotEqual(0, count);
            bytes = bytes[count..];
        }
    }

    private static void SendAll(Socket socket, ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            bytes = bytes[socket.Send(bytes)..];
        }
    }
}
