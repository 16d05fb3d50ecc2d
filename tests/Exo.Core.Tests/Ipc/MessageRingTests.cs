// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Ipc;
using Exo.Core.Memory;
using Exo.Core.Scheduling;

namespace Exo.Core.Tests.Ipc;

/// <summary>Rings of messages: a queue beside the real thing, and peers that scribble.</summary>
public sealed class MessageRingTests : IDisposable
{
    private readonly FramePool _pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
    private readonly ExoEnvironment _root;
    private readonly ExoEnvironment _writer;
    private readonly ExoEnvironment _reader;

    public MessageRingTests()
    {
        _root = ExoEnvironment.CreateRoot(_pool.Authority);
        _writer = _root.CreateChild([1]);
        _reader = _root.CreateChild([2]);
    }

    public void Dispose()
    {
        _root.Dispose();
        _pool.Dispose();
    }

    private (MessageWriter Writer, MessageReader Reader) New(PeerTrust trust = PeerTrust.Distrusted) => MessageRing.Create(_pool, _writer, _reader, trust, 4096);

    [Theory]
    [InlineData(PeerTrust.Distrusted)]
    [InlineData(PeerTrust.Trusted)]
    public void Messages_come_out_whole_and_in_order(PeerTrust trust)
    {
        Gen.Select(Gen.Int[0, 3], Gen.Int[0, 2040]).List[1, 300].Sample(steps =>
        {
            (MessageWriter writer, MessageReader reader) = New(trust);
            Queue<byte[]> model = new();
            byte[] buffer = new byte[2040];
            byte mark = 0;
            foreach ((int what, int length) in steps)
            {
                byte[] message = new byte[length];
                message.AsSpan().Fill(++mark);
                IpcStatus status;
                switch (what)
                {
                    case 0:
                        if (writer.TryWrite(message) == IpcStatus.Ok)
                        {
                            model.Enqueue(message);
                        }
                        else
                        {
                            Assert.NotEmpty(model);
                        }

                        break;
                    case 1:
                        if (writer.TryReserve(length, out MessageReservation room) == IpcStatus.Ok)
                        {
                            message.CopyTo(room.Bytes);
                            if (length % 3 > 0)
                            {
                                room.Commit();
                                model.Enqueue(message);
                            }

                            room.Dispose();
                        }

                        break;
                    case 2 when trust == PeerTrust.Trusted:
                        status = reader.TryPeek(out MessageLease lease);
                        Assert.Equal(model.Count > 0 ? IpcStatus.Ok : IpcStatus.WouldBlock, status);
                        if (status == IpcStatus.Ok)
                        {
                            Assert.Equal(model.Dequeue(), lease.Bytes.ToArray());
                            lease.Dispose();
                        }

                        break;
                    default:
                        status = reader.TryRead(buffer.AsSpan(0, length), out int got);
                        if (model.Count == 0)
                        {
                            Assert.Equal(IpcStatus.WouldBlock, status);
                        }
                        else if (model.Peek().Length > length)
                        {
                            Assert.Equal(IpcStatus.BufferTooSmall, status);
                            Assert.Equal(model.Peek().Length, got);
                        }
                        else
                        {
                            Assert.Equal(IpcStatus.Ok, status);
                            Assert.Equal(model.Dequeue(), buffer[..got]);
                        }

                        break;
                }
            }

            writer.Complete();
            while (model.TryDequeue(out byte[]? left))
            {
                Assert.Equal(IpcStatus.Ok, reader.TryRead(buffer, out int got));
                Assert.Equal(left, buffer[..got]);
            }

            Assert.Equal(IpcStatus.Closed, reader.TryRead(buffer, out _));
            writer.Dispose();
            reader.Dispose();
        }, iter: 100);
        Assert.Equal(_pool.FrameCount, _pool.FreeCount);
    }

    [Fact]
    public void Each_side_may_write_only_its_own_frames()
    {
        (MessageWriter writer, MessageReader reader) = New();
        for (uint i = 0; i < (uint)writer.Own.Count; i++)
        {
            FrameNumber frame = new(writer.Own.First.Value + i);
            Assert.Equal(AccessRefusal.None, _pool.Check(_reader.Credential, frame, Rights.Read));
            Assert.NotEqual(AccessRefusal.None, _pool.Check(_reader.Credential, frame, Rights.Write));
        }

        Assert.NotEqual(AccessRefusal.None, _pool.Check(_writer.Credential, reader.Own.First, Rights.Write));
        using ExoEnvironment stranger = _root.CreateChild([3]);
        Assert.NotEqual(AccessRefusal.None, _pool.Check(stranger.Credential, reader.Own.First, Rights.Read));
        writer.Dispose();
        reader.Dispose();
    }

    [Fact]
    public void In_place_reading_is_for_those_who_trust()
    {
        (MessageWriter writer, MessageReader reader) = New();
        writer.TryWrite("x"u8);
        Assert.Throws<InvalidOperationException>(() => reader.TryPeek(out _));
        writer.Dispose();
        reader.Dispose();
    }

