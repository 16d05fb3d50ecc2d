// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Exo.Core.Blocks;
using Exo.Core.Ipc;
using Exo.Core.Linux;
using Exo.Host.Protocol;
using Exo.Storage.XN;
using Microsoft.Win32.SafeHandles;

namespace Exo.Host.Tests;

/// <summary>Clients that lie, scribble, stall and die, beside one that does its work.</summary>
public sealed class HostileClientTests
{
    private static readonly BlockExtent Items = new(new BlockNumber(2000), 3);

    /// <summary>What an attached process has in its hands, without the manners of <see cref="HostClient"/>.</summary>
    private sealed class Intruder : IDisposable
    {
        private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

        public Intruder(string path)
        {
            _socket.Connect(new UnixDomainSocketEndPoint(path));
            _socket.Send(BitConverter.GetBytes((ulong)Hello.LibraryOS));
            Greeting greeting = default;
            Span<int> descriptors = stackalloc int[Protocol.Greeting.Descriptors];
            Libc.ReceiveDescriptors((int)_socket.Handle, MemoryMarshal.AsBytes(new Span<Greeting>(ref greeting)), descriptors, out int count);
            Assert.Equal(Protocol.Greeting.Descriptors, count);
            Greeting = greeting;
            Descriptors = descriptors.ToArray();
            Requests = SharedMemory.Open(Descriptors[0], Channel.FileBytes, writable: true);
            Replies = SharedMemory.Open(Descriptors[1], Channel.FileBytes, writable: false);
            Channel = new Channel(Requests.Address, Replies.Address);
        }

        public Greeting Greeting { get; }

        public int[] Descriptors { get; }

        public SharedMemory Requests { get; }

        public SharedMemory Replies { get; }

        public Channel Channel { get; }

        public bool Send(ReadOnlySpan<byte> request)
        {
            if (Channel.TryReserve(request.Length, out Span<byte> room) != IpcStatus.Ok)
            {
                return false;
            }

            request.CopyTo(room);
            Channel.Send(request.Length);
            return true;
        }

        /// <summary>The status of the reply; null: the host has ended the connection.</summary>
        public HostStatus? Receive()
        {
            Func<bool> isAlive = () => !(_socket.Poll(0, SelectMode.SelectRead));
            if (Channel.Receive(isAlive, out ReadOnlySpan<byte> reply) != IpcStatus.Ok)
            {
                return null;
            }

            HostStatus status = (HostStatus)BitConverter.ToUInt32(reply);
            Channel.Release(reply.Length);
            return status;
        }

        public void Dispose()
        {
            _socket.Dispose();
            Requests.Dispose();
            Replies.Dispose();
            foreach (int descriptor in Descriptors[2..])
            {
                _ = Libc.Close(descriptor);
            }
        }
    }

    private static SafeFileHandle Reopen(int descriptor) => File.OpenHandle($"/proc/self/fd/{descriptor}", FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);

    /// <summary>Does honest work as long as <paramref name="attack"/> runs, and at least once after it.</summary>
    internal static void BesideHonestWork(HostedDisk disk, Action attack)
    {
        using HostClient honest = disk.Attach();
        (BlockNumber list, _) = HostClientTests.MakeList(honest);
        Task attacking = Task.Run(attack);
        byte[] block = new byte[4096];
        byte value = 0;
        bool last;
        do
        {
            last = attacking.IsCompleted;
            value++;
            Assert.True(honest.TryTakeFrame(out int frame));
            honest.Frame(frame).Fill(value);
            Assert.Equal(XnStatus.Ok, honest.Rebind(Items.First, frame));
            Assert.Equal(XnStatus.Ok, honest.WriteBack([Items.First]) is var status && status == XnStatus.Tainted ? XnStatus.Ok : status);
            honest.Flush();
            Assert.True(honest.TryReadCached(Items.First, block));
            Assert.True(block.AsSpan().IndexOfAnyExcept(value) < 0);
            Assert.True(honest.TryReadCached(list, block));
            Assert.Equal(HostedDisk.Entry(Items), block[112..128]);
        }
        while (!last);
        attacking.GetAwaiter().GetResult();
    }

