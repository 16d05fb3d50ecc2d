// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Exo.Core.Blocks;
using Exo.Core.Blocks.Nbd;
using Exo.Core.Memory;

namespace Exo.Core.Tests.Blocks.Nbd;

/// <summary>A connection that breaks costs time, not data; and where it may have cost data, the next flush says so.</summary>
public sealed class NbdReconnectionTests : IDisposable
{
    private const ushort Flags = 1 | 4 | 8 | 64;
    private readonly FramePool _pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });

    public void Dispose() => _pool.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_was_not_acknowledged_is_sent_again(bool isAsync)
    {
        // The first connection answers every other request and then breaks; the second serves.
        byte[] disk = new byte[1 << 20];
        using var server = new ScriptedServer((stream, n) =>
        {
            ScriptedServer.Negotiate(stream, 1 << 20, Flags);
            for (int i = 0; n > 0 || i < 9; i++)
            {
                var request = ScriptedServer.ReadRequest(stream);
                if (n > 0 || i % 2 == 0)
                {
                    Serve(stream, disk, request);
                }
            }
        });
        await using BlockDevice device = Open(server);
        FrameNumber[] frames = Allocate(16);
        BlockRequest[] batch = [.. Enumerable.Range(0, 16).Select(i => BlockRequest.Write(new BlockNumber((ulong)i), frames.AsMemory(i, 1), forceUnitAccess: true))];
        if (isAsync)
        {
            await device.ExecuteAsync(batch);
        }
        else
        {
            device.Execute(batch);
        }

        for (int i = 0; i < 16; i++)
        {
            Assert.Equal(-1, disk.AsSpan(i * 4096, 4096).IndexOfAnyExcept((byte)(i + 1)));
        }

        device.Flush(); // Every write was durable by itself.
        Assert.Equal(1, ((NbdBlockDevice)device).Reconnections);
    }

    [Fact]
    public void A_write_that_a_lost_server_had_acknowledged_fails_the_next_flush_and_only_that()
    {
        byte[] disk = new byte[1 << 20];
        using var server = new ScriptedServer((stream, n) =>
        {
            ScriptedServer.Negotiate(stream, 1 << 20, Flags);
            for (int i = 0; n > 0 || i < 3; i++)
            {
                Serve(stream, disk, ScriptedServer.ReadRequest(stream));
            }
        });
        using BlockDevice device = Open(server);
        FrameNumber[] frames = Allocate(1);
        BlockRequest write = BlockRequest.Write(default, frames);
        device.Execute([write]);
        device.Flush();
        device.Execute([write]); // Acknowledged, not flushed; then the server goes.
        device.Execute([BlockRequest.Read(default, frames)]);
        Assert.Equal(104, Assert.Throws<BlockDeviceException>(device.Flush).Errno);
        device.Flush();
        device.Execute([write]);
        device.Flush();
    }

    [Fact]
    public void A_flush_under_way_when_the_server_goes_fails_if_it_covered_anything()
    {
        byte[] disk = new byte[1 << 20];
        using var server = new ScriptedServer((stream, n) =>
        {
            ScriptedServer.Negotiate(stream, 1 << 20, Flags);
            while (ScriptedServer.ReadRequest(stream) is var request && (n > 0 || request.Command != 3))
            {
                Serve(stream, disk, request);
            }
        });
        using BlockDevice device = Open(server);
        device.Execute([BlockRequest.Write(default, Allocate(1))]);
        Assert.Equal(104, Assert.Throws<BlockDeviceException>(device.Flush).Errno);
        device.Flush();
    }

    [Fact]
    public void A_flush_under_way_that_covers_nothing_is_sent_again()
    {
        using var server = new ScriptedServer((stream, n) =>
        {
            ScriptedServer.Negotiate(stream, 1 << 20, Flags);
            while (ScriptedServer.ReadRequest(stream) is var request && n > 0)
            {
                Serve(stream, [], request);
            }
        });
        using BlockDevice device = Open(server);
        device.Flush();
        Assert.Equal(1, device.Counters.Flushes);
    }

    [Fact]
    public void Durable_writes_by_flush_fail_when_the_server_went_in_between()
    {
        // No FUA: the device writes, then flushes. The server acknowledges the write and goes.
        byte[] disk = new byte[1 << 20];
        using var server = new ScriptedServer((stream, n) =>
        {
            ScriptedServer.Negotiate(stream, 1 << 20, 1 | 4);
            while (ScriptedServer.ReadRequest(stream) is var request && (n > 0 || request.Command != 3))
            {
                Serve(stream, disk, request);
            }
        });
        using BlockDevice device = Open(server);
        BlockRequest write = BlockRequest.Write(default, Allocate(1), forceUnitAccess: true);
        Assert.Equal(104, Assert.Throws<BlockDeviceException>(() => device.Execute([write])).Errno);
        device.Execute([write]);
    }

    [Fact]
    public void A_server_that_stays_away_is_given_up_when_the_clock_says_so()
    {
        var clock = new JumpingClock();
        BlockDevice device;
        using (var server = new ScriptedServer((stream, _) =>
        {
            ScriptedServer.Negotiate(stream, 1 << 20, Flags);
            ScriptedServer.ReadRequest(stream);
        }))
        {
            device = BlockDevice.Open(server.Uri, _pool, new BlockDeviceOptions { Nbd = new NbdOptions { ReconnectTimeoutMs = 3_600_000, TimeProvider = clock } });
        }

        using (device)
        {
            BlockRequest read = BlockRequest.Read(default, Allocate(1));
            Assert.Equal(110, Assert.Throws<BlockDeviceException>(() => device.Execute([read])).Errno);
            Assert.True(clock.Elapsed >= TimeSpan.FromHours(1));
            Assert.Equal(110, Assert.Throws<BlockDeviceException>(device.Flush).Errno);
        }
    }

    [Fact]
    public void A_server_that_comes_back_only_to_go_again_is_given_up_too()
    {
        var clock = new JumpingClock { StepPerLook = TimeSpan.FromSeconds(10) };
        using var server = new ScriptedServer((stream, _) =>
        {
            ScriptedServer.Negotiate(stream, 1 << 20, Flags);
            ScriptedServer.ReadRequest(stream);
        });
        using BlockDevice device = BlockDevice.Open(
            server.Uri, _pool, new BlockDeviceOptions { Nbd = new NbdOptions { ReconnectTimeoutMs = 600_000, TimeProvider = clock } });
        BlockRequest read = BlockRequest.Read(default, Allocate(1));
        Assert.Equal(110, Assert.Throws<BlockDeviceException>(() => device.Execute([read])).Errno);
        Assert.InRange(((NbdBlockDevice)device).Reconnections, 1, 100);
    }

    [Fact]
    public void Another_export_under_the_old_name_is_refused()
    {
        using var server = new ScriptedServer((stream, n) =>
        {
            ScriptedServer.Negotiate(stream, n == 0 ? 1u << 20 : 1u << 19, Flags);
            ScriptedServer.ReadRequest(stream);
        });
        using BlockDevice device = Open(server);
        BlockRequest read = BlockRequest.Read(default, Allocate(1));
        Assert.Equal(19, Assert.Throws<BlockDeviceException>(() => device.Execute([read])).Errno);
    }

    [Fact]
    public void Many_threads_and_many_drops_lose_nothing()
    {
        // Every connection serves a few dozen requests and breaks in the middle of something.
        byte[] disk = new byte[1 << 20];
        using var server = new ScriptedServer((stream, n) =>
        {
            ScriptedServer.Negotiate(stream, 1 << 20, Flags);
            for (int i = 0; i < 40 + n; i++)
            {
                Serve(stream, disk, ScriptedServer.ReadRequest(stream));
            }

            stream.Write(new byte[n % 16 > 3 ? 0 : 3]);
        });
        using BlockDevice device = Open(server);
        Parallel.For(0, 4, new ParallelOptions { MaxDegreeOfParallelism = 4 }, thread =>
        {
            FrameNumber[] frames = Allocate(8);
            for (int round = 0; round < 60; round++)
            {
                foreach (FrameNumber frame in frames)
                {
                    _pool.Bytes(frame).Fill((byte)(thread * 60 + round));
                }

                BlockRequest[] batch = [.. frames.Select((_, i) => BlockRequest.Write(new BlockNumber((ulong)(thread * 8 + i)), frames.AsMemory(i, 1), forceUnitAccess: true))];
                Run(device, batch, round);
                foreach (FrameNumber frame in frames)
                {
                    _pool.Bytes(frame).Clear();
                }

                batch = [BlockRequest.Read(new BlockNumber((ulong)(thread * 8)), frames)];
                Run(device, batch, round);
                Assert.All(frames, frame => Assert.Equal(-1, _pool.Bytes(frame).IndexOfAnyExcept((byte)(thread * 60 + round))));
            }
        });
        Assert.True(((NbdBlockDevice)device).Reconnections > 3);
    }

    [Fact]
    public void All_connections_are_replaced_together()
    {
        string path = NbdPeer.NewSocketPath();
        using var disk = new MemoryBlockDevice(_pool, 64);
        NbdServer Start()
        {
            var server = new NbdServer(disk, new NbdServerOptions { EndPoint = new UnixDomainSocketEndPoint(path) });
            server.Start();
            return server;
        }

        NbdServer server = Start();
        using var device = (NbdBlockDevice)BlockDevice.Open($"nbd+unix:///?socket={path}", _pool, new BlockDeviceOptions { Nbd = new NbdOptions { Connections = 3 } });
        Assert.Equal((3, 3), (device.ConnectionCount, server.ConnectionCount));
        FrameNumber[] frames = Allocate(4);
        for (int round = 1; round <= 5; round++)
        {
            // Other threads use other connections; none of their writes is flushed when the server goes.
            Parallel.For(0, 4, new ParallelOptions { MaxDegreeOfParallelism = 4 }, i =>
            {
                BlockRequest write = BlockRequest.Write(new BlockNumber((ulong)i), frames.AsMemory(i, 1));
                device.Execute([write]);
            });
            server.Dispose();
            server = Start();
            Assert.Equal(104, Assert.Throws<BlockDeviceException>(() =>
            {
                device.Execute([BlockRequest.Read(default, frames.AsMemory(0, 1))]);
                device.Flush();
            }).Errno);
            device.Flush();
            Assert.Equal((round, 3), (device.Reconnections, server.ConnectionCount));
        }

        server.Dispose();
    }

    private static void Run(BlockDevice device, BlockRequest[] batch, int round)
    {
        if (round % 2 == 0)
        {
            device.Execute(batch);
        }
        else
        {
            device.ExecuteAsync(batch).AsTask().GetAwaiter().GetResult();
        }
    }

    private static void Serve(
        NetworkStream stream, byte[] disk, (ushort Command, ushort Flags, ulong Cookie, ulong Offset, byte[] Payload, uint Length) request)
    {
        request.Payload.CopyTo(disk.AsSpan((int)request.Offset));
        stream.Write(ScriptedServer.SimpleReply(
            request.Cookie, 0, request.Command == 0 ? disk.AsSpan((int)request.Offset, (int)request.Length).ToArray() : null));
    }

    private BlockDevice Open(ScriptedServer server) => BlockDevice.Open(server.Uri, _pool, new BlockDeviceOptions { QueueDepth = 32 });

    private FrameNumber[] Allocate(int count)
    {
        var frames = new FrameNumber[count];
        for (int i = 0; i < count; i++)
        {
            Assert.True(_pool.TryAllocate(_pool.RootCredential, out frames[i]));
            _pool.Bytes(frames[i]).Fill((byte)(i + 1));
        }

        return frames;
    }

    /// <summary>Time passes by waiting for it: a timer is due at once, and the clock has moved on.</summary>
    private sealed class JumpingClock : TimeProvider
    {
        private long _ticks;

        public TimeSpan StepPerLook { get; init; }

        public TimeSpan Elapsed => TimeSpan.FromTicks(Volatile.Read(ref _ticks));

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => Interlocked.Add(ref _ticks, StepPerLook.Ticks);

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            Interlocked.Add(ref _ticks, Math.Max(dueTime.Ticks, 0));
            return System.CreateTimer(callback, state, TimeSpan.Zero, Timeout.InfiniteTimeSpan);
        }
    }
}
