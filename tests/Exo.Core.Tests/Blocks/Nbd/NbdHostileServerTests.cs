// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Net.Sockets;
using CsCheck;
using Exo.Core.Blocks;
using Exo.Core.Blocks.Nbd;
using Exo.Core.Memory;

namespace Exo.Core.Tests.Blocks.Nbd;

/// <summary>Whatever a server says, the client's caller gets data that was sent for its request, or a typed error; and gets it soon.</summary>
public sealed class NbdHostileServerTests : IDisposable
{
    private const int Protocol = 71;
    private readonly FramePool _pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });

    public void Dispose() => _pool.Dispose();

    [Fact]
    public void Garbage_instead_of_a_negotiation_is_a_typed_error()
    {
        Gen.Select(Gen.Byte.Array[0, 400], Gen.Int[0, 3]).Sample(
            (garbage, kind) =>
            {
                using var server = new ScriptedServer((stream, _) =>
                {
                    if (kind > 0)
                    {
                        Greet(stream);
                    }

                    if (kind > 1)
                    {
                        stream.ReadExactly(new byte[4 + 16]);
                        stream.Write(ScriptedServer.OptionReply(8, kind == 2 ? 1u : 0x80000001, []));
                    }

                    stream.Write(garbage);
                });
                Assert.InRange(Assert.Throws<BlockDeviceException>(() => Open(server)).Errno, 1, 200);
            },
            iter: 150,
            threads: 1);
    }

    [Theory]
    [InlineData("endless replies", 71)]
    [InlineData("a huge reply", 71)]
    [InlineData("impossible block sizes", 71)]
    [InlineData("too large blocks", 95)]
    [InlineData("an unknown export", 2)]
    [InlineData("no size", 71)]
    [InlineData("a size of 2^64 - 1", 71)]
    [InlineData("a tiny export", 22)]
    [InlineData("old style", 95)]
    [InlineData("silence", 110)]
    [InlineData("a drip", 110)]
    public void What_no_server_should_say_while_negotiating(string what, int errno)
    {
        using var server = new ScriptedServer((stream, _) =>
        {
            switch (what)
            {
                case "silence":
                    stream.ReadExactly(new byte[1]);
                    return;
                case "old style":
                    stream.Write([.. "NBDMAGIC"u8, 0, 0, 0x42, 2, 0x81, 0x86, 0x12, 0x53, .. new byte[136]]);
                    return;
            }

            Greet(stream);
            stream.ReadExactly(new byte[4 + 16]);
            if (what == "a drip")
            {
                foreach (byte one in ScriptedServer.OptionReply(8, 0x80000001, new byte[8000]))
                {
                    stream.WriteByte(one);
                    Thread.Sleep(1);
                }

                return;
            }

            if (what == "a huge reply")
            {
                byte[] reply = ScriptedServer.OptionReply(8, 0x80000001, []);
                BinaryPrimitives.WriteUInt32BigEndian(reply.AsSpan(16), uint.MaxValue);
                stream.Write(reply);
                return;
            }

            stream.Write(ScriptedServer.OptionReply(8, 0x80000001, []));
            stream.ReadExactly(new byte[16 + 8]);
            byte[] info = what switch
            {
                "an unknown export" => ScriptedServer.OptionReply(7, 0x80000006, []),
                "no size" => [],
                "impossible block sizes" => ScriptedServer.OptionReply(7, 3, [0, 3, 0, 0, 0, 3, 0, 0, 16, 0, 0, 16, 0, 0]),
                "too large blocks" => [.. Size(1 << 20), .. ScriptedServer.OptionReply(7, 3, [0, 3, 0, 0, 32, 0, 0, 0, 32, 0, 0, 16, 0, 0])],
                "a size of 2^64 - 1" => Size(ulong.MaxValue),
                "a tiny export" => Size(4095),
                _ => ScriptedServer.OptionReply(7, 3, [0, 77]),
            };
            stream.Write(info);
            for (int i = 0; what == "endless replies"; i++)
            {
                stream.Write(info);
            }

            stream.Write(ScriptedServer.OptionReply(7, 1, []));
            stream.ReadExactly(new byte[1]);
        });
        Assert.Equal(errno, Assert.Throws<BlockDeviceException>(() => Open(server, timeoutMs: 300)).Errno);
    }

    [Fact]
    public void Garbage_instead_of_replies_is_a_typed_error_and_the_device_stays_broken()
    {
        Gen.Select(Gen.Byte.Array[1, 200], Gen.Int[0, 4], Gen.Int[0, 40]).Sample(
            (noise, kind, at) =>
            {
                using var server = new ScriptedServer((stream, _) =>
                {
                    ScriptedServer.Negotiate(stream, 1 << 20, 1 | 4, structured: kind > 2);
                    ulong cookie = ScriptedServer.ReadRequest(stream).Cookie;
                    byte[] honest = kind switch
                    {
                        0 => noise,
                        1 => ScriptedServer.SimpleReply(cookie, 0, new byte[4096]),
                        2 => ScriptedServer.SimpleReply(cookie ^ (1UL << (at % 64)), 0, new byte[4096]),
                        3 => ScriptedServer.Chunk(cookie, 1, 1, [.. new byte[8], .. new byte[4096]]),
                        _ => ScriptedServer.Chunk(cookie, 1, (ushort)(noise[0] << 8 | (noise.Length & 7)), [.. noise, .. new byte[12]]),
                    };
                    for (int i = 0; kind is 1 or 3 && i < noise.Length && at + i < 32; i++)
                    {
                        honest[at + i] ^= noise[i];
                    }

                    stream.Write(honest);
                });
                using BlockDevice device = Open(server);
                FrameNumber[] frames = [Allocate()];
                try
                {
                    device.Execute([BlockRequest.Read(default, frames)]);
                    Assert.True(kind is 1 or 3 or 4, "noise was taken for a reply");
                }
                catch (BlockDeviceException refused)
                {
                    Assert.InRange(refused.Errno, 1, 200);
                }

                Assert.Equal(1, _pool.ReferenceCount(frames[0]));
                _pool.Release(frames[0]);
            },
            iter: 200,
            threads: 1);
    }

    [Theory]
    [InlineData("a reply twice")]
    [InlineData("data beyond the request")]
    [InlineData("data before the request")]
    [InlineData("too much data")]
    [InlineData("too little data")]
    [InlineData("chunks without end")]
    [InlineData("a simple reply")]
    [InlineData("a hole of nothing")]
    [InlineData("an error without a number")]
    [InlineData("an error longer than its chunk")]
    public void What_no_server_should_reply(string what)
    {
        using var server = new ScriptedServer((stream, _) =>
        {
            ScriptedServer.Negotiate(stream, 1 << 20, 1, structured: true);
            ulong cookie = ScriptedServer.ReadRequest(stream).Cookie;
            byte[] Data(ulong offset, int length, ushort flags)
            {
                byte[] payload = new byte[8 + length];
                BinaryPrimitives.WriteUInt64BigEndian(payload, offset);
                return ScriptedServer.Chunk(cookie, flags, 1, payload);
            }

            byte[] reply = what switch
            {
                "a reply twice" => [.. Data(8192, 4096, 1), .. Data(8192, 4096, 1)],
                "data beyond the request" => Data(8192 + 1, 4096, 1),
                "data before the request" => Data(8191, 10, 1),
                "too much data" => [.. Data(8192, 4096, 0), .. Data(8192, 1, 1)],
                "too little data" => Data(8192, 4095, 1),
                "a simple reply" => ScriptedServer.SimpleReply(cookie, 0, new byte[4096]),
                "a hole of nothing" => ScriptedServer.Chunk(cookie, 0, 2, new byte[12]),
                "an error without a number" => ScriptedServer.Chunk(cookie, 1, 0x8001, new byte[6]),
                "an error longer than its chunk" => ScriptedServer.Chunk(cookie, 1, 0x8001, [0, 0, 0, 5, 255, 255]),
                _ => ScriptedServer.Chunk(cookie, 0, 0x8001, [0, 0, 0, 5, 0, 0]),
            };
            do
            {
                stream.Write(reply);
            }
            while (what == "chunks without end");

            stream.ReadExactly(new byte[28]);
        });
        using BlockDevice device = Open(server);
        FrameNumber[] frames = [Allocate()];
        BlockRequest read = BlockRequest.Read(new BlockNumber(2), frames);
        int errno = Assert.Throws<BlockDeviceException>(() =>
        {
            // The second reply of "a reply twice" is found at the second request.
            device.Execute([read]);
            device.Execute([read]);
        }).Errno;
        Assert.Equal(Protocol, errno);
        Assert.Equal(Protocol, Assert.Throws<BlockDeviceException>(device.Flush).Errno);
    }

    [Fact]
    public void Chunks_in_any_order_holes_and_errors_are_understood()
    {
        using var server = new ScriptedServer((stream, _) =>
        {
            ScriptedServer.Negotiate(stream, 1 << 20, 1, structured: true);
            ulong cookie = ScriptedServer.ReadRequest(stream).Cookie;
            byte[] tail = [.. new byte[] { 0, 0, 0, 0, 0, 0, 0x20 + 0x10, 1 }, .. Enumerable.Repeat((byte)7, 4095)];
            stream.Write(ScriptedServer.Chunk(cookie, 0, 1, tail));
            byte[] hole = [0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0x10, 1];
            stream.Write(ScriptedServer.Chunk(cookie, 0, 2, hole));
            stream.Write(ScriptedServer.Chunk(cookie, 1, 0, []));
            cookie = ScriptedServer.ReadRequest(stream).Cookie;
            stream.Write(ScriptedServer.Chunk(cookie, 0, 0x8002, [0, 0, 0, 28, 0, 2, (byte)'n', (byte)'o', .. new byte[8]]));
            stream.Write(ScriptedServer.Chunk(cookie, 1, 0, []));
            stream.ReadExactly(new byte[28]);
        });
        using BlockDevice device = Open(server);
        FrameNumber[] frames = [Allocate(), Allocate()];
        _pool.Bytes(frames[0]).Fill(1);
        _pool.Bytes(frames[1]).Fill(1);
        BlockRequest read = BlockRequest.Read(new BlockNumber(2), frames);
        device.Execute([read]);
        Assert.Equal(-1, _pool.Bytes(frames[0]).IndexOfAnyExcept((byte)0));
        Assert.Equal(0, _pool.Bytes(frames[1])[0]);
        Assert.Equal(-1, _pool.Bytes(frames[1])[1..].IndexOfAnyExcept((byte)7));
        Assert.Equal(28, Assert.Throws<BlockDeviceException>(() => device.Execute([read])).Errno);
    }

    [Fact]
    public void A_server_that_owes_an_answer_and_is_silent_counts_as_gone()
    {
        using var server = new ScriptedServer((stream, n) =>
        {
            ScriptedServer.Negotiate(stream, 1 << 20, 1);
            ulong cookie = ScriptedServer.ReadRequest(stream).Cookie;
            if (n > 0)
            {
                stream.Write(ScriptedServer.SimpleReply(cookie, 0, new byte[4096]));
            }

            stream.ReadExactly(new byte[28]);
        });
        using BlockDevice device = BlockDevice.Open(server.Uri, _pool, new BlockDeviceOptions { Nbd = new NbdOptions { ReplyTimeoutMs = 50 } });
        device.Execute([BlockRequest.Read(default, new[] { Allocate() })]);
        Assert.Equal(1, ((NbdBlockDevice)device).Reconnections);
    }

    private static void Greet(NetworkStream stream) =>
        stream.Write([.. "NBDMAGIC"u8, .. "IHAVEOPT"u8, 0, 3]);

    private static byte[] Size(ulong lengthBytes)
    {
        byte[] info = new byte[12];
        BinaryPrimitives.WriteUInt64BigEndian(info.AsSpan(2), lengthBytes);
        return ScriptedServer.OptionReply(7, 3, info);
    }

    private BlockDevice Open(ScriptedServer server, int timeoutMs = 10_000) => BlockDevice.Open(
        server.Uri, _pool, new BlockDeviceOptions { QueueDepth = 8, Nbd = new NbdOptions { ReconnectTimeoutMs = 0, ConnectTimeoutMs = timeoutMs, ReplyTimeoutMs = 5000 } });

    private FrameNumber Allocate()
    {
        Assert.True(_pool.TryAllocate(_pool.RootCredential, out FrameNumber frame));
        return frame;
    }
}
