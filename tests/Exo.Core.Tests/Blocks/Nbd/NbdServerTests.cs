// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Net.Security;
using System.Net.Sockets;
using CsCheck;
using Exo.Core.Blocks;
using Exo.Core.Blocks.Nbd;
using Exo.Core.Memory;

namespace Exo.Core.Tests.Blocks.Nbd;

/// <summary>The server against clients that know the protocol by heart, byte by byte, and against some that do not.</summary>
public sealed class NbdServerTests : IDisposable
{
    private const int BlockCount = 64;
    private const int Length = BlockCount * 4096;
    private readonly FramePool _pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly string _path = NbdPeer.NewSocketPath();
    private readonly MemoryBlockDevice _disk;

    public NbdServerTests() => _disk = new MemoryBlockDevice(_pool, BlockCount);

    public void Dispose()
    {
        _disk.Dispose();
        Assert.Equal(_pool.FrameCount, _pool.FreeCount); // No client made the server keep a frame.
        _pool.Dispose();
    }

    [Fact]
    public void Bytes_written_read_zeroed_and_trimmed_anywhere_are_those_of_an_array()
    {
        using NbdServer server = Start();
        using var client = new RawClient(_path);
        Assert.Equal(((ulong)Length, (ushort)(1 | 4 | 8 | 32 | 64 | 128 | 256)), client.ChooseByName());
        byte[] model = new byte[Length];
        Gen.Select(Gen.Int[0, 3], Gen.Int[0, Length - 1], Gen.OneOf(Gen.Int[1, 600], Gen.Int[1, 20_000]), Gen.Bool, Gen.Byte).Array[1, 20].Sample(
            operations =>
            {
                foreach ((int what, int offset, int wanted, bool isDurable, byte value) in operations)
                {
                    int length = Math.Min(wanted, Length - offset);
                    ushort flags = isDurable ? (ushort)1 : (ushort)0;
                    Span<byte> part = model.AsSpan(offset, length);
                    switch (what)
                    {
                        case 0:
                            byte[] read = new byte[length];
                            Assert.Equal(0u, client.Do(0, (ulong)offset, (uint)length, 0, null, read));
                            Assert.True(part.SequenceEqual(read));
                            break;
                        case 1:
                            part.Fill(value);
                            Assert.Equal(0u, client.Do(1, (ulong)offset, (uint)length, flags, part.ToArray()));
                            break;
                        case 2:
                            part.Clear();
                            Assert.Equal(0u, client.Do(6, (ulong)offset, (uint)length, flags));
                            break;
                        default:
                            // This disk's discards zero whole blocks.
                            int first = (offset + 4095) / 4096 * 4096, end = (offset + length) / 4096 * 4096;
                            model.AsSpan(first, Math.Max(0, end - first)).Clear();
                            Assert.Equal(0u, client.Do(4, (ulong)offset, (uint)length, flags));
                            break;
                    }
                }

                byte[] all = new byte[Length];
                Assert.Equal(0u, client.Do(0, 0, Length, 0, null, all));
                Assert.True(all.AsSpan().SequenceEqual(model));
                Assert.Equal(0u, client.Do(3, 0, 0));
            },
            iter: 60,
            threads: 1);
    }

    [Fact]
    public void Neighbours_in_one_block_do_not_disturb_one_another()
    {
        using NbdServer server = Start();
        Parallel.For(0, 4, new ParallelOptions { MaxDegreeOfParallelism = 4 }, n =>
        {
            using var client = new RawClient(_path);
            client.ChooseByName();
            byte[] mine = new byte[512];
            for (int round = 1; round < 100; round++)
            {
                mine.AsSpan().Fill((byte)(round + n));
                Assert.Equal(0u, client.Do(1, (ulong)n * 512, 512, 0, mine));
                byte[] read = new byte[512];
                Assert.Equal(0u, client.Do(0, (ulong)n * 512, 512, 0, null, read));
                Assert.Equal(mine, read);
            }
        });
    }

