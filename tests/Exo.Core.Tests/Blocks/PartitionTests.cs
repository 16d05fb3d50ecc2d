// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using CsCheck;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Tests;

namespace Exo.Core.Tests.Blocks;

/// <summary>Partition tables as they should be, damaged, and made to do harm; devices that are one partition.</summary>
public sealed class PartitionTests : IDisposable
{
    private const int ImageBytes = 1 << 20;

    private readonly FramePool _pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
    private readonly string _path = TestDisk.NewPath();

    public static TheoryData<BlockDriver, DirectIo, bool> Ways =>
        new MatrixTheoryData<BlockDriver, DirectIo, bool>([BlockDriver.IoUring, BlockDriver.Portable], [DirectIo.Auto, DirectIo.Off], [false, true]);

    public void Dispose()
    {
        _pool.Dispose();
        File.Delete(_path);
        File.Delete(_path + "#1");
    }

    [Theory]
    [InlineData(512)]
    [InlineData(4096)]
    public void A_gpt_is_read(int sectorBytes)
    {
        int per4K = 4096 / sectorBytes;
        DividedImage image = new DividedImage(ImageBytes, sectorBytes).Gpt(
            ((ulong)(8 * per4K), (ulong)(16 * per4K), "boot"), (0, 0, ""), ((ulong)(24 * per4K), 10, "data ä"));
        PartitionTable table = Assert.IsType<PartitionTable>(image.Read());
        Assert.Equal((PartitionScheme.Gpt, sectorBytes, ""), (table.Scheme, table.SectorBytes, table.Damage));
        Assert.Equal([(1, "boot", 8 * 4096L, 16 * 4096L), (3, "data ä", 24 * 4096L, 10L * sectorBytes)], table.Partitions.Select(Short));
        Assert.All(table.Partitions, one => Assert.Equal(DividedImage.LinuxType, one.Type));
        Assert.Equal(3, table.Find("data ä", "x").Number);
        Assert.Equal(1, table.Find(DividedImage.Id(0).ToString(), "x").Number);
        Assert.Equal(1, table.Find("1", "x").Number);
    }

    [Theory]
    [InlineData(0)]    // signature
    [InlineData(12)]   // header length
    [InlineData(16)]   // sum
    [InlineData(24)]   // own sector
    [InlineData(40)]   // usable part
    [InlineData(88)]   // sum of the entries
    [InlineData(512)]  // the entries themselves
    public void The_second_copy_of_a_gpt_stands_in_for_the_first(int damagedByte)
    {
        DividedImage image = new DividedImage(ImageBytes).Gpt((64, 128, "a"), (256, 64, "b"));
        image.Bytes[512 + damagedByte] ^= 0x41;
        PartitionTable table = Assert.IsType<PartitionTable>(image.Read());
        Assert.Equal(["a", "b"], table.Partitions.Select(one => one.Name));
        Assert.Contains("first copy", table.Damage, StringComparison.Ordinal);

        // Also without the protective record, which whoever overwrites the start of a disk destroys first.
        image.Bytes.AsSpan(0, 512).Clear();
        Assert.Equal(2, image.Read()!.Partitions.Count);
        image.Bytes[(image.SectorCount - 1) * 512] ^= 1;
        if (damagedByte != 0)
        {
            Assert.Contains("both copies", Assert.Throws<BlockDeviceException>(() => image.Read()).Message, StringComparison.Ordinal);
        }
        else
        {
            Assert.Null(image.Read());
        }
    }

    [Fact]
    public void A_second_copy_that_is_not_at_the_end_is_found_where_the_first_says()
    {
        DividedImage small = new DividedImage(ImageBytes).Gpt((64, 128, "a"));
        DividedImage grown = new(2 * ImageBytes);
        small.Bytes.CopyTo(grown.Bytes, 0);
        Assert.Equal("", grown.Read()!.Damage);
        grown.Bytes[1024] ^= 1;
        Assert.Equal("a", grown.Read()!.Partitions.Single().Name);
    }

