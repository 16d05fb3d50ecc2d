// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Simulation.Faults;
using Exo.Storage.XN;
using KeyValue;

namespace Exo.Samples.Tests.KeyValue;

/// <summary>Disks that are broken, not interrupted: nothing wrong is ever shown, and the error says what kind it is.</summary>
public sealed class StoreDamageTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void A_damaged_block_is_an_error_and_never_a_wrong_value(int seed)
    {
        (byte[] whole, SortedDictionary<string, string> model, List<ulong> owned) = Filled();
        Random random = new(seed);
        int refusals = 0;
        for (int round = 0; round < 150; round++)
        {
            byte[] disk = (byte[])whole.Clone();
            ulong block = owned[random.Next(owned.Count)];
            Span<byte> bytes = disk.AsSpan((int)block * 4096, 4096);
            switch (random.Next(4))
            {
                case 0:
                    bytes[random.Next(4096)] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    random.NextBytes(bytes.Slice(random.Next(8) * 512, 512));
                    break;
                case 2:
                    bytes[random.Next(4096)..].Clear();
                    break;
                default:
                    disk.AsSpan((int)owned[random.Next(owned.Count)] * 4096, 4096).CopyTo(bytes);
                    break;
            }

            refusals += Look(Contents(disk), model) ? 1 : 0;
        }

        Assert.True(refusals > 50, $"{refusals} refusals");
    }

    [Fact]
    public void A_batch_that_is_missing_before_others_is_damage()
    {
        using StoreBench bench = new(DiskContents.Zeroes(600), isNew: true);
        for (int i = 0; i < 10; i++)
        {
            bench.Store.Put(StoreBench.Utf8($"{i}"), "x"u8);
        }

        // The log's first block has the first eight batches, a sector each.
        byte[] disk = Image(bench.Device.Snapshot());
        int log = Enumerable.Range(0, 600).First(block => disk.AsSpan((block * 4096) + 8, 4).SequenceEqual("KVLB"u8));
        disk[(log * 4096) + (3 * 512) + 40] ^= 1;
        KeyValueException damage = Assert.Throws<KeyValueException>(() => new StoreBench(Contents(disk), isNew: false));
        Assert.Equal(KeyValueError.Damaged, damage.Error);
        Assert.Contains("batch 4 is missing", damage.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void When_the_disk_fails_the_error_says_so_and_what_was_committed_is_there_afterwards(int seed)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        using SimulatedBlockDevice disk = new(frames, DiskContents.Zeroes(900));
        using FaultyBlockDevice faulty = new(disk, new FaultOptions { Seed = seed, ReadError = 0.02, WriteError = 0.02, FlushError = 0.02 }) { IsFailing = false };
        SortedDictionary<string, string> model = new(StringComparer.Ordinal);
        using (XnVolume first = XnVolume.Format(faulty, new XnFormatOptions { VolumeId = Guid.Empty, LogBlocks = 0 }))
        {
            KeyValueStore.Create(first, "kv", StoreBench.Small).Dispose();
            Assert.Equal(XnStatus.Ok, first.Unmount());
        }

        Random random = new(seed);
        for (int round = 0; round < 40; round++)
        {
            faulty.IsFailing = false;
            using XnVolume volume = XnVolume.Attach(faulty);
            KeyValueStore store = KeyValueStore.Open(volume, "kv", StoreBench.Small);
            SortedDictionary<string, string> found = StoreBench.Contents(store);
            foreach ((string key, string value) in model)
            {
                Assert.True(found.TryGetValue(key, out string? there), $"{key} is lost");
                Assert.True(there == value || value.EndsWith('?'), $"{key}");
            }

            model = found;
            faulty.IsFailing = true;
            for (int i = 0; i < 60; i++)
            {
                string key = $"{random.Next(100)}";
                string value = $"{round} {i} {new string('v', random.Next(300))}";
                try
                {
                    store.Put(StoreBench.Utf8(key), StoreBench.Utf8(value));
                    model[key] = value;
                }
                catch (Exception error) when (error is BlockDeviceException or KeyValueException { Error: KeyValueError.Failed })
                {
                    // It may be there or not.
                    _ = model.Remove(key);
                }
            }
        }

        Assert.True(faulty.Faults > 20);
    }

    private static byte[] Image(DiskContents contents)
    {
        using MemoryStream image = new();
        contents.Save(image);
        return image.ToArray();
    }

    private static DiskContents Contents(byte[] image)
    {
        using MemoryStream stream = new(image);
        return DiskContents.Load(stream);
    }

    private static (byte[] Whole, SortedDictionary<string, string> Model, List<ulong> Owned) Filled()
    {
        using StoreBench bench = new(DiskContents.Zeroes(600), isNew: true);
        for (int i = 0; i < 150; i++)
        {
            bench.Store.Put(StoreBench.Utf8($"{i * 7 % 120}"), StoreBench.Utf8($"{i} {new string('x', i % 9 == 0 ? 5000 : i)}"));
        }

        SortedDictionary<string, string> model = bench.Contents();
        Assert.True(bench.Store.Tables > 1);
        List<ulong> owned = [];
        for (ulong block = bench.Disk.DataStart.Value; block < bench.Disk.BlockCount; block++)
        {
            if ((bench.Disk.FreeMap[(int)(block / 64)] >> (int)(block % 64) & 1) == 0)
            {
                owned.Add(block);
            }
        }

        return (Image(bench.Device.Snapshot()), model, owned);
    }

    /// <returns>Whether something was refused as damaged.</returns>
    private static bool Look(DiskContents contents, SortedDictionary<string, string> model)
    {
        bool isRefused = false;
        try
        {
            using StoreBench bench = new(contents, isNew: false);
            foreach ((string key, string value) in model)
            {
                try
                {
                    // What stood last in the log may be missing, because that is what an interrupted write looks like; then an older value shows, which was a right one once.
                    string? found = bench.Store.Get(StoreBench.Utf8(key)) is { } bytes ? System.Text.Encoding.UTF8.GetString(bytes) : null;
                    Assert.True(found is null || found == value || IsEarlier(key, found), $"{key}: {found}");
                }
                catch (KeyValueException damage)
                {
                    Assert.Equal(KeyValueError.Damaged, damage.Error);
                    isRefused = true;
                }
            }

            try
            {
                _ = bench.Contents();
            }
            catch (KeyValueException damage)
            {
                Assert.Equal(KeyValueError.Damaged, damage.Error);
                isRefused = true;
            }
        }
        catch (KeyValueException damage)
        {
            Assert.Equal(KeyValueError.Damaged, damage.Error);
            isRefused = true;
        }

        return isRefused;
    }

    private static bool IsEarlier(string key, string value)
    {
        int i = int.Parse(value.Split(' ')[0], System.Globalization.CultureInfo.InvariantCulture);
        return $"{i * 7 % 120}" == key && value == $"{i} {new string('x', i % 9 == 0 ? 5000 : i)}";
    }
}
