// SPDX-License-Identifier: MIT
using System.Net;
using System.Runtime.CompilerServices;
using System.Text;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Core.PacketFilters;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Wire;
using Exo.Simulation.Net;
using Exo.Tests;

namespace Exo.Net.Cheetah.Tests;

public class ReadmeTests
{
    /// <summary>The sample of the package page, line by line; <see cref="The_page_shows_the_sample_that_is_tested"/> keeps them equal.</summary>
    private static async Task Sample(TextWriter Console)
    {
        // <sample>
        using var frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        using var documents = new MemoryDocumentSource(frames);
        documents.Set("/index.html", "<!doctype html><title>Hello</title><h1>Hello from Cheetah</h1>"u8);

        var options = new CheetahServerOptions { EndPoint = new IPEndPoint(IPAddress.Loopback, 0), Reactors = 1 };
        await using var server = new CheetahServer(options, documents, frames);
        server.Start();

        using var client = new HttpClient();
        Console.WriteLine(await client.GetStringAsync($"http://{server.EndPoint}/"));
        Console.WriteLine($"payload bytes copied: {server.Counters.PayloadBytesCopied}");
        await server.StopAsync(drainTimeout: TimeSpan.FromSeconds(5));
        // </sample>
    }

    /// <summary>The sample of custom handlers, likewise.</summary>
    private static async Task Handlers(TextWriter Console)
    {
        // <handlers>
        using var frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        using var documents = new MemoryDocumentSource(frames);
        long visits = 0;
        var handlers = new CheetahHandlers()
            .Add("GET", "/visits", (in request, response) =>
            {
                response.ContentType = "application/json"u8;
                response.AddField("Cache-Control"u8, "no-store"u8);
                response.Write("{\"visits\":"u8);
                response.Write(Interlocked.Increment(ref visits));
                response.Write("}"u8);
            })
            .Add("POST", "/echo/*", (in request, response) => response.Write(request.Body))
            .AddDeferred("GET", "/slow", (in request, stopping) => AfterAWhileAsync(Encoding.UTF8.GetString(request.Query), stopping));

        // What waits runs elsewhere; what it gives back writes the response.
        static async ValueTask<CheetahHandler> AfterAWhileAsync(string query, CancellationToken stopping)
        {
            await Task.Delay(10, stopping);
            return (in request, response) => response.Write($"waited for {query}");
        }

        var options = new CheetahServerOptions { EndPoint = new IPEndPoint(IPAddress.Loopback, 0), Handlers = handlers };
        await using var server = new CheetahServer(options, documents, frames);
        server.Start();

        using var client = new HttpClient { BaseAddress = new Uri($"http://{server.EndPoint}/") };
        Console.WriteLine(await client.GetStringAsync("visits"));
        Console.WriteLine(await (await client.PostAsync("echo/x", new StringContent("hello"))).Content.ReadAsStringAsync());
        Console.WriteLine(await client.GetStringAsync("slow?tea"));
        // </handlers>
    }

    // <stack>
    /// <summary>Sends the same frames to whoever connects, from where they lie.</summary>
    sealed class Banner(PacketSlice bytes) : ITcpHandler
    {
        public int SentCount { get; private set; }

        public void OnOpened(TcpConnection connection)
        {
            connection.Send([bytes], released: static banner => ((Banner)banner!).SentCount++, state: this);
            connection.CloseSend();
        }

        public int OnReceived(TcpConnection connection, ReadOnlySpan<byte> bytes) => bytes.Length;

        public void OnAcknowledged(TcpConnection connection) { }

        public void OnPeerClosed(TcpConnection connection) { }

        public void OnClosed(TcpConnection connection, TcpCloseReason reason) { }
    }

    static void Serve(NetworkDevice device, Banner banner, CancellationToken stopping)
    {
        using var stack = new NetworkStack(device, new NetworkStackOptions { Addresses = [InterfaceAddress.Parse("10.0.0.2/24")] });
        stack.Listen(new IPEndPoint(IPAddress.Parse("10.0.0.2"), 7), banner);
        stack.Run(stopping);
    }
    // </stack>

    [Fact]
    public async Task The_sample_of_the_stack_runs()
    {
        using var frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        (SimulatedWire wire, SimulatedNetworkDevice client, SimulatedNetworkDevice server) = SimulatedWire.CreatePair(frames, frames);
        using (wire)
        using (var stopping = new CancellationTokenSource())
        {
            Assert.True(frames.TryAllocate(frames.RootCredential, out FrameNumber frame));
            "hello"u8.CopyTo(frames.Bytes(frame));
            var banner = new Banner(new PacketSlice(frame, 0, 5));
            Task serving = Task.Run(() => Serve(server, banner, stopping.Token), TestContext.Current.CancellationToken);
            using (var stack = new NetworkStack(client, new NetworkStackOptions { Addresses = [InterfaceAddress.Parse("10.0.0.1/24")] }))
            {
                Task running = Task.Run(() => stack.Run(stopping.Token), TestContext.Current.CancellationToken);
                Exo.Net.Cheetah.Pipes.TcpPipeConnection connection = await Exo.Net.Cheetah.Pipes.TcpPipeConnection.ConnectAsync(stack, new IPEndPoint(IPAddress.Parse("10.0.0.2"), 7), TestContext.Current.CancellationToken);
                using var reader = new StreamReader(connection.Input.AsStream());
                Assert.Equal("hello", await reader.ReadToEndAsync(TestContext.Current.CancellationToken));
                Assert.True(SpinWait.SpinUntil(() => banner.SentCount == 1, TimeSpan.FromMinutes(1)));
                await stopping.CancelAsync();
                await Task.WhenAll(serving, running);
            }

            frames.Release(frame);
        }
    }

