// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.RegularExpressions;
using Exo.Capabilities;
using Exo.Core.AddressSpaces;
using Exo.Core.Blocks;
using Exo.Core.Blocks.Nbd;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Core.PacketFilters;
using Exo.Core.Predicates;
using Exo.Core.Tests.Blocks;

namespace Exo.Core.Tests;

/// <summary>The samples of the package page are the texts of methods here, in the same order, and they run.</summary>
public sealed class ReadmeTests
{
    [Fact]
    public async Task The_samples_do_what_they_say()
    {
        string image = TestDisk.NewPath();
        string socket = Blocks.Nbd.NbdPeer.NewSocketPath();
        try
        {
            Assert.Matches(@"^42 through (io_uring|pread), direct: (True|False)\n1 through, cookie 1, error 0\n$", await Run(console => Disk(console, image)));
            Assert.Equal("woken by product 1\n", await Run(Environments));
            Assert.Equal("parent, 1 page\n", await Run(console => Task.Run(() => Spaces(console))));
            Assert.Equal("Overlap with filter 1\nTrue\n", await Run(console => Task.Run(() => Filters(console))));
            Assert.Equal("1024 blocks through nbd\n", await Run(console => Task.Run(() => Remote(console, socket))));
        }
        finally
        {
            File.Delete(image);
            File.Delete(socket);
        }
    }

    [Fact]
    public async Task The_sample_with_a_network_interface_does_what_it_says()
    {
        using Net.TestNetwork network = new();
        string said = await Run(console => Task.Run(() => network.InA(() =>
        {
            Interfaces(console);
            return 0;
        })));
        Assert.Matches(@"^1 sent through TAP\n\d+ for the environment, \d+ for nobody\n$", said);
    }

    [Fact]
    public void The_samples_on_the_page_are_those_that_run()
    {
        string here = ThisFile();
        string page = File.ReadAllText(Path.Combine(Path.GetDirectoryName(here)!, "../../src/Exo.Core/README.md"))
            .Replace("\"disk.img\"", "image", StringComparison.Ordinal)
            .Replace("\"disk.sock\"", "socket", StringComparison.Ordinal)
            .Replace("\"nbd+unix:///?socket=disk.sock\"", "$\"nbd+unix:///?socket={socket}\"", StringComparison.Ordinal);
        string[][] onPage = [.. Regex.Matches(page, "```csharp\n(.*?)```", RegexOptions.Singleline).Select(match => Lines(match.Groups[1].Value))];
        string[][] run = [.. Regex.Matches(File.ReadAllText(here), "// <sample>\n(.*?)// </sample>", RegexOptions.Singleline).Select(match => Lines(match.Groups[1].Value))];
        Assert.Equal(onPage, run);
    }

    private static async Task<string> Run(Func<TextWriter, Task> sample)
    {
        StringWriter console = new() { NewLine = "\n" };
        await sample(console);
        return console.ToString();
    }

    private static async Task Disk(TextWriter Console, string image)
    {
        // <sample>
        using FramePool frames = FramePool.Create();
        using BlockDevice disk = BlockDevice.Open(image, frames, new BlockDeviceOptions { Create = true, CreateBytes = 64 << 20 });

        frames.TryAllocateRun(frames.RootCredential, count: 2, out FrameNumber first);
        FrameNumber[] two = [first, new FrameNumber(first.Value + 1)];
        frames.Bytes(first, 2).Fill(42);

        disk.Execute([BlockRequest.Write(new BlockNumber(7), two)]);     // on this thread, one system call
        disk.Flush();                                                    // now it is durable

        frames.Bytes(first, 2).Clear();
        await disk.ExecuteAsync(new[] { BlockRequest.Read(new BlockNumber(7), two) });
        Console.WriteLine($"{frames.Bytes(first)[0]} through {disk.Geometry.Driver}, direct: {disk.Geometry.IsDirect}");

        // Many requests under way from one thread:
        using BlockQueue queue = disk.OpenQueue(depth: 32);
        BlockCompletion[] done = new BlockCompletion[32];
        queue.TrySubmit(BlockRequest.Read(new BlockNumber(7), two), cookie: 1);      // false when 32 are under way
        int count = queue.Reap(done);                                                // hands over, waits for at least one
        Console.WriteLine($"{count} through, cookie {done[0].Cookie}, error {done[0].Error}");
        // </sample>
    }

    private static async Task Environments(TextWriter Console)
    {
        // <sample>
        using FramePool frames = FramePool.Create();
        using ExoEnvironment root = ExoEnvironment.CreateRoot(frames.Authority);
        using ExoEnvironment worker = root.CreateChild([1], new EnvironmentQuotas { Frames = 8 });

        worker.TryAllocateFrame(frames, out FrameNumber mailbox);
        SecureBinding<Frame> frame = frames.Bind(worker.Credential, mailbox, Rights.Write);
        using WakeupPredicate mail = WakeupPredicate.Bind(new PredicateProduct(1, PredicateValue.Word(frame, 0).NotEqualTo(0)));
        ValueTask<ulong> sleep = worker.SleepUntil(mail);     // costs nothing until somebody writes there

        using (BindingUse<Frame> use = frame.Use(Rights.Write))
        {
            use.WritableBytes()[0] = 1;
        }                                                     // the end of the use rings
        Console.WriteLine($"woken by product {await sleep}");
        // </sample>
    }

