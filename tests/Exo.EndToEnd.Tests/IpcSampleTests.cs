// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Environments;
using Exo.Core.Ipc;
using Exo.Core.Memory;
using Exo.Core.Scheduling;
using Exo.Host;
using Exo.Storage.XN;
using Exo.Tests;

namespace Exo.EndToEnd.Tests;

/// <summary>The samples of docs/ipc.md are the texts of methods here, in the same order, and they run.</summary>
public sealed class IpcSampleTests : IDisposable
{
    private readonly FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 128 << 20, LargePages = false });
    private readonly ExoEnvironment root;
    private readonly StringWriter Console = new() { NewLine = "\n" };

    private readonly TemplateSource list = ListTemplate.Of("items");

    private readonly TemplateSource items = new() { Name = "items", Flags = TemplateFlags.InitialiseFirst };

    public IpcSampleTests() => root = ExoEnvironment.CreateRoot(frames.Authority);

    public void Dispose()
    {
        root.Dispose();
        frames.Dispose();
    }

    [Fact]
    public async Task A_pipe_for_those_who_trust_one_another()
    {
        // <sample>
        using Scheduler scheduler = new();
        ScheduledEnvironment count = scheduler.Admit(root.CreateChild("count"u8));
        ScheduledEnvironment list = scheduler.Admit(root.CreateChild("list"u8), slices: 2);     // twice the share
        (PipeReadEnd reader, PipeWriteEnd writer) = Pipe.Create(frames, owner: root, count.Environment, list.Environment);

        Task listing = list.Start(async self =>
        {
            using PipeWriteEnd end = writer;
            for (int i = 0; i < 1000; i++)
            {
                await end.WriteAsync(Encoding.ASCII.GetBytes($"file {i}\n"));                    // sleeps while the pipe is full
                await self.Checkpoint();                                                        // gives way when the slice is over
            }
        });
        Task<int> counting = count.Start(async self =>
        {
            using PipeReadEnd end = reader;
            byte[] buffer = new byte[512];
            int lines = 0;
            for (int got; (got = await end.ReadAsync(buffer)) > 0; lines += buffer.AsSpan(0, got).Count((byte)'\n'))
            {
            }

            return lines;                                                                       // end of file: the last write end is closed
        });
        Console.WriteLine($"{await counting} lines");
        // </sample>
        Assert.Equal("1000 lines\n", Console.ToString());
        await listing;
        Assert.Equal(frames.FrameCount, frames.FreeCount);
    }

    [Fact]
    public void A_service_that_its_clients_trust()
    {
        ExoEnvironment server = root.CreateChild("server"u8);
        ExoEnvironment client = root.CreateChild("client"u8);

        // <sample>
        AccessControlList guard = new(root.Name, authority: frames.Authority);
        guard.TryModify(root.Credential, 1, new AclEntry(client.Name, Rights.Read), out _);
        long served = 0;
        using ProtectedEntry<long, long> service = new(server, guard, (caller, request) =>
        {
            served++;                                                                           // in the server, and nobody else is
            return request * request;
        });
        ProtectedCall<long, long> square = service.Bind(client);                                // checked once
        square.TryCall(12, out long reply);                                                     // words by value, on the caller's thread, in his slice

        (MessageWriter news, MessageReader subscribed) = MessageRing.Create(frames, writer: server, reader: client, PeerTrust.Trusted);
        if (news.TryReserve(5, out MessageReservation room) == IpcStatus.Ok)
        {
            "today"u8.CopyTo(room.Bytes);                                                       // written where it will be read
            room.Commit();
        }

        subscribed.TryPeek(out MessageLease message);                                           // read where it lies: the client trusts the server
        Console.WriteLine($"{reply}, {Encoding.ASCII.GetString(message.Bytes)}");
        message.Dispose();
        // </sample>
        Assert.Equal("144, today\n", Console.ToString());
        Assert.Equal(1, served);
        news.Dispose();
        subscribed.Dispose();
        Assert.Equal(frames.FrameCount, frames.FreeCount);
    }

    [Fact]
    public void A_ring_between_strangers()
    {
        ExoEnvironment server = root.CreateChild("server"u8);
        ExoEnvironment stranger = root.CreateChild("stranger"u8);

        // <sample>
        (MessageWriter writer, MessageReader reader) = MessageRing.Create(frames, writer: stranger, reader: server);     // PeerTrust.Distrusted
        writer.TryWrite("pay 10 to me"u8);
        byte[] copy = new byte[64];
        reader.TryRead(copy, out int length);                                                   // copied once, then looked at: he cannot change it any more
        Console.WriteLine(Encoding.ASCII.GetString(copy, 0, length));

        Scribble(writer);                                                                       // he may write his own frames as he likes
        Console.WriteLine(reader.TryRead(copy, out _));                                         // and is found out: nothing outside the ring is read
        // </sample>
        Assert.Equal("pay 10 to me\nCorrupt\n", Console.ToString());
        writer.Dispose();
        reader.Dispose();
        Assert.Equal(frames.FrameCount, frames.FreeCount);

        // The words of the ring are at the start of a frame that he owns: he says that he has written what he has not.
        void Scribble(MessageWriter his)
        {
            for (uint i = 0; i < (uint)frames.FrameCount; i++)
            {
                FrameNumber frame = new(i);
                if (frames.Check(his.Environment.Credential, frame, Rights.Write) == AccessRefusal.None)
                {
                    using BindingUse<Frame> use = frames.Bind(his.Environment.Credential, frame, Rights.Write).Use(Rights.Write);
                    MemoryMarshal.Cast<byte, ulong>(use.WritableBytes())[0] = 1 << 20;
                    return;
                }
            }
        }
    }

    [Fact]
    public void A_library_OS_in_another_process()
    {
        using TempFolder folder = new();
        string socket = folder["disk.sock"];
        using MemoryBlockDevice disk = new(frames, blockCount: 4096);
        XnVolume.Format(disk).Dispose();
        // <sample>
        using HostServer server = HostServer.Start(disk, new HostServerOptions { SocketPath = socket });     // or: exo host disk.img --socket disk.sock

        using HostClient host = HostClient.Attach(socket);                                      // another process, as a rule
        TemplateId[] templates = host.InstallTemplates([list, items]);
        BlockNumber index = host.CreateRoot(templates[0]);
        host.TryTakeFrame(out int frame);                                                       // memory that this process may write
        "An entry."u8.CopyTo(host.Frame(frame));
        host.TryFindFree(near: index, count: 1, out BlockExtent block);
        XnTransaction change = new();
        change.Write(index, offsetBytes: 0, [.. BitConverter.GetBytes(block.First.Value), .. BitConverter.GetBytes(block.Count), .. BitConverter.GetBytes(1)]);
        change.ClaimAllocate(block, templates[1], index, partition: 0, [new FrameNumber((uint)frame)]);
        XnStatus status = host.Apply(change);                                                   // a message in a ring; XN checks it

        byte[] bytes = new byte[4096];
        host.TryReadCached(index, bytes);                                                       // no call: memory that this process may only read
        bool isDirty = host.TryGetEntry(block.First, out RegistryEntryInfo entry) && entry.IsDirty;     // XN's registry, as the host writes it
        Console.WriteLine($"{status}, points to {BitConverter.ToUInt64(bytes) == block.First.Value}, dirty {isDirty}");
        // </sample>
        Assert.Equal("Ok, points to True, dirty True\n", Console.ToString());
    }

    [Fact]
    public void Library_OSes_that_may_have_so_much_and_no_more()
    {
        using TempFolder folder = new();
        string socket = folder["disk.sock"];
        using MemoryBlockDevice disk = new(frames, blockCount: 4096);
        XnVolume.Format(disk).Dispose();

        // <sample>
        using HostServer server = HostServer.Start(disk, new HostServerOptions
        {
            SocketPath = socket,
            ClientsPerUser = 2,             // the third is refused: TooManyClients
            DiskBlocksPerUser = 100,        // allocated since the host began, less what was freed: OverQuota, however often a user comes back
            RequestsPerSecond = 50_000,     // TooManyRequests
            DiskWeight = peer => peer.User == 1000 ? 3 : 1,
        });                                 // or: exo host disk.img --socket disk.sock --clients-per-user 2 --space 400K --requests 50000 --weight 1000=3

        using HostClient host = HostClient.Attach(socket);
        TemplateId[] templates = host.InstallTemplates([list, items]);
        BlockNumber index = host.CreateRoot(templates[0]);
        BlockExtent many = new(new BlockNumber(1000), 100);
        XnTransaction change = new();
        change.Write(index, offsetBytes: 0, [.. BitConverter.GetBytes(many.First.Value), .. BitConverter.GetBytes(many.Count), .. BitConverter.GetBytes(1)]);
        change.ClaimAllocate(many, templates[1], index, partition: 0);
        try
        {
            host.Apply(change);             // with the root it would be 101
        }
        catch (HostException refused)
        {
            Console.WriteLine(refused.Status);
        }
        // </sample>
        Assert.Equal("OverQuota\n", Console.ToString());
    }

    [Fact]
    public void The_samples_on_the_page_are_those_that_run()
    {
        string here = ThisFile();
        string page = File.ReadAllText(Path.Combine(Path.GetDirectoryName(here)!, "../../docs/ipc.md"));
        string[][] onPage = [.. Regex.Matches(page, "```csharp\n(.*?)```", RegexOptions.Singleline).Select(match => Lines(match.Groups[1].Value))];
        string[][] run = [.. Regex.Matches(File.ReadAllText(here), "// <sample>\n(.*?)// </sample>", RegexOptions.Singleline).Select(match => Lines(match.Groups[1].Value))];
        Assert.Equal(onPage, run);
    }

    private static string[] Lines(string text) => [.. text.Split('\n').Select(line => line.Trim()).Where(line => line.Length > 0)];

    private static string ThisFile([CallerFilePath] string path = "") => path;
}