    /// <summary>The sample of an interface that is shared, likewise.</summary>
    private static async Task Sharing(TextWriter Console)
    {
        // <sharing>
        using var frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        using var documents = new MemoryDocumentSource(frames);
        using ExoEnvironment root = ExoEnvironment.CreateRoot(frames.Authority);
        using ExoEnvironment web = root.CreateChild([1]), mail = root.CreateChild([2]);

        // The interface with the system's own addresses: what no filter accepts goes on to the system.
        var filters = new PacketFilterTree(frames.Authority);
        using NetworkDevice device = PacketSocketDevice.Open("eth0", frames, new PacketSocketOptions { Filters = filters });
        InterfaceAddress[] addresses = [.. KernelAddresses.Read("eth0").Addresses.Where(own => !own.IsLinkLocal)
            .Select(own => new InterfaceAddress(InternetAddress.From(own.Address), own.PrefixBits))];
        using var shared = new SharedInterface(device, filters, root, addresses.Select(own => own.Address.ToIPAddress()), areKernels: true);

        // Who may bind which ports, and a device for each: what comes to its ports, and its part of what is sent.
        shared.Ports.Grant(root.Credential, first: 80, last: 80, web.Name);
        shared.Ports.Grant(root.Credential, first: 25, last: 25, mail.Name);
        shared.TryOpen(web, out EnvironmentDevice? webDevice);
        shared.TryOpen(mail, out EnvironmentDevice? mailDevice, new SharedInterfaceOptions { Weight = 2 });

        using KernelNeighbors webNeighbors = KernelNeighbors.Open("eth0"), mailNeighbors = KernelNeighbors.Open("eth0");
        var network = new NetworkStackOptions { Addresses = addresses, Neighbors = webNeighbors };
        var options = new CheetahServerOptions { EndPoint = new IPEndPoint(IPAddress.IPv6Any, 80), Device = webDevice, Network = network };
        await using var server = new CheetahServer(options, documents, frames);
        server.Start();                                        // binds port 80 for the first environment

        using var stack = new NetworkStack(mailDevice!, network with { Neighbors = mailNeighbors });
        try
        {
            stack.Listen(80, new Discard());
        }
        catch (PortRefusedException refused)
        {
            Console.WriteLine(refused.Message);
        }

        stack.Listen(25, new Discard());                       // an ITcpHandler
        shared.Poll();                                         // or Run, on a thread of its own
        // </sharing>
    }

    [Fact]
    public void The_sample_of_sharing_runs()
    {
        using TwoNamespaces network = new();
        var output = new StringWriter { NewLine = "\n" };

        // One thread: what the sample opens, it opens in the namespace.
        NetworkNamespace.In(network.Server, () =>
        {
            Sharing(output).GetAwaiter().GetResult();
            return 0;
        });
        Assert.Equal("Refused: port 80 is not granted to who asks for it (NotDominated).\n", output.ToString());
    }

    private sealed class Discard : ITcpHandler
    {
        public void OnOpened(TcpConnection connection)
        {
        }

        public int OnReceived(TcpConnection connection, ReadOnlySpan<byte> bytes) => bytes.Length;

        public void OnAcknowledged(TcpConnection connection)
        {
        }

        public void OnPeerClosed(TcpConnection connection) => connection.Abort();

        public void OnClosed(TcpConnection connection, TcpCloseReason reason)
        {
        }
    }

    [Fact]
    public async Task The_sample_of_handlers_runs()
    {
        var output = new StringWriter { NewLine = "\n" };
        await Handlers(output);
        Assert.Equal("{\"visits\":1}\nhello\nwaited for tea\n", output.ToString());
    }

    [Fact]
    public async Task The_sample_runs()
    {
        var output = new StringWriter { NewLine = "\n" };
        await Sample(output);
        Assert.Equal("<!doctype html><title>Hello</title><h1>Hello from Cheetah</h1>\npayload bytes copied: 0\n", output.ToString());
    }

    [Theory]
    [InlineData("sample")]
    [InlineData("handlers")]
    [InlineData("sharing")]
    [InlineData("stack")]
    public void The_page_shows_the_sample_that_is_tested(string name)
    {
        string here = Source();
        string page = File.ReadAllText(Path.Combine(Path.GetDirectoryName(here)!, "../../src/Exo.Net.Cheetah/README.md"));
        string sample = File.ReadAllText(here).Split($"// <{name}>\n")[1].Split($"// </{name}>")[0].TrimEnd();
        int indent = sample.Length - sample.TrimStart(' ').Length;
        string[] lines = [.. sample.Split('\n').Select(line => line.Length > indent ? line[indent..] : line)];
        Assert.Contains(string.Join('\n', lines), page, StringComparison.Ordinal);
    }

    private static string Source([CallerFilePath] string path = "") => path;
}