    /// <summary>Requests of every kind as an honest client makes them, with some bytes changed.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(64)]
    public void Requests_that_are_almost_right_are_answered_whatever_they_say(int logBlocks)
    {
        using HostedDisk disk = new(logBlocks: logBlocks);
        byte[][] requests;
        using (HostClient client = disk.Attach())
        {
            (BlockNumber list, TemplateId items) = HostClientTests.MakeList(client, new BlockExtent(new BlockNumber(3000), 2));
            requests = Requests(list, items);
        }

        Dictionary<HostStatus, int> seen = [];
        BesideHonestWork(disk, () =>
        {
            Random random = new(20261130);
            for (int round = 0; round < 20; round++)
            {
                using Intruder intruder = new(disk.SocketPath);
                for (int i = 0; i < 400; i++)
                {
                    byte[] request = [.. requests[random.Next(requests.Length)]];
                    for (int changes = random.Next(4); changes > 0; changes--)
                    {
                        int at = random.Next(request.Length);
                        request[at] = random.Next(3) switch { 0 => (byte)random.Next(256), 1 => (byte)random.Next(4), _ => (byte)(request[at] ^ (1 << random.Next(8))) };
                    }

                    Assert.True(intruder.Send(random.Next(10) == 0 ? request.AsSpan(0, random.Next(request.Length)) : request));
                    HostStatus? status = intruder.Receive();
                    Assert.NotNull(status);
                    seen[status.Value] = seen.GetValueOrDefault(status.Value) + 1;
                }
            }
        });
        Assert.True(seen[HostStatus.Malformed] > 500 && seen[HostStatus.Refused] > 500 && seen[HostStatus.Ok] > 500, string.Join(", ", seen));
        disk.WaitFor(0);
    }

    private static byte[][] Requests(BlockNumber list, TemplateId items)
    {
        BlockExtent extent = new(new BlockNumber(3000), 2);
        List<byte[]> requests = [];
        Add(HostOperation.Nothing, [], []);
        Add(HostOperation.CreateRoot, [items.Value - 1], [0, 0, 0], small: true);
        Add(HostOperation.Read, [], [list.Value, 7 | (extent.First.Value << 32), extent.First.Value >> 32 | 2UL << 32]);
        Add(HostOperation.Fetch, [], [extent.First.Value]);
        Add(HostOperation.MarkDirty, [], [extent.First.Value], small: true);
        Add(HostOperation.Unbind, [], [extent.First.Value]);
        Add(HostOperation.WriteBack, [2], [extent.First.Value, extent.First.Value + 1]);
        Add(HostOperation.Rebind, [], [extent.First.Value, 1 | 5UL << 32]);
        Add(HostOperation.Flush, [], []);
        Add(HostOperation.Commit, [], []);
        Add(HostOperation.PlanWriteBack, [16], []);
        Add(HostOperation.FreeMap, [0, 64], []);
        Add(HostOperation.OwnFrames, [], []);

        byte[] whole = new byte[4096];
        foreach (bool own in (bool[])[false, true])
        {
            XnTransaction change = new();
            BlockExtent fresh = new(new BlockNumber(3100), 1);
            change.Write(list, 8 * 16, HostedDisk.Entry(fresh));
            change.ClaimAllocate(fresh, items, list, 8, [own ? new Core.Memory.FrameNumber(3) : HostClient.AnyFrame]);
            requests.Add(Transaction(change));
            change.Clear();
            change.Write(list, 8 * 16, HostedDisk.Entry(fresh, inUse: 0));
            change.ClaimFree(fresh, items, list, 8);
            requests.Add(Transaction(change));
            change.Clear();
            change.Write(list, 8 * 16, HostedDisk.Entry(fresh, inUse: 0));
            change.Write(list, 9 * 16, HostedDisk.Entry(fresh));
            change.ClaimMove(fresh, items, list, 8, list, 9);
            requests.Add(Transaction(change));
        }

        WireWriter templates = new(whole);
        templates.U32((uint)HostOperation.InstallTemplates);
        templates.U32((uint)HostedDisk.Templates.Length);
        foreach (TemplateSource source in HostedDisk.Templates)
        {
            TransactionWire.Write(ref templates, source);
        }

        requests.Add(whole[..templates.Length]);
        return [.. requests];

        void Add(HostOperation operation, uint[] words, ulong[] longs, bool small = false)
        {
            byte[] bytes = new byte[256];
            WireWriter to = new(bytes);
            to.U32((uint)operation);
            foreach (uint word in words)
            {
                to.U32(word);
            }

            foreach (ulong value in longs)
            {
                to.U64(value);
            }

            if (small)
            {
                to.U32(operation == HostOperation.MarkDirty ? 2u : 0);
            }

            requests.Add(bytes[..to.Length]);
        }

        byte[] Transaction(XnTransaction change)
        {
            WireWriter to = new(whole);
            to.U32((uint)HostOperation.Apply);
            TransactionWire.Write(ref to, change);
            return whole[..to.Length];
        }
    }