    [Fact]
    public void An_mbr_with_logical_partitions_is_read()
    {
        DividedImage image = new DividedImage(ImageBytes).Record(
            (0, 0x83, 8, 56), (0, 0x0F, 64, 1000), (0, 0x82, 1200, 100),
            (64, 0x83, 8, 92), (64, 0x05, 200, 300),
            (264, 0x07, 16, 84), (264, 0x05, 600, 100),
            (664, 0x83, 1, 99));
        PartitionTable table = Assert.IsType<PartitionTable>(image.Read());
        Assert.Equal((PartitionScheme.Mbr, ""), (table.Scheme, table.Damage));
        Assert.Equal(
            [(1, 8, 56), (3, 1200, 100), (5, 72, 92), (6, 280, 84), (7, 665, 99)],
            table.Partitions.Select(one => (one.Number, one.StartBytes / 512, one.LengthBytes / 512)));
        Assert.Equal(["0x83", "0x82", "0x83", "0x07", "0x83"], table.Partitions.Select(one => one.Type));
    }

    [Theory]
    [InlineData(0, "goes back")]        // the record after the first is the first again
    [InlineData(200, "goes back")]      // the second names itself
    [InlineData(5000, "goes back or leaves")]
    public void A_chain_of_logical_partitions_that_does_not_go_forward_ends(uint next, string damage)
    {
        DividedImage image = new DividedImage(ImageBytes).Record(
            (0, 0x05, 64, 1000), (64, 0x83, 8, 92), (64, 0x05, 200, 300), (264, 0x83, 8, 92), (264, 0x05, next, 300));
        PartitionTable table = Assert.IsType<PartitionTable>(image.Read());
        Assert.Equal([5, 6], table.Partitions.Select(one => one.Number));
        Assert.Contains(damage, table.Damage, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_no_table_is_no_table()
    {
        Assert.Null(new DividedImage(ImageBytes).Read());
        DividedImage bootSector = new(ImageBytes);
        Random.Shared.NextBytes(bootSector.Bytes.AsSpan(0, 510));
        bootSector.Bytes[446] = 0x17;
        (bootSector.Bytes[510], bootSector.Bytes[511]) = (0x55, 0xAA);
        Assert.Null(bootSector.Read());
        Assert.Null(new DividedImage(4096).Read());
    }

    [Fact]
    public void Tables_made_to_do_harm_give_partitions_inside_the_disk_or_a_typed_error()
    {
        DividedImage gpt = new DividedImage(1 << 17).Gpt((40, 10, "a"), (50, 20, "b"), (100, 30, "c"));
        DividedImage mbr = new DividedImage(1 << 17).Record((0, 0x83, 8, 8), (0, 0x05, 64, 100), (64, 0x83, 8, 8), (64, 0x05, 20, 30), (84, 0x83, 8, 8));
        Gen<ulong> hostile = Gen.OneOf(Gen.ULong, Gen.ULong[0, 300], Gen.Const(ulong.MaxValue), Gen.Const((ulong)long.MaxValue), Gen.ULong[uint.MaxValue - 4, 1UL + uint.MaxValue]);
        Gen.Select(Gen.Bool, Gen.Select(Gen.Int[0, 2047], hostile, Gen.Int[1, 8]).Array[1, 6], Gen.Bool, Gen.Bool).Sample(
            (isGpt, changes, isSigned, secondToo) =>
            {
                DividedImage image = new(1 << 17);
                Span<byte> bytes = stackalloc byte[8];
                (isGpt ? gpt : mbr).Bytes.CopyTo(image.Bytes, 0);
                foreach ((int offset, ulong value, int length) in changes)
                {
                    // Header or entries of either copy; records of the MBR.
                    int at = isGpt ? 512 + (offset % (offset % 3 == 0 ? 92 : 1024)) : offset % 2 == 0 ? (offset % 128 > 63 ? 64 * 512 : 0) + 446 + (offset % 64) : offset + (64 * 512);
                    BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
                    bytes[..length].CopyTo(image.Bytes.AsSpan(at));
                }

                if (isGpt && isSigned)
                {
                    image.Sign(1);
                }

                if (isGpt && secondToo)
                {
                    image.Bytes.AsSpan(image.Bytes.Length - 512).Clear();
                }

                try
                {
                    foreach (Partition partition in image.Read()?.Partitions ?? [])
                    {
                        Assert.True(partition.StartBytes > 0 && partition.LengthBytes > 0);
                        Assert.True(partition.LengthBytes <= image.Bytes.Length - partition.StartBytes, partition.ToString());
                    }
                }
                catch (BlockDeviceException refused)
                {
                    Assert.StartsWith("image: ", refused.Message, StringComparison.Ordinal);
                }
            },
            iter: 6_000);
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task A_partition_is_a_device_that_touches_nothing_outside(BlockDriver driver, DirectIo direct, bool isDisk)
    {
        // 63 sectors: where disks of old began, no multiple of a block. 205 sectors: 25 blocks and a rest that is not reachable.
        DividedImage image = new(ImageBytes);
        image.Bytes.AsSpan().Fill(0xEE);
        image.Bytes.AsSpan(0, 34 * 512).Clear();
        image.Gpt((63, 205, "old"), (268, 100, "next"));
        File.WriteAllBytes(_path, image.Bytes);
        using LoopDisk? loop = isDisk ? new LoopDisk(_path) : null;
        string path = loop?.Path ?? _path;
        Assert.True(_pool.TryAllocateRun(_pool.RootCredential, 25, out FrameNumber first));
        FrameNumber[] frames = [.. Enumerable.Range(0, 25).Select(i => new FrameNumber(first.Value + (uint)i))];
        using (BlockDevice device = BlockDevice.Open(path + "#old", _pool, new BlockDeviceOptions { Driver = driver, Direct = direct }))
        {
            Assert.Equal((25UL, path + "#1"), (device.Geometry.BlockCount, device.Geometry.Path));
            Assert.Throws<ArgumentOutOfRangeException>(() => device.Execute([BlockRequest.WriteZeroes(new BlockNumber(25), 1)]));
            device.Execute([BlockRequest.WriteZeroes(default, 25, forceUnitAccess: true)]);
            device.Execute([BlockRequest.Discard(new BlockNumber(20), 5), BlockRequest.Discard(default, 2)]);
            for (int i = 0; i < 25; i++)
            {
                _pool.Bytes(frames[i]).Fill((byte)(i + 1));
            }

            device.Execute([BlockRequest.Write(default, frames, forceUnitAccess: true)]);
            using (BlockQueue queue = device.OpenQueue(4))
            {
                Assert.True(queue.TrySubmit(BlockRequest.Write(new BlockNumber(24), frames.AsMemory(24, 1)), 0));
                Assert.True(queue.TrySubmit(BlockRequest.Discard(new BlockNumber(0), 1), 0));
                BlockCompletion[] done = new BlockCompletion[4];
                Assert.Equal(2, queue.Reap(done, 2));
            }

            device.Execute([BlockRequest.Write(default, frames.AsMemory(0, 2)), BlockRequest.Flush()]);
            _pool.Bytes(first, 25).Clear();
            await device.ExecuteAsync(new[] { BlockRequest.Read(default, frames) });
            Assert.All(Enumerable.Range(0, 25), i => Assert.Equal(-1, _pool.Bytes(frames[i]).IndexOfAnyExcept((byte)(i + 1))));
        }

        loop?.Dispose();
        byte[] after = File.ReadAllBytes(_path);
        int start = 63 * 512, end = start + (25 * 4096);
        Assert.True(after.AsSpan(0, start).SequenceEqual(image.Bytes.AsSpan(0, start)));
        Assert.True(after.AsSpan(end).SequenceEqual(image.Bytes.AsSpan(end)));
        Assert.Equal([1, 25], new[] { after[start], after[end - 1] });
    }

    [Fact]
    public void A_path_names_the_file_of_that_name_first()
    {
        DividedImage image = new DividedImage(ImageBytes).Gpt((64, 128, "a"));
        File.WriteAllBytes(_path, image.Bytes);
        using (BlockDevice partition = BlockDevice.Open(_path + "#1", _pool))
        {
            Assert.Equal(16UL, partition.Geometry.BlockCount);
        }

        File.WriteAllBytes(_path + "#1", new byte[2 * 4096]);
        using (BlockDevice file = BlockDevice.Open(_path + "#1", _pool))
        {
            Assert.Equal(2UL, file.Geometry.BlockCount);
        }

        using BlockDevice option = BlockDevice.Open(_path, _pool, new BlockDeviceOptions { Partition = "a", ReadOnly = true });
        Assert.Equal((16UL, true), (option.Geometry.BlockCount, option.Geometry.IsReadOnly));
    }

    [Fact]
    public void What_cannot_be_opened_says_what_is_there()
    {
        File.WriteAllBytes(_path, new byte[8192]);
        AssertRefused("has no partition table", "1");
        File.WriteAllBytes(_path, new DividedImage(ImageBytes).Gpt((64, 128, "a"), (192, 64, "twin"), (256, 64, "twin"), (320, 4, "tiny"), (400, 20, "x"), (410, 5, "y")).Bytes);
        AssertRefused("has no partition \"9\"; it has 1 \"a\" (65536 bytes), 2 \"twin\"", "9");
        AssertRefused("has no partition \"\"\"", "\"");
        AssertRefused("has 2 partitions \"twin\": choose by number", "twin");
        AssertRefused("less than one block", "tiny");
        AssertRefused("partition 5 \"x\" (10240 bytes) overlaps 6 \"y\"", "5");
        AssertRefused("cannot be made 131072 bytes long", "1", new BlockDeviceOptions { Create = true, CreateBytes = 128 << 10 });
        Assert.Throws<ArgumentException>(() => BlockDevice.Open(_path, _pool, new BlockDeviceOptions { Partition = "" }));
        Assert.Throws<FileNotFoundException>(() => BlockDevice.Open(_path + "x", _pool, new BlockDeviceOptions { Partition = "1", Create = true, CreateBytes = 4096 }));
        Assert.False(File.Exists(_path + "x"));
        using BlockDevice fits = BlockDevice.Open(_path, _pool, new BlockDeviceOptions { Partition = "1", Create = true, CreateBytes = 65536 });
        Assert.Equal(16UL, fits.Geometry.BlockCount);
    }

    [Fact]
    public void The_table_of_an_open_device_can_be_listed()
    {
        File.WriteAllBytes(_path, new DividedImage(ImageBytes).Gpt((64, 128, "a"), (192, 64, "b")).Bytes);
        int free = _pool.FreeCount;
        using BlockDevice whole = BlockDevice.Open(_path, _pool);
        Assert.Equal(["a", "b"], PartitionTable.Read(whole)!.Partitions.Select(one => one.Name));
        Assert.Equal(free, _pool.FreeCount);
        using MemoryBlockDevice empty = new(_pool, 10);
        Assert.Null(PartitionTable.Read(empty));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Another_reader_sees_the_same_partitions(bool isGpt)
    {
        DividedImage image = new(4 << 20);
        image = isGpt
            ? image.Gpt((64, 128, "a"), (0, 0, ""), (256, 1000, "b"), (4096, 1, "c"))
            : image.Record(
                (0, 0x83, 8, 56), (0, 0x0F, 64, 1000), (0, 0x82, 1200, 100), (64, 0x83, 8, 92), (64, 0x05, 200, 300), (264, 0x07, 16, 84));
        File.WriteAllBytes(_path, image.Bytes);
        string[] lines = TestDisk.Run(Requires.Program("partx"), "--show", "--noheadings", "--output", "NR,START,SECTORS", _path)
            .Split('\n', StringSplitOptions.RemoveEmptyEntries);

        // The other reader also shows the extended partition itself.
        var seen = lines.Select(line => line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Select(long.Parse).ToArray()).Where(one => isGpt || one[0] != 2).Select(one => (one[0], one[1], one[2]));
        using BlockDevice whole = BlockDevice.Open(_path, _pool, new BlockDeviceOptions { ReadOnly = true });
        Assert.Equal(
            seen.Order(), PartitionTable.Read(whole)!.Partitions.Select(one => ((long)one.Number, one.StartBytes / 512, one.LengthBytes / 512)).Order());
    }

    private static (int, string, long, long) Short(Partition one) => (one.Number, one.Name, one.StartBytes, one.LengthBytes);

    private void AssertRefused(string words, string partition, BlockDeviceOptions? options = null)
    {
        options ??= new BlockDeviceOptions();
        var refused = Assert.Throws<BlockDeviceException>(() =>
            BlockDevice.Open(_path, _pool, new BlockDeviceOptions { Partition = partition, Create = options.Create, CreateBytes = options.CreateBytes }));
        Assert.Contains(words, refused.Message, StringComparison.Ordinal);
        Assert.Contains(_path, refused.Message, StringComparison.Ordinal);
    }

    /// <summary>A loop device over an image.</summary>
    private sealed class LoopDisk : IDisposable
    {
        private bool _isDetached;

        public LoopDisk(string image)
        {
            Requires.Root();
            Requires.File("/dev/loop-control");
            Path = TestDisk.Run(Requires.Program("losetup"), "--find", "--show", image).Trim();
        }

        public string Path { get; }

        public void Dispose()
        {
            if (!_isDetached)
            {
                _isDetached = true;
                TestDisk.Run(Requires.Program("losetup"), "--detach", Path);
            }
        }
    }
}
