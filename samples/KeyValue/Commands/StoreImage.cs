// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS;
using Exo.Storage.XN;

namespace KeyValue.Commands;

/// <summary>An image with two tenants: a C-FFS file system and a key-value store, each a root of XN's catalogue. Neither knows the other's format; XN keeps their blocks apart.</summary>
internal sealed class StoreImage : IDisposable
{
    private readonly FramePool _frames;
    private readonly BlockDevice _device;
    private readonly XnVolume _disk;
    private readonly CffsVolume? _files;

    private StoreImage(FramePool frames, BlockDevice device, XnVolume disk, CffsVolume? files, KeyValueStore store) =>
        (_frames, _device, _disk, _files, Store) = (frames, device, disk, files, store);

    public KeyValueStore Store { get; }

    /// <summary>Opens an image with a store.</summary>
    /// <exception cref="FileNotFoundException">There is no image, or no store on it.</exception>
    public static StoreImage Open(string path) =>
        File.Exists(path) ? Open(path, isNew: false, sizeBytes: 0, _ => throw new FileNotFoundException($"{path}: no key-value store on it")) : throw new FileNotFoundException($"{path}: no such file");

    /// <summary>Opens an image, and makes what is missing of it: the image, or the store on an image of C-FFS.</summary>
    public static StoreImage OpenOrMake(string path, long sizeBytes) => Open(path, isNew: !File.Exists(path), sizeBytes, disk => KeyValueStore.Create(disk));

    private static StoreImage Open(string path, bool isNew, long sizeBytes, Func<XnVolume, KeyValueStore> make)
    {
        FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 128 << 20 });
        BlockDevice? device = null;
        XnVolume? disk = null;
        CffsVolume? files = null;
        try
        {
            device = BlockDevice.Open(path, frames, new BlockDeviceOptions { Create = isNew, CreateBytes = isNew ? sizeBytes : 0 });

            // C-FFS wants to see what XN's recovery sees, so that it can mend its own after a crash.
            CffsCrashObserver observer = new();
            disk = isNew ? XnVolume.Format(device) : XnVolume.Attach(device, new XnAttachOptions { Observer = observer });
            files = Files(disk, isNew, observer);
            KeyValueStore store = disk.Roots.Any(root => root.Name == "kv") ? KeyValueStore.Open(disk) : make(disk);
            return new StoreImage(frames, device, disk, files, store);
        }
        catch
        {
            files?.Dispose();
            disk?.Dispose();
            device?.Dispose();
            frames.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        Store.Dispose();
        _files?.Dispose();
        _ = _disk.Unmount();
        _disk.Dispose();
        _device.Dispose();
        _frames.Dispose();
    }

    private static CffsVolume? Files(XnVolume disk, bool isNew, CffsCrashObserver observer) =>
        isNew ? CffsVolume.Create(disk, CffsVolume.DefaultRootName, new CffsCreateOptions())
        : disk.Roots.Any(root => root.Name == CffsVolume.DefaultRootName) ? CffsVolume.Open(disk, CffsVolume.DefaultRootName, observer: observer)
        : null;
}
