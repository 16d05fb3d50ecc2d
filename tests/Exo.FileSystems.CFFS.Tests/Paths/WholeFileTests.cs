// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Core.Memory;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Paths;

/// <summary>Files read and lent by their paths, without a handle: the same bytes and the same refusals as with one.</summary>
public sealed class WholeFileTests : IDisposable
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly SimulatedBlockDevice _disk;
    private CffsVolume _volume;

    public WholeFileTests()
    {
        _disk = new SimulatedBlockDevice(_frames, DiskContents.Zeroes(8192));
        _volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
        _volume.CreateDirectory("/d");
    }

    public void Dispose()
    {
        _volume.Dispose();
        _disk.Dispose();
        _frames.Dispose();
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(300)]
    [InlineData(1024)]
    [InlineData(4096)]
    [InlineData(4097)]
    [InlineData(12_000)]
    [InlineData(70_000)]
    [InlineData(3_000_000)]
    public void What_is_read_and_lent_is_what_was_written_cold_warm_open_and_changed(int length)
    {
        byte[] contents = Pattern(length, 1);
        byte[] path = Encoding.UTF8.GetBytes("/d/file");
        _volume.WriteAllBytes(path, contents);
        Look(mustLend: true);
        Look(mustLend: true);
        Reopen();
        Look(mustLend: true);
        Look(mustLend: true);
        using (CffsFile open = _volume.OpenFile("/d/file", CffsOpenMode.Read | CffsOpenMode.Write))
        {
            Look();
            contents = Pattern(length + 5000, 2);
            open.Write(0, contents.AsMemory());

            // The record in the sector is older than the inode now.
            Look();
        }

        Look();
        _volume.Sync();
        Look();
        Reopen();
        Look();

        // What has grown may lie in frames apart.
        void Look(bool mustLend = false)
        {
            byte[] buffer = Pattern(contents.Length + 100, 9);
            Assert.Equal(contents.Length, _volume.ReadAllBytes(path, buffer));
            Assert.True(contents.AsSpan().SequenceEqual(buffer.AsSpan(0, contents.Length)));
            int part = contents.Length / 2;
            Assert.Equal(part, _volume.ReadAllBytes(path, buffer.AsSpan(0, part)));
            bool isLent = _volume.TryLend(path, out CffsSpanLease lease);
            if (isLent)
            {
                Assert.True(contents.AsSpan().SequenceEqual(lease.Bytes));
                lease.Dispose();
            }

            Assert.True(isLent || !mustLend || contents.Length is 0 or < 400 or > 1 << 20);
        }
    }

    [Fact]
    public void Lent_bytes_stay_as_they_were_when_the_file_changes_or_goes()
    {
        byte[] contents = Pattern(9000, 3);
        byte[] path = Encoding.UTF8.GetBytes("/d/file");
        _volume.WriteAllBytes(path, contents);
        Assert.True(_volume.TryLend(path, out CffsSpanLease lease));
        using (CffsFile file = _volume.OpenFile("/d/file", CffsOpenMode.Write))
        {
            file.Write(0, Pattern(9000, 4).AsMemory());
        }

        Assert.True(contents.AsSpan().SequenceEqual(lease.Bytes));
        _volume.RemoveFile("/d/file");
        _volume.Sync();
        for (int i = 0; i < 200; i++)
        {
            _volume.WriteAllBytes($"/d/other{i}", Pattern(9000, 5));
        }

        Assert.True(contents.AsSpan().SequenceEqual(lease.Bytes));
        lease.Dispose();
    }

    [Fact]
    public void A_first_read_is_noted_once_and_only_on_a_volume_that_is_written_to()
    {
        byte[] path = Encoding.UTF8.GetBytes("/d/file");
        _volume.WriteAllBytes(path, Pattern(5000, 1));
        byte[] buffer = new byte[5000];
        _ = _volume.ReadAllBytes(path, buffer);
        CffsStat noted = _volume.Stat("/d/file");
        Assert.True(noted.AccessTimeNs > noted.ModifyTimeNs);
        _ = _volume.ReadAllBytes(path, buffer);
        Assert.Equal(noted.AccessTimeNs, _volume.Stat("/d/file").AccessTimeNs);
        Reopen();
        Assert.Equal(noted.AccessTimeNs, _volume.Stat("/d/file").AccessTimeNs);
    }

    [Fact]
    public void The_same_is_refused_as_with_a_handle()
    {
        CffsIdentity stranger = new(1000, 1000);
        _volume.WriteAllBytes("/d/secret", Pattern(5000, 1), permissions: 0x180);
        byte[] buffer = new byte[5000];
        for (int i = 0; i < 2; i++)
        {
            // The second time the directory is remembered and everything is in core.
            Assert.Equal(CffsError.AccessDenied, Assert.Throws<CffsException>(() => _volume.ReadAllBytes("/d/secret"u8.ToArray(), buffer, stranger)).Error);
            Assert.Equal(CffsError.AccessDenied, Assert.Throws<CffsException>(() => _volume.TryLend("/d/secret"u8.ToArray(), out _, stranger)).Error);
            Assert.Equal(CffsError.NotFound, Assert.Throws<CffsException>(() => _volume.TryLend("/d/absent"u8.ToArray(), out _)).Error);
            Assert.Equal(CffsError.IsDirectory, Assert.Throws<CffsException>(() => _volume.TryLend("/d"u8.ToArray(), out _)).Error);
            Assert.Equal(5000, _volume.ReadAllBytes("/d/secret"u8.ToArray(), buffer));
        }
    }

    private void Reopen()
    {
        _volume.Dispose();
        _volume = CffsVolume.Open(_disk);
    }

    private static byte[] Pattern(int length, int seed)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}
