// SPDX-License-Identifier: MIT
using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Core.PacketFilters;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Pipes;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Wire;
using Exo.Tests;

namespace Exo.Net.Cheetah.Tests.Kernel;

/// <summary>Two environments with a stack each, and the kernel, on one interface and its addresses: each has its ports and nobody another's.</summary>
public sealed class PortTests : IDisposable
{
    private readonly TwoNamespaces network = new();
    private readonly FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
    private readonly CancellationTokenSource ending = new();
    private readonly ExoEnvironment root, web, mail;
    private readonly NetworkDevice device;
    private readonly SharedInterface shared;
    private readonly Thread poller;
    private readonly List<KernelNeighbors> neighbors = [];
    private readonly NetworkStackOptions options;
    private Exception? failure;

    public PortTests()
    {
        root = ExoEnvironment.CreateRoot(frames.Authority);
        web = root.CreateChild([1]);
        mail = root.CreateChild([2]);
        PacketFilterTree filters = new(frames.Authority);
        device = InServer(() => PacketSocketDevice.Open(TwoNamespaces.ServerLink, frames, new PacketSocketOptions { Filters = filters }));
        KernelAddresses kernel = InServer(() => KernelAddresses.Read(TwoNamespaces.ServerLink));
        InterfaceAddress[] addresses = [.. kernel.Addresses.Where(own => !own.IsLinkLocal).Select(own => new InterfaceAddress(InternetAddress.From(own.Address), own.PrefixBits))];
        options = new NetworkStackOptions { Addresses = addresses, TimeWait = TimeSpan.Zero };
        shared = new SharedInterface(device, filters, root, addresses.Select(own => own.Address.ToIPAddress()), areKernels: true);
        poller = new Thread(() =>
        {
            try
            {
                shared.Run(ending.Token);
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        poller.Start();
    }

    public void Dispose()
    {
        ending.Cancel();
        poller.Join();
        shared.Dispose();
        neighbors.ForEach(table => table.Dispose());
        device.Dispose();
        root.Dispose();
        frames.Dispose();
        network.Dispose();
        ending.Dispose();
        Assert.Null(failure);
    }

    [Fact]
    public async Task Two_servers_have_their_ports_and_theft_is_refused()
    {
        shared.Ports.Grant(root.Credential, 80, 80, web.Name);
        shared.Ports.Grant(root.Credential, 25, 25, mail.Name);
        EnvironmentDevice webDevice = Open(web), mailDevice = Open(mail);
        using MemoryDocumentSource webSite = Site("web"), mailSite = Site("mail");
        await using CheetahServer webServer = Start(webDevice, 80, webSite);

        // Without the capability; with it, when somebody has the port; and when the kernel has it.
        PortRefusedException thief = Assert.Throws<PortRefusedException>(() => Start(mailDevice, 80, mailSite));
        Assert.Equal((PortRefusal.Access, (ushort)80), (thief.Verdict.Refusal, thief.Verdict.Port));
        shared.Ports.Grant(root.Credential, 80, 80, mail.Name);
        thief = Assert.Throws<PortRefusedException>(() => Start(mailDevice, 80, mailSite));
        Assert.Equal((PortRefusal.Taken, web), (thief.Verdict.Refusal, thief.Verdict.Holder));
        shared.Ports.Grant(root.Credential, 22, 22, mail.Name);
        using (Socket ssh = InServer(() => Listen(22)))
        {
            thief = Assert.Throws<PortRefusedException>(() => Start(mailDevice, 22, mailSite));
            Assert.Equal((PortRefusal.Taken, null), (thief.Verdict.Refusal, thief.Verdict.Holder));
        }

        CheetahServer mailServer = Start(mailDevice, 25, mailSite);
        await using (mailServer)
        {
            int[] ports = [80, 25];
            Task<int>[] clients = [.. from address in TwoNamespaces.ServerAddresses from port in ports select Task.Run(() => InClient(() => Fetch(address, port, port == 80 ? "web" : "mail", times: 40)))];
            Assert.Equal(160, (await Task.WhenAll(clients)).Sum());

            // An environment that ends takes nothing with it: its port is the kernel's again, the other's is not touched.
            mail.Dispose();
            Assert.True(SpinWait.SpinUntil(() => InClient(() => ErrorOf(TwoNamespaces.ServerAddresses[0], 25)) == SocketError.ConnectionRefused, TimeSpan.FromSeconds(60)));
            Assert.Equal(3, InClient(() => Fetch(TwoNamespaces.ServerAddresses[1], 80, "web", times: 3)));
        }
    }

    [Fact]
    public async Task Connections_begin_at_ports_that_are_granted_and_give_them_back()
    {
        using Socket service = NetworkNamespace.In(network.Client, () => Listen(7));
        Task echo = Task.Run(() =>
        {
            using Socket accepted = service.Accept();
            byte[] bytes = new byte[5];
            accepted.ReceiveTimeout = 60_000;
            Assert.Equal(5, accepted.Receive(bytes));
            Assert.Equal(5, accepted.Send(bytes));
            Assert.Equal(0, accepted.Receive(bytes));
        });
        EnvironmentDevice part = Open(web);
        long resets = network.ResetsOfServer();
        using CancellationTokenSource stopping = new();
        using NetworkStack stack = new(part, WithNeighbors());
        Exception? fault = null;
        IPEndPoint remote = new(IPAddress.Parse("10.78.0.2"), 7);
        Assert.Equal(PortRefusal.Access, (await Assert.ThrowsAsync<PortRefusedException>(() => Refused(stack, remote))).Verdict.Refusal);
        shared.Ports.Grant(root.Credential, 50_000, 50_010, web.Name);
        Thread thread = new(() =>
        {
            try
            {
                // Ports are bound in the kernel where they are asked for.
                InServer(() =>
                {
                    stack.Run(stopping.Token);
                    return 0;
                });
            }
            catch (Exception e)
            {
                fault = e;
            }
        });
        thread.Start();
        await using (TcpPipeConnection connection = await TcpPipeConnection.ConnectAsync(stack, remote))
        {
            Assert.InRange(connection.LocalEndPoint.Port, 50_000, 50_010);
            await connection.Output.WriteAsync("hello"u8.ToArray());
            ReadResult result = await connection.Input.ReadAtLeastAsync(5);
            Assert.Equal("hello", Encoding.ASCII.GetString(result.Buffer.ToArray()));
            connection.Input.AdvanceTo(result.Buffer.End);
            Assert.True(web.Held(ResourceKind.Ports) > 0);
        }

        await echo;
        Assert.True(SpinWait.SpinUntil(() => Turn(stack, part) && web.Held(ResourceKind.Ports) == 0, TimeSpan.FromSeconds(60)));
        Assert.Equal(resets, network.ResetsOfServer());
        stopping.Cancel();
        thread.Join();
        Assert.Null(fault);
    }

    [Fact]
    public async Task Nobody_resets_a_connection_or_speaks_from_a_port_that_is_anothers()
    {
        shared.Ports.Grant(root.Credential, 80, 80, web.Name);
        shared.Ports.Grant(root.Credential, 25, 25, mail.Name);
        EnvironmentDevice webDevice = Open(web), hostile = Open(mail);
        using MemoryDocumentSource site = Site("web");
        await using CheetahServer server = Start(webDevice, 80, site);
        Assert.True(InServer(() => hostile.Ports.TryBind(ProtocolFilters.Tcp, 25, null, out _)).IsBound);
        using Socket kernels = InServer(() => Listen(22));
        using NetworkDevice watch = InClient(() => PacketSocketDevice.Open(TwoNamespaces.ClientLink, frames));
        using NetworkDevice unguarded = InServer(() => PacketSocketDevice.Open(TwoNamespaces.ServerLink, frames));
        Assert.True(frames.TryAllocate(frames.RootCredential, out FrameNumber frame));
        IPAddress address = TwoNamespaces.ServerAddresses[0];
        long refused = 0;
        foreach (int port in (int[])[80, 22])
        {
            using Socket victim = InClient(() =>
            {
                Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { ReceiveTimeout = 60_000 };
                socket.Connect(address, port);
                return socket;
            });
            using Socket? accepted = port == 22 ? kernels.Accept() : null;
            byte[] bytes = new byte[4096];
            void Ask()
            {
                victim.Send(port == 80 ? "GET / HTTP/1.1\r\nHost: x\r\n\r\n"u8 : "x"u8);
                accepted?.Send(Encoding.ASCII.GetBytes("web"));
                string text = "";
                while (!text.EndsWith("web", StringComparison.Ordinal))
                {
                    int count = victim.Receive(bytes);
                    Assert.True(count > 0);
                    text += Encoding.ASCII.GetString(bytes, 0, count);
                }
            }

            Ask();
            int clientPort = ((IPEndPoint)victim.LocalEndPoint!).Port;
            uint next = NextFrom(watch, port, clientPort);
            PacketSlice reset = Segment(frame, watch.Features.Address, port, clientPort, next, TcpFlags.Rst), fin = Segment(frame, watch.Features.Address, port, clientPort, next, TcpFlags.Fin | TcpFlags.Ack);
            PacketSlice honest = Segment(frame, watch.Features.Address, 25, clientPort, next, TcpFlags.Rst);
            Assert.Equal(3, hostile.Transmit([new TransmitPacket(reset), new TransmitPacket(fin), new TransmitPacket(honest)], []));
            Assert.Equal(refused += 2, hostile.RefusedFor(PacketRefusal.Port));
            Assert.True(SpinWait.SpinUntil(() => hostile.TransmitsInFlight == 0, TimeSpan.FromSeconds(60)));
            Ask();

            // What was refused would have been the end of it.
            next = NextFrom(watch, port, clientPort);
            Assert.Equal(1, unguarded.Transmit([new TransmitPacket(Segment(frame, watch.Features.Address, port, clientPort, next, TcpFlags.Rst))], []));
            Assert.Equal(SocketError.ConnectionReset, Assert.Throws<SocketException>(() => victim.Receive(bytes)).SocketErrorCode);
        }

        Assert.Equal(0, webDevice.Counters.TransmitRefused);
        Assert.Equal((refused, PacketRefusal.Port), (hostile.Counters.TransmitRefused, hostile.LastRefusal));
        frames.Release(frame);
    }

    // The number that the client expects next from a port of the server's, as the wire tells.
    private uint NextFrom(NetworkDevice watch, int port, int clientPort)
    {
        using ReceiveBatch batch = new(frames);
        uint? next = null;
        while (watch.Receive(batch) > 0 || next is null)
        {
            for (int i = 0; i < batch.Count; i++)
            {
                if (EthernetFrame.TryParse(batch.Head(i), out EthernetFrame ethernet, out ReadOnlySpan<byte> rest) && ethernet.Type == EtherType.Ipv4
                    && Ipv4Packet.TryParse(rest, out Ipv4Packet ip, out rest) && ip.Protocol == IpProtocol.Tcp && TcpSegment.TryParse(rest, out TcpSegment segment, out ReadOnlySpan<byte> payload)
                    && segment.SourcePort == port && segment.DestinationPort == clientPort)
                {
                    uint end = segment.Sequence + (uint)payload.Length + ((segment.Flags & TcpFlags.Syn) != 0 ? 1u : 0);
                    next = next is { } known && SequenceNumber.IsAfter(known, end) ? known : end;
                }
            }
        }

        return next.Value;
    }

    private PacketSlice Segment(FrameNumber frame, MacAddress to, int port, int clientPort, uint sequence, TcpFlags flags)
    {
        InternetAddress local = InternetAddress.From(TwoNamespaces.ServerAddresses[0]), remote = InternetAddress.Parse("10.78.0.2");
        PacketSlice slice = new(frame, 256 * ((int)flags & 1) + (port == 25 ? 1024 : 0), 54);
        Span<byte> bytes = slice.Bytes(frames), tcp = bytes[34..];
        new EthernetFrame(to, device.Features.Address, EtherType.Ipv4).Emit(bytes);
        new Ipv4Packet(local, remote, IpProtocol.Tcp, 20).Emit(bytes[14..]);
        new TcpSegment((ushort)port, (ushort)clientPort, sequence, 0, flags, 0, default).Emit(tcp);
        TcpSegment.Seal(local, remote, tcp, 0, 0);
        return slice;
    }

    // The stack looks once a second, when something happens.
    private static bool Turn(NetworkStack stack, EnvironmentDevice part)
    {
        stack.Post(() => { });
        return part.Ring.Capacity > 0;
    }

    private static Task<TcpPipeConnection> Refused(NetworkStack stack, IPEndPoint remote)
    {
        Task<TcpPipeConnection> connecting = TcpPipeConnection.ConnectAsync(stack, remote);
        stack.Poll();
        return connecting;
    }

    private EnvironmentDevice Open(ExoEnvironment owner)
    {
        Assert.True(shared.TryOpen(owner, out EnvironmentDevice? part).IsGranted);
        return part!;
    }

    private MemoryDocumentSource Site(string text)
    {
        MemoryDocumentSource site = new(frames);
        site.Set("/index.html", Encoding.ASCII.GetBytes(text));
        return site;
    }

    private NetworkStackOptions WithNeighbors()
    {
        KernelNeighbors table = InServer(() => KernelNeighbors.Open(TwoNamespaces.ServerLink));
        neighbors.Add(table);
        return options with { Neighbors = table };
    }

    // The server takes its port while it starts, on the thread that starts it.
    private CheetahServer Start(EnvironmentDevice part, int port, IDocumentSource site)
    {
        NetworkStackOptions network = WithNeighbors();
        return InServer(() =>
        {
            CheetahServer server = new(new CheetahServerOptions { EndPoint = new IPEndPoint(IPAddress.IPv6Any, port), Device = part, Network = network }, site, frames);
            server.Start();
            return server;
        });
    }

    private static int Fetch(IPAddress address, int port, string expected, int times)
    {
        for (int i = 0; i < times; i++)
        {
            using Socket socket = new(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { ReceiveTimeout = 60_000 };
            socket.Connect(address, port);
            socket.Send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"u8);
            StringBuilder text = new();
            byte[] bytes = new byte[4096];
            for (int count; (count = socket.Receive(bytes)) > 0;)
            {
                text.Append(Encoding.ASCII.GetString(bytes, 0, count));
            }

            Assert.StartsWith("HTTP/1.1 200", text.ToString(), StringComparison.Ordinal);
            Assert.EndsWith($"\r\n\r\n{expected}", text.ToString(), StringComparison.Ordinal);
        }

        return times;
    }

    private static SocketError ErrorOf(IPAddress address, int port)
    {
        try
        {
            using Socket socket = new(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            socket.Connect(address, port);
            return SocketError.Success;
        }
        catch (SocketException refused)
        {
            return refused.SocketErrorCode;
        }
    }

    private static Socket Listen(int port)
    {
        Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Any, port));
        socket.Listen();
        return socket;
    }

    private T InServer<T>(Func<T> action) => NetworkNamespace.In(network.Server, action);

    private T InClient<T>(Func<T> action) => NetworkNamespace.In(network.Client, action);
}
