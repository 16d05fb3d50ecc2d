// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Exo.Core.Blocks;
using Exo.Core.Blocks.Nbd;
using Exo.Core.Memory;
using Exo.Tests;

namespace Exo.Core.Tests.Blocks.Nbd;

/// <summary>Client and server against programs of others: nbdkit, qemu-nbd, qemu-io, qemu-img, nbdinfo, nbdcopy.</summary>
public sealed class NbdProgramTests : IDisposable
{
    private readonly FramePool _pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly string _socket = NbdPeer.NewSocketPath();
    private readonly string _image = TestDisk.NewPath();

    private string Uri => $"nbd+unix:///?socket={_socket}";

    public void Dispose()
    {
        _pool.Dispose();
        File.Delete(_socket);
        File.Delete(_image);
    }

    [Theory]
    [InlineData("--no-sr")]
    [InlineData("--filter=fua")] // Its default is to offer none.
    [InlineData("--filter=nozero", "zeromode=none")]
    [InlineData("--filter=blocksize-policy", "blocksize-preferred=4K", "blocksize-maximum=64K")]
    [InlineData("--filter=delay", "delay-read=2ms", "delay-write=1ms")]
    [InlineData("--filter=noextents")]
    public async Task Servers_that_can_less_or_take_longer_serve_all_the_same(params string[] arguments)
    {
        string[] flags = [.. arguments.Where(argument => argument[0] == '-')];
        using NbdProgram nbdkit = NbdProgram.NbdKit(_socket, [.. flags, "memory", "8M", .. arguments.Except(flags)]);
        using BlockDevice device = BlockDevice.Open(Uri, _pool);
        FrameNumber[] frames = Allocate(200);
        BlockRequest[] batch = [BlockRequest.Write(new BlockNumber(5), frames, forceUnitAccess: true), BlockRequest.WriteZeroes(new BlockNumber(300), 64, forceUnitAccess: true)];
        device.Execute(batch);
        device.Flush();
        device.Execute([BlockRequest.WriteZeroes(new BlockNumber(7), 2), BlockRequest.Discard(new BlockNumber(1000), 1000)]);
        Clear(frames);
        Task[] reads = [.. Enumerable.Range(0, 200).Select(i => device.ExecuteAsync(new[] { BlockRequest.Read(new BlockNumber((ulong)(5 + i)), frames.AsMemory(i, 1)) }).AsTask())];
        await Task.WhenAll(reads);
        for (int i = 0; i < 200; i++)
        {
            Assert.Equal(-1, _pool.Bytes(frames[i]).IndexOfAnyExcept(i is 2 or 3 ? (byte)0 : (byte)(i + 1)));
        }
    }

    [Fact]
    public void Errors_of_nbdkit_arrive()
    {
        using NbdProgram nbdkit = NbdProgram.NbdKit(_socket, "--filter=error", "memory", "1M", "error-pwrite=ENOSPC", "error-pwrite-rate=100%", "error-pread=EIO", "error-pread-rate=100%");
        using BlockDevice device = BlockDevice.Open(Uri, _pool);
        BlockRequest[] batch = [BlockRequest.Read(default, Allocate(1)), BlockRequest.Write(new BlockNumber(1), Allocate(1))];
        Assert.Throws<BlockDeviceException>(() => device.Execute(batch));
        Assert.Equal([5, 28], batch.Select(request => request.Error));
    }

    [Theory]
    [InlineData(95, "--filter=blocksize-policy", "blocksize-minimum=8K", "blocksize-preferred=8K")]
    [InlineData(95, "--oldstyle")]
    public void Servers_that_cannot_serve_blocks_are_refused(int errno, params string[] arguments)
    {
        string[] flags = [.. arguments.Where(argument => argument[0] == '-')];
        using NbdProgram nbdkit = NbdProgram.NbdKit(_socket, [.. flags, "memory", "1M", .. arguments.Except(flags)]);
        Assert.Equal(errno, Assert.Throws<BlockDeviceException>(() => BlockDevice.Open(Uri, _pool)).Errno);
    }

    [Fact]
    public void A_server_that_is_killed_and_started_again_costs_time_only()
    {
        MakeImage(4 << 20);
        NbdProgram nbdkit = NbdProgram.NbdKit(_socket, "file", _image);
        try
        {
            using BlockDevice device = BlockDevice.Open(Uri, _pool);
            FrameNumber[] frames = Allocate(8);
            device.Execute([BlockRequest.Write(default, frames)]);
            device.Flush();
            nbdkit.Dispose();
            nbdkit = NbdProgram.NbdKit(_socket, "file", _image);
            Clear(frames);
            device.Execute([BlockRequest.Read(default, frames)]);
            Assert.Equal(-1, _pool.Bytes(frames[7]).IndexOfAnyExcept((byte)8));
            device.Flush();
            Assert.Equal(1, ((NbdBlockDevice)device).Reconnections);
        }
        finally
        {
            nbdkit.Dispose();
        }
    }