    [Fact]
    public unsafe void A_request_ring_that_is_scribbled_on_ends_its_connection_only()
    {
        using HostedDisk disk = new();
        int ended = 0;
        BesideHonestWork(disk, () =>
        {
            Random random = new(4711);
            for (int round = 0; round < 60; round++)
            {
                using Intruder intruder = new(disk.SocketPath);
                byte* words = (byte*)intruder.Requests.Address;
                intruder.Send(new byte[4]);
                Assert.Equal(HostStatus.Ok, intruder.Receive());
                switch (round % 4)
                {
                    case 0:
                        *(ulong*)words = (ulong)random.NextInt64();
                        break;
                    case 1:
                        *(uint*)(words + 8192 + 16) = (uint)random.Next();
                        *(ulong*)words += 64;
                        break;
                    case 2:
                        // Has read what was never written; found out with the next reply.
                        *(ulong*)(words + 4096) = (ulong)random.NextInt64();
                        intruder.Send(new byte[4]);
                        break;
                    default:
                        random.NextBytes(new Span<byte>(words, 8192));
                        break;
                }

                Libc.FutexWake(intruder.Requests.Address);
                while (intruder.Receive() is not null)
                {
                    // A reply that was under way.
                }

                ended++;
            }
        });
        Assert.Equal(60, ended);
        disk.WaitFor(0);
    }

    [Fact]
    public void A_client_that_takes_no_replies_holds_up_nobody()
    {
        using HostedDisk disk = new();
        BesideHonestWork(disk, () =>
        {
            using Intruder intruder = new(disk.SocketPath);
            byte[] ask = new byte[12];
            ask[0] = (byte)HostOperation.FreeMap;
            ask[8] = 64;
            while (disk.Server.Clients == 2)
            {
                // Asks and asks, until the host has no room for what it answers, and ends it.
                if (!intruder.Send(ask))
                {
                    Thread.Yield();
                }
            }
        });
    }

    [Fact]
    public void Memory_that_may_only_be_read_cannot_be_written_however_it_is_opened()
    {
        using HostedDisk disk = new();
        using Intruder intruder = new(disk.SocketPath);
        long[] lengths = [Channel.FileBytes, Channel.FileBytes, intruder.Greeting.RegistryBytes, (long)intruder.Greeting.BlocksCount * 4096];
        for (int i = 1; i <= 3; i++)
        {
            int descriptor = intruder.Descriptors[i];
            Assert.Throws<IOException>(() => MappedRegion.SharedFile(descriptor, lengths[i], writable: true));
            using (SafeFileHandle again = Reopen(descriptor))
            {
                Assert.Throws<IOException>(() => MappedRegion.SharedFile((int)again.DangerousGetHandle(), lengths[i], writable: true));
                Assert.ThrowsAny<Exception>(() => RandomAccess.Write(again, [1], 0));
            }

            Assert.NotEqual(0, Libc.Truncate(descriptor, 0));
            Assert.NotEqual(0, Libc.Seal(descriptor, readOnly: false));
        }

        // And what it may write it cannot shorten under the host's feet.
        Assert.NotEqual(0, Libc.Truncate(intruder.Descriptors[0], 0));
        Assert.NotEqual(0, Libc.Truncate(intruder.Descriptors[4], 0));
    }