    [Fact]
    public void Many_requests_at_once_are_answered_each_with_its_cookie()
    {
        using NbdServer server = Start();
        using var client = new RawClient(_path);
        client.ChooseByName();
        for (uint i = 0; i < 500; i++)
        {
            client.SendRequest(i % 2 == 0 ? (ushort)1 : (ushort)6, i % BlockCount * 4096, 4096, i, 0, i % 2 == 0 ? new byte[4096] : null);
        }

        var cookies = new HashSet<ulong>();
        for (int i = 0; i < 500; i++)
        {
            (uint error, ulong cookie) = client.ReceiveReply();
            Assert.Equal(0u, error);
            Assert.True(cookies.Add(cookie));
        }

        client.SendRequest(2, 0, 0);
        Assert.True(client.IsClosedByServer());
        Assert.Equal(500, server.RequestCount);
    }

    [Fact]
    public void What_cannot_be_done_is_refused_and_the_connection_lives_on()
    {
        using NbdServer server = Start();
        using var client = new RawClient(_path);
        client.ChooseByName();
        Assert.Equal(22u, client.Do(0, Length, 1));
        Assert.Equal(22u, client.Do(0, ulong.MaxValue, uint.MaxValue));
        Assert.Equal(22u, client.Do(0, 0, 0));
        Assert.Equal(22u, client.Do(0, 0, 1, flags: 1 << 9));
        Assert.Equal(28u, client.Do(1, Length - 1, 2, 0, new byte[2]));
        Assert.Equal(28u, client.Do(6, 1, Length));
        Assert.Equal(22u, client.Do(5, 0, 4096)); // CACHE was not offered.
        Assert.Equal(22u, client.Do(7, 0, 4096)); // Nor was the context of BLOCK_STATUS agreed on.
        Assert.Equal(22u, client.Do(99, 0, 0));
        Assert.Equal(0u, client.Do(0, 0, 4096, 0, null, new byte[4096]));
        client.SendRequest(1, 0, 33 << 20);
        Assert.True(client.IsClosedByServer());
    }

    [Fact]
    public void A_read_only_export_refuses_changes_and_offers_none()
    {
        using NbdServer server = Start(readOnly: true);
        using var client = new RawClient(_path);
        Assert.Equal(1 | 2 | 128 | 256, client.ChooseByName().Flags);
        Assert.Equal(1u, client.Do(1, 0, 4096, 0, new byte[4096]));
        Assert.Equal(1u, client.Do(4, 0, 4096));
        Assert.Equal(0u, client.Do(3, 0, 0));
        using BlockDevice device = Open();
        Assert.True(device.Geometry.IsReadOnly);
    }

    [Fact]
    public void The_options_are_answered_as_the_protocol_wants()
    {
        using NbdServer server = Start();
        using var client = new RawClient(_path);
        client.SendFlags();
        client.SendOption(3, []);
        (uint type, byte[] data) = client.ReceiveOptionReply();
        Assert.Equal((2u, "disk"), (type, System.Text.Encoding.UTF8.GetString(data.AsSpan(4))));
        Assert.Equal(1u, client.ReceiveOptionReply().Type);
        AssertReply(client, 3, [1], 0x80000003);
        AssertReply(client, 5, [], 0x80000001);
        AssertReply(client, 77, new byte[100], 0x80000001);
        AssertReply(client, 77, new byte[100_000], 0x80000009);
        AssertReply(client, 6, [], 0x80000003);
        AssertReply(client, 6, [0, 0, 0, 1, (byte)'x', 0, 0], 0x80000006);
        AssertReply(client, 10, [0, 0, 0, 0, 0, 0, 0, 0], 0x80000003); // Before structured replies.
        AssertReply(client, 8, [], 1);
        AssertReply(client, 10, [0, 0, 0, 0, 255, 255, 255, 255], 0x80000003);
        client.SendOption(9, [0, 0, 0, 0, 0, 0, 0, 0]);
        Assert.Equal(4u, client.ReceiveOptionReply().Type);
        Assert.Equal(1u, client.ReceiveOptionReply().Type);
        client.SendOption(6, [0, 0, 0, 0, 0, 2, 0, 1, 0, 3]);
        Assert.Equal([3u, 3u, 3u, 1u], Enumerable.Range(0, 4).Select(_ => client.ReceiveOptionReply().Type));
        AssertReply(client, 2, [], 1);
        Assert.True(client.IsClosedByServer());
    }

    [Fact]
    public void A_client_that_wants_another_export_gets_none()
    {
        using NbdServer server = Start();
        using var client = new RawClient(_path);
        client.SendFlags();
        client.SendOption(1, "other"u8.ToArray());
        Assert.True(client.IsClosedByServer());
        var refused = Assert.Throws<BlockDeviceException>(() => BlockDevice.Open($"nbd+unix:///other?socket={_path}", _pool));
        Assert.Equal(2, refused.Errno);
    }