    [Theory]
    [InlineData("raw")]
    [InlineData("qcow2")]
    public void Qemu_keeps_what_is_written_and_tells_holes(string format)
    {
        TestDisk.Run(Requires.Program("qemu-img"), "create", "-q", "-f", format, _image, "16M");
        FrameNumber[] frames = Allocate(64);
        using (NbdProgram.QemuNbd(_socket, _image, format))
        {
            using var device = (NbdBlockDevice)BlockDevice.Open(Uri, _pool);
            Assert.Equal(4096UL, device.Geometry.BlockCount);
            device.Execute([BlockRequest.Write(new BlockNumber(1024), frames, forceUnitAccess: true)]);
            device.Execute([BlockRequest.Discard(new BlockNumber(2048), 512), BlockRequest.WriteZeroes(new BlockNumber(3000), 8)]);
            device.Flush();
            IReadOnlyList<NbdAllocation> parts = device.ReadAllocation(new BlockNumber(256), 2048); // qemu-img itself writes the beginning.
            Assert.True(parts[0] is { IsHole: true, ReadsAsZeroes: true });
            Assert.Contains(parts, part => part is { IsHole: false, ReadsAsZeroes: false });
        }

        Clear(frames);
        using (NbdProgram.QemuNbd(_socket, _image, format, "--read-only"))
        {
            using BlockDevice device = BlockDevice.Open(Uri, _pool);
            Assert.True(device.Geometry.IsReadOnly);
            device.Execute([BlockRequest.Read(new BlockNumber(1024), frames)]);
            Assert.Equal(-1, _pool.Bytes(frames[63]).IndexOfAnyExcept((byte)64));
        }
    }

    [Fact]
    public void Nbdinfo_and_nbdcopy_work_with_our_server()
    {
        string nbdinfo = Requires.Program("nbdinfo"), nbdcopy = Requires.Program("nbdcopy");
        using MemoryBlockDevice disk = Serve(out NbdServer server);
        using (server)
        {
            string told = TestDisk.Run(nbdinfo, Uri);
            Assert.Contains("export-size: 16777216", told, StringComparison.Ordinal);
            Assert.Contains("can_multi_conn: true", told, StringComparison.Ordinal);
            Assert.Contains("base:allocation", told, StringComparison.Ordinal);
            Assert.Contains("protocol: newstyle-fixed", told, StringComparison.Ordinal);
            byte[] content = new byte[16 << 20];
            new Random(5).NextBytes(content);
            content.AsSpan(1 << 20, 4 << 20).Clear();
            File.WriteAllBytes(_image, content);
            TestDisk.Run(nbdcopy, "--flush", _image, Uri);
            string copy = _image + ".copy";
            try
            {
                TestDisk.Run(nbdcopy, "--connections=4", "--requests=16", Uri, copy);
                Assert.True(content.AsSpan().SequenceEqual(File.ReadAllBytes(copy)));
            }
            finally
            {
                File.Delete(copy);
            }
        }
    }

    [Fact]
    public void Qemu_writes_parts_of_blocks_to_our_server_and_converts_from_it()
    {
        string io = Requires.Program("qemu-io"), convert = Requires.Program("qemu-img");
        using MemoryBlockDevice disk = Serve(out NbdServer server);
        using (server)
        {
            string said = TestDisk.Run(
                io, "-f", "raw", Uri, "-c", "write -P 1 513 5000", "-c", "write -z 1000 100", "-c", "write -P 2 -f 8192 1048576", "-c", "discard 16384 8192",
                "-c", "read -P 1 513 487", "-c", "read -P 0 1000 100", "-c", "read -P 1 1100 4413", "-c", "read -P 2 8192 8192", "-c", "flush");
            Assert.DoesNotContain("failed", said, StringComparison.OrdinalIgnoreCase);
            TestDisk.Run(convert, "convert", "-f", "raw", "-O", "raw", Uri, _image);
            byte[] image = File.ReadAllBytes(_image);
            Assert.Equal(16 << 20, image.Length);
            Assert.Equal((0, 1, 0, 1, 2), (image[512], image[513], image[1050], image[5512], image[8192 + 1048575]));
        }
    }

    private MemoryBlockDevice Serve(out NbdServer server)
    {
        var disk = new MemoryBlockDevice(_pool, 4096);
        server = new NbdServer(disk, new NbdServerOptions { EndPoint = new UnixDomainSocketEndPoint(_socket) });
        server.Start();
        return disk;
    }

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

    private void Clear(FrameNumber[] frames)
    {
        foreach (FrameNumber frame in frames)
        {
            _pool.Bytes(frame).Clear();
        }
    }

    private void MakeImage(long lengthBytes)
    {
        using FileStream file = File.Create(_image);
        file.SetLength(lengthBytes);
    }
}