    [Fact]
    public void Metadata_in_frames_that_the_client_can_write_is_refused()
    {
        using HostedDisk disk = new();
        using HostClient client = disk.Attach();
        TemplateId[] templates = client.InstallTemplates(HostedDisk.Templates);
        BlockNumber list = client.CreateRoot(templates[0]);
        BlockExtent child = new(new BlockNumber(2500), 1);
        Assert.True(client.TryTakeFrame(out int frame));
        XnTransaction change = new();
        change.Write(list, 0, HostedDisk.Entry(child, inUse: 2));
        change.ClaimAllocate(child, templates[0], list, 0, [new Core.Memory.FrameNumber((uint)frame)]);
        Assert.Equal(HostStatus.Malformed, Assert.Throws<HostException>(() => client.Apply(change)).Status);
        change.Clear();
        change.Write(list, 0, HostedDisk.Entry(child, inUse: 2));
        change.ClaimAllocate(child, templates[0], list, 0, [HostClient.AnyFrame]);
        Assert.True(client.Apply(change) == XnStatus.Ok, change.LastRefusal);
        Assert.Equal(XnStatus.WrongTemplate, client.Rebind(child.First, frame));
    }

    /// <summary>Each fills its memory and goes without a word; what they leave is more than the host has frames for.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(64)]
    public void However_many_leave_what_they_like_behind_there_is_room_for_the_next(int logBlocks)
    {
        const int Rounds = 20;
        using HostedDisk disk = new(poolBytes: 3 << 19, logBlocks: logBlocks);
        BlockNumber list;
        TemplateId items;
        using (HostClient first = disk.Attach())
        {
            (list, items) = HostClientTests.MakeList(first);
            HostClientTests.MakeDurable(first, list);
            first.PublishRoot("list", list);
        }

        byte[] block = new byte[4096];
        for (int round = 0; round < Rounds; round++)
        {
            disk.WaitFor(0);
            using HostClient client = disk.Attach();
            Assert.Equal(list, client.OpenRoot("list").Block);
            using HostClient other = disk.Attach();
            Assert.Equal(list, other.OpenRoot("list").Block);
            if (round > 0)
            {
                // What the one before has left is there, in core or on the disk.
                client.Read(new XnReadRequest(list, 8 + round - 1, Left(round - 1)));
                Assert.True(client.TryReadCached(Left(round - 1).First + 7, block));
                Assert.True(block.AsSpan().IndexOfAnyExcept((byte)round) < 0);
            }

            Core.Memory.FrameNumber[] frames = new Core.Memory.FrameNumber[Left(round).Count];
            for (int i = 0; i < frames.Length; i++)
            {
                Assert.True(client.TryTakeFrame(out int frame));
                client.Frame(frame).Fill((byte)(round + 1));
                frames[i] = new Core.Memory.FrameNumber((uint)frame);
            }

            XnTransaction change = new();
            change.Write(list, (8 + round) * 16, HostedDisk.Entry(Left(round)));
            change.ClaimAllocate(Left(round), items, list, 8 + round, frames);
            Assert.True(client.Apply(change) == XnStatus.Ok, change.LastRefusal);
        }

        static BlockExtent Left(int round) => new(new BlockNumber((ulong)(2100 + (round * 50))), 50);
    }

    [Fact]
    public void Who_leaves_dirty_blocks_behind_leaves_them_to_all_and_no_memory()
    {
        using HostedDisk disk = new();
        int free = disk.Frames.FreeCount;
        BlockNumber list;
        using (HostClient client = disk.Attach())
        {
            (list, _) = HostClientTests.MakeList(client);
        }

        disk.WaitFor(0);
        Assert.True(SpinWait.SpinUntil(() => disk.Frames.FreeCount == free - 4, 30_000), $"{free - disk.Frames.FreeCount} frames are in use");
        using HostClient other = disk.Attach();
        byte[] block = new byte[4096];
        other.Read(new XnReadRequest(list, 7, Items));
        Assert.True(other.TryReadCached(Items.First + 2, block));
        Assert.Equal(3, block[0]);
        HostClientTests.MakeDurable(other);
        other.PublishRoot("left", list);
        Assert.True(disk.Server.Close());
    }
}