    /// <summary>Whatever a writer puts into its frames, the reader answers with a status and reads nothing outside; the same the other way round.</summary>
    [Fact]
    public unsafe void A_peer_that_scribbles_gets_nowhere()
    {
        Random random = new(20261129);
        Dictionary<IpcStatus, int> seen = [];
        byte[] buffer = new byte[4096];
        for (int round = 0; round < 3000; round++)
        {
            (MessageWriter writer, MessageReader reader) = New(round % 2 == 0 ? PeerTrust.Trusted : PeerTrust.Distrusted);
            byte* own = (byte*)writer.Own.Address;
            for (int i = 0; i < 20; i++)
            {
                switch (random.Next(6))
                {
                    case 0:
                        *(ulong*)(own + RingSide.IndexAt) = random.Next(3) == 0 ? (ulong)random.NextInt64() : (ulong)random.Next(600) * 8;
                        break;
                    case 1:
                        *(uint*)(own + 4096 + random.Next(512) * 8) = random.Next(4) switch { 0 => uint.MaxValue, 1 => (uint)random.Next(5000), 2 => (uint)random.Next(), _ => 2040 };
                        break;
                    case 2:
                        *(ulong*)(reader.Own.Address + RingSide.IndexAt) = (ulong)random.NextInt64();
                        break;
                    case 3:
                        Count(writer.IsClosed ? IpcStatus.Ok : writer.TryWrite(buffer.AsSpan(0, random.Next(2041))));
                        break;
                    default:
                        IpcStatus status = reader.TryRead(buffer, out int length);
                        Assert.InRange(length, 0, writer.MessageMaxBytes);
                        Count(status);
                        break;
                }
            }

            writer.Dispose();
            reader.Dispose();
        }

        Assert.True(seen[IpcStatus.Corrupt] > 100 && seen[IpcStatus.Ok] > 100);
        Assert.Equal(_pool.FrameCount, _pool.FreeCount);

        void Count(IpcStatus status)
        {
            Assert.True(status is IpcStatus.Ok or IpcStatus.WouldBlock or IpcStatus.Corrupt, $"{status}");
            seen[status] = seen.GetValueOrDefault(status) + 1;
        }
    }

    [Fact]
    public void Corruption_is_final()
    {
        (MessageWriter writer, MessageReader reader) = New();
        unsafe
        {
            *(ulong*)(writer.Own.Address + RingSide.IndexAt) = 12;
        }

        Assert.Equal(IpcStatus.Corrupt, reader.TryRead(new byte[8], out _));
        unsafe
        {
            *(ulong*)(writer.Own.Address + RingSide.IndexAt) = 0;
        }

        Assert.Equal(IpcStatus.Corrupt, reader.TryRead(new byte[8], out _));
        writer.Dispose();
        reader.Dispose();
    }

    [Fact]
    public void The_end_of_one_side_is_told_to_the_other_and_frames_in_use_are_not_handed_on()
    {
        (MessageWriter writer, MessageReader reader) = New(PeerTrust.Trusted);
        Assert.Equal(IpcStatus.Ok, writer.TryWrite("still there"u8));
        Assert.Equal(IpcStatus.Ok, reader.TryPeek(out MessageLease lease));
        int free = _pool.FreeCount;
        _writer.Dispose();
        Assert.Equal("still there"u8, lease.Bytes);
        Assert.Equal(free, _pool.FreeCount);
        lease.Dispose();
        Assert.Equal(IpcStatus.Revoked, reader.TryRead(new byte[20], out _));
        reader.Dispose();
        Assert.Equal(IpcStatus.Revoked, writer.TryWrite("x"u8));
        Assert.Equal(_pool.FrameCount, _pool.FreeCount);
    }

    [Fact(Timeout = 60_000)]
    public async Task Two_environments_converse()
    {
        using Scheduler scheduler = new(new SchedulerOptions { Processors = 2 });
        (MessageWriter requests, MessageReader asked) = New();
        (MessageWriter replies, MessageReader answered) = MessageRing.Create(_pool, _reader, _writer, PeerTrust.Trusted, 4096);
        Task server = scheduler.Admit(_reader).Start(async _ =>
        {
            byte[] buffer = new byte[asked is null ? 0 : 2040];
            int length;
            while ((length = await asked!.ReadAsync(buffer)) >= 0)
            {
                buffer.AsSpan(0, length).Reverse();
                await replies.WriteAsync(buffer.AsMemory(0, length));
            }

            replies.Complete();
        });
        await scheduler.Admit(_writer).Start(async _ =>
        {
            byte[] buffer = new byte[2040];
            for (int i = 1; i < 3000; i++)
            {
                byte[] message = [.. Enumerable.Range(0, i % 2040).Select(k => (byte)(k + i))];
                await requests.WriteAsync(message);
                int length = await answered.ReadAsync(buffer);
                Assert.Equal(message, buffer[..length].Reverse());
            }

            requests.Complete();
            Assert.Equal(-1, await answered.ReadAsync(buffer));
        });
        await server.WaitAsync(TestContext.Current.CancellationToken);
        foreach (IDisposable end in new IDisposable[] { requests, asked, replies, answered })
        {
            end.Dispose();
        }

        Assert.Equal(_pool.FrameCount, _pool.FreeCount);
    }
}