    private static void Spaces(TextWriter Console)
    {
        // <sample>
        using FramePool frames = FramePool.Create();
        PageFaultUpcall resolve = (in PageFault fault) =>
        {
            frames.TryAllocate(frames.RootCredential, out FrameNumber fresh, zero: fault.Kind == PageFaultKind.Missing);
            if (fault.Kind == PageFaultKind.CopyOnWrite)
            {
                fault.Space.CopyPage(frames.RootCredential, fault.Page, fresh);
            }
            else
            {
                fault.Space.Bind(frames.RootCredential, fault.Page, fresh, PageAccess.Write);
            }

            frames.Release(fresh);                            // the page holds it
            return true;
        };
        using AddressSpace parent = AddressSpace.Reserve(frames, lengthBytes: 1 << 30, resolve);
        parent.Write(offsetBytes: 5000, "parent"u8);
        using AddressSpace child = parent.Fork(resolve);
        child.Write(5000, "child!"u8);
        byte[] text = new byte[6];
        parent.Read(5000, text);
        Console.WriteLine($"{Encoding.ASCII.GetString(text)}, {parent.BoundPages} page");
        // </sample>
    }

    private static void Filters(TextWriter Console)
    {
        // <sample>
        CapabilityAuthority authority = CapabilityAuthority.Create();
        using ExoEnvironment root = ExoEnvironment.CreateRoot(authority);
        using ExoEnvironment web = root.CreateChild([1]), thief = root.CreateChild([2]);
        PacketFilterTree tree = new(authority);

        tree.TryInsert(web, PacketFilter.Parse("u16[12] == 0x800; u8[23] == 6; base += (u8[14] & 0xf) << 2; u16[16] == 80"), out InstalledFilter? port);
        FilterVerdict verdict = tree.TryInsert(thief, PacketFilter.Parse("u16[12] == 0x800; u8[23] == 6"), out _);
        Console.WriteLine($"{verdict.Refusal} with filter {verdict.InTheWay!.Number}");

        byte[] packet = new byte[54];                          // Ethernet, IPv4 of 20 bytes, TCP
        (packet[12], packet[14], packet[23], packet[37]) = (8, 0x45, 6, 80);
        Console.WriteLine(tree.Classify(packet) == port);
        // </sample>
    }

    private static void Interfaces(TextWriter Console)
    {
        // <sample>
        using FramePool frames = FramePool.Create();
        using ExoEnvironment root = ExoEnvironment.CreateRoot(frames.Authority);
        using ExoEnvironment web = root.CreateChild([1]);
        using NetworkDevice device = TapDevice.Open("exo0", frames);      // or PacketSocketDevice, or XdpDevice, of an interface that is there
        using NetworkLink link = NetworkLink.Open("exo0");
        link.IsUp = true;

        frames.TryAllocateRun(frames.RootCredential, count: 2, out FrameNumber first);
        Span<byte> ethernet = frames.Bytes(first)[..14];
        MacAddress.Broadcast.Write(ethernet);
        device.Features.Address.Write(ethernet[6..]);
        (ethernet[12], ethernet[13]) = (0x88, 0xb5);
        TransmitBatch sending = new();
        sending.TryAdd(new PacketSlice(first, 0, 14), [new PacketSlice(new FrameNumber(first.Value + 1), 0, 1000)]);   // payload where it lies
        Console.WriteLine($"{device.Transmit(sending)} sent through {device.Features.Driver}");

        using PacketDemultiplexer rings = new(device, frames.Authority);
        rings.TryOpenRing(web, slots: 64, out PacketRing? ring);
        rings.TryInsert(ring!, ProtocolFilters.EtherType(0x0806), out _);
        device.Wait(NetworkEvents.Receivable, TimeSpan.FromMilliseconds(10));
        rings.Poll();                                                     // each packet into the ring of its filter
        using ReceiveBatch received = new(frames);
        Console.WriteLine($"{ring!.Receive(web.Credential, received)} for the environment, {rings.Unclaimed} for nobody");
        // </sample>
    }

    private static void Remote(TextWriter Console, string socket)
    {
        // <sample>
        using FramePool frames = FramePool.Create();
        using MemoryBlockDevice disk = new(frames, blockCount: 1024);
        using NbdServer server = new(disk, new NbdServerOptions { EndPoint = new UnixDomainSocketEndPoint(socket) });
        server.Start();

        using BlockDevice remote = BlockDevice.Open($"nbd+unix:///?socket={socket}", frames);
        frames.TryAllocate(frames.RootCredential, out FrameNumber frame);
        frames.Bytes(frame).Fill(42);
        remote.Execute([BlockRequest.Write(new BlockNumber(7), new[] { frame }, forceUnitAccess: true)]);
        Console.WriteLine($"{remote.Geometry.BlockCount} blocks through {remote.Geometry.Driver}");
        // </sample>
    }

    private static string[] Lines(string text) =>
        [.. text.Split('\n').Select(line => line.Trim()).Where(line => line.Length > 0)];

    private static string ThisFile([CallerFilePath] string path = "") => path;
}