    [Fact]
    public void Options_without_end_and_clients_that_dawdle_are_shown_the_door()
    {
        using NbdServer server = Start(handshakeTimeoutMs: 200);
        using var greedy = new RawClient(_path);
        greedy.SendFlags();
        try
        {
            for (int i = 0; i < 1000; i++)
            {
                greedy.SendOption(3, []);
            }
        }
        catch (IOException)
        {
            // Shown the door already.
        }

        using var dawdler = new RawClient(_path);
        byte[] sink = new byte[1 << 20];
        while (ReadSome(greedy.Stream, sink) > 0)
        {
        }

        Assert.True(dawdler.IsClosedByServer());
    }

    [Fact]
    public void Clients_of_noise_harm_nobody()
    {
        using NbdServer server = Start(connectionsMax: 1000); // They come faster than the last ones' threads end.
        using BlockDevice bystander = Open();
        Assert.True(_pool.TryAllocate(_pool.RootCredential, out FrameNumber frame));
        FrameNumber[] frames = [frame];
        _pool.Bytes(frame).Fill(0x5A);
        bystander.Execute([BlockRequest.Write(new BlockNumber(BlockCount - 1), frames)]);
        Gen.Select(Gen.Byte.Array[0, 300], Gen.Int[0, 3], Gen.UShort[0, 8], Gen.UInt).Sample(
            (noise, kind, command, length) =>
            {
                using var client = new RawClient(_path);
                try
                {
                    switch (kind)
                    {
                        case 0:
                            break;
                        case 1:
                            client.SendFlags();
                            client.SendOption(noise.Length == 0 ? 0u : noise[0] % 12u, noise);
                            break;
                        default:
                            // Never a write of the last block: offset 0, at most 63 blocks.
                            client.ChooseByName();
                            client.SendRequest(command, 0, kind == 2 ? length % (63 * 4096) : length, 1, (ushort)(noise.Length == 0 ? 0 : noise[0]));
                            break;
                    }

                    client.Stream.Write(noise);
                }
                catch (IOException)
                {
                    // The server had heard enough.
                }
            },
            iter: 300,
            threads: 1);
        _pool.Bytes(frame).Clear();
        bystander.Execute([BlockRequest.Read(new BlockNumber(BlockCount - 1), frames)]);
        Assert.Equal(-1, _pool.Bytes(frame).IndexOfAnyExcept((byte)0x5A));
        Assert.Equal(0, ((NbdBlockDevice)bystander).Reconnections);
        _pool.Release(frame);
    }

    [Fact]
    public void One_client_too_many_is_turned_away()
    {
        using NbdServer server = Start(connectionsMax: 1);
        using BlockDevice first = Open();
        Assert.Throws<BlockDeviceException>(Open);
        first.Flush();
        Assert.Equal(1, server.ConnectionCount);
    }

    [Fact]
    public void Where_TLS_is_demanded_nothing_else_is_served()
    {
        using NbdServer server = Start(tls: true);
        Assert.Equal(13, Assert.Throws<BlockDeviceException>(Open).Errno);
        string uri = $"nbds+unix:///disk?socket={_path}";
        Assert.Equal(13, Assert.Throws<BlockDeviceException>(() => BlockDevice.Open(uri, _pool)).Errno); // Nobody vouches for the certificate.
        using BlockDevice trusting = BlockDevice.Open(uri, _pool, new BlockDeviceOptions { Nbd = new NbdOptions { Tls = NbdPeer.Trusting() } });
        trusting.Flush();
        using var client = new RawClient(_path);
        client.SendFlags();
        AssertReply(client, 3, [], 0x80000005);
    }

    [Fact]
    public void Allocation_is_told_to_who_asks()
    {
        using NbdServer server = Start();
        using var device = (NbdBlockDevice)Open();
        Assert.True(device.KnowsAllocation);
        Assert.Equal([new NbdAllocation(8192, false, false)], device.ReadAllocation(new BlockNumber(3), 2));
        Assert.Throws<ArgumentOutOfRangeException>(() => device.ReadAllocation(new BlockNumber(BlockCount), 1));
    }

