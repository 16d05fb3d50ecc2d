// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Storage.XN;
using KeyValue;

namespace Exo.Samples.Tests.KeyValue;

/// <summary>A small disk in memory with a store on it, which can be closed and opened again.</summary>
internal sealed class StoreBench : IDisposable
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });

    public StoreBench(DiskContents contents, bool isNew, bool recorded = false, int xnLogBlocks = 0, KeyValueOptions? options = null)
    {
        Device = new SimulatedBlockDevice(_frames, contents, recorded);
        Options = options ?? Small;
        try
        {
            Disk = isNew
                ? XnVolume.Format(Device, new XnFormatOptions { VolumeId = Guid.Empty, LogBlocks = xnLogBlocks }, new XnAttachOptions { ReserveFrames = 8 })
                : XnVolume.Attach(Device, new XnAttachOptions { ReserveFrames = 8 });
            Store = isNew ? KeyValueStore.Create(Disk, "kv", Options) : KeyValueStore.Open(Disk, "kv", Options);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>A log of eight blocks and a cache of sixteen frames: everything happens often.</summary>
    public static KeyValueOptions Small { get; } = new() { LogBlocks = 8, CacheFrames = 16 };

    public KeyValueOptions Options { get; }

    public SimulatedBlockDevice Device { get; }

    public XnVolume Disk { get; private set; } = null!;

    public KeyValueStore Store { get; private set; } = null!;

    public static StoreBench New(long blocks = 1200) => new(DiskContents.Zeroes(blocks), isNew: true);

    public void Reopen(bool clean)
    {
        if (clean)
        {
            Store.Dispose();
            Assert.Equal(XnStatus.Ok, Disk.Unmount());
        }

        Disk.Dispose();
        Disk = XnVolume.Attach(Device, new XnAttachOptions { ReserveFrames = 8 });
        Assert.True(!clean || Disk.Recovery is null);
        Store = KeyValueStore.Open(Disk, "kv", Options);
    }

    /// <summary>All that a cursor shows.</summary>
    public SortedDictionary<string, string> Contents() => Contents(Store);

    public static SortedDictionary<string, string> Contents(KeyValueStore store)
    {
        using KeyValueCursor cursor = store.Range([]);
        return Contents(cursor);
    }

    public static SortedDictionary<string, string> Contents(KeyValueCursor cursor)
    {
        SortedDictionary<string, string> contents = new(StringComparer.Ordinal);
        while (cursor.MoveNext())
        {
            contents.Add(Encoding.UTF8.GetString(cursor.Key), Encoding.UTF8.GetString(cursor.Value));
        }

        return contents;
    }

    /// <summary>Every block of the disk is free or the store's: nothing is lost.</summary>
    public void CheckSpace() => Assert.Equal(Disk.BlockCount - Disk.DataStart.Value - Disk.FreeBlocks - Disk.WillFreeBlocks, (ulong)Store.Blocks);

    public void Dispose()
    {
        Disk?.Dispose();
        Device.Dispose();
        _frames.Dispose();
    }

    public static byte[] Utf8(string text) => Encoding.UTF8.GetBytes(text);
}