    [Fact]
    public void Device_errors_arrive_with_their_numbers()
    {
        using var faulty = new FullDevice(_pool);
        using var server = new NbdServer(faulty, new NbdServerOptions { EndPoint = new UnixDomainSocketEndPoint(_path) });
        server.Start();
        using BlockDevice device = BlockDevice.Open($"nbd+unix:///?socket={_path}", _pool);
        Assert.True(_pool.TryAllocate(_pool.RootCredential, out FrameNumber frame));
        BlockRequest[] batch = [BlockRequest.Write(default, new[] { frame }), BlockRequest.Read(new BlockNumber(1), new[] { frame })];
        Assert.Equal(28, Assert.Throws<BlockDeviceException>(() => device.Execute(batch)).Errno);
        Assert.Equal([28, 5], batch.Select(request => request.Error));
        device.Flush();
        _pool.Release(frame);
    }

    [Fact]
    public void A_socket_that_was_left_behind_is_bound_anew_and_nothing_else_is_removed()
    {
        using (Socket killed = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            // Bound through another name, so that disposing does not remove it: as a process leaves it that is killed.
            string link = _path + ".folder";
            Directory.CreateSymbolicLink(link, Path.GetDirectoryName(_path)!);
            killed.Bind(new UnixDomainSocketEndPoint(Path.Combine(link, Path.GetFileName(_path))));
            Directory.Delete(link);
        }

        Assert.True(File.Exists(_path));
        using (NbdServer first = Start())
        {
            using NbdServer second = new(_disk, new NbdServerOptions { EndPoint = new UnixDomainSocketEndPoint(_path) });
            Assert.Equal(SocketError.AddressAlreadyInUse, Assert.Throws<SocketException>(second.Start).SocketErrorCode);
            using var client = new RawClient(_path);
            client.ChooseByName();
        }

        File.WriteAllText(_path, "a letter");
        using NbdServer third = new(_disk, new NbdServerOptions { EndPoint = new UnixDomainSocketEndPoint(_path) });
        Assert.Equal(SocketError.AddressAlreadyInUse, Assert.Throws<SocketException>(third.Start).SocketErrorCode);
        Assert.Equal("a letter", File.ReadAllText(_path));
        File.Delete(_path);
    }

    [Fact]
    public void A_server_starts_once_and_ends_with_clients_connected()
    {
        NbdServer server = Start();
        Assert.Throws<InvalidOperationException>(server.Start);
        using var client = new RawClient(_path);
        client.ChooseByName();
        server.Dispose();
        Assert.True(client.IsClosedByServer());
        server.Dispose();
        Assert.Throws<ObjectDisposedException>(server.Start);
    }

    private static int ReadSome(NetworkStream stream, byte[] sink)
    {
        try
        {
            return stream.Read(sink);
        }
        catch (IOException)
        {
            return 0;
        }
    }

    private static void AssertReply(RawClient client, uint option, byte[] data, uint type)
    {
        client.SendOption(option, data);
        Assert.Equal(type, client.ReceiveOptionReply().Type);
    }

    private BlockDevice Open() => BlockDevice.Open(
        $"nbd+unix:///disk?socket={_path}", _pool, new BlockDeviceOptions { Nbd = new NbdOptions { ReconnectTimeoutMs = 0 } });

    private NbdServer Start(bool readOnly = false, int connectionsMax = 64, int handshakeTimeoutMs = 10_000, bool tls = false)
    {
        var server = new NbdServer(_disk, new NbdServerOptions
        {
            EndPoint = new UnixDomainSocketEndPoint(_path),
            ExportName = "disk",
            ReadOnly = readOnly,
            ConnectionsMax = connectionsMax,
            HandshakeTimeoutMs = handshakeTimeoutMs,
            Tls = tls ? new SslServerAuthenticationOptions { ServerCertificate = NbdPeer.Certificate.Value } : null,
        });
        server.Start();
        return server;
    }

    /// <summary>Writes find no space, reads a bad medium.</summary>
    private sealed class FullDevice(FramePool frames) : BlockDevice(frames, new BlockGeometry { BlockCount = 16, Driver = "full" })
    {
        protected override void ExecuteCore(Span<BlockRequest> batch)
        {
            foreach (ref BlockRequest request in batch)
            {
                request.Error = request.Operation switch { BlockOperation.Write => 28, BlockOperation.Read => 121, _ => 0 };
            }
        }

        protected override ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch)
        {
            ExecuteCore(batch.Span);
            return ValueTask.CompletedTask;
        }

        protected override void DisposeCore()
        {
        }
    }
}
