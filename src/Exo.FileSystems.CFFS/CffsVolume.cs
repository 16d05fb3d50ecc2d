// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS;

/// <summary>
/// A C-FFS file system: <c>CffsVolume.Open("disk.img")</c> is the whole ceremony. Thread-safe.
/// <para><b>Paths</b> are UTF-8 and start at the root, with or without a leading slash; every operation also takes them as bytes, because names are bytes
/// (1 to 255 of them, without <c>/</c> and NUL).</para>
/// <para><b>Durability</b>: a change is in the cache when its call returns, and durable after <see cref="Sync"/>, <see cref="CffsFile.Sync"/> or a clean close. A crash leaves each
/// change that was not synced whole or absent, renames atomic, and never needs a repair before the next opening.</para>
/// <para><b>Permissions</b>: an operation runs as its <c>identity</c>; null is the superuser. Every change of metadata goes through XN's checks.</para>
/// </summary>
public sealed partial class CffsVolume : IDisposable, IAsyncDisposable
{
    /// <summary>The name of the XN root that <see cref="Create(string, CffsCreateOptions)"/> makes.</summary>
    public const string DefaultRootName = "cffs";

    private readonly BlockDevice? _ownedDevice;
    private readonly FramePool? _ownedFrames;
    private readonly bool _ownsDisk;
    private int _closed;

    private CffsVolume(VolumeCore core, bool ownsDisk, BlockDevice? ownedDevice, FramePool? ownedFrames)
    {
        Core = core;
        _ownsDisk = ownsDisk;
        _ownedDevice = ownedDevice;
        _ownedFrames = ownedFrames;
    }

    internal VolumeCore Core { get; }

    internal bool IsClosed => Volatile.Read(ref _closed) != 0;

    /// <summary>The frame pool of the cache.</summary>
    public FramePool Frames => Core.Cache.Frames;

    /// <summary>The XN disk below.</summary>
    public XnVolume Disk => Core.Disk;

    /// <summary>Changes whenever a name is made, removed or renamed; compares caches of lookups with their source. Reading it costs nothing.</summary>
    public long NamesVersion => Volatile.Read(ref Core.NamesVersion);

    /// <summary>No change is accepted.</summary>
    public bool IsReadOnly => Core.IsReadOnly;

    /// <summary>Facts about the volume.</summary>
    public CffsVolumeInfo Info => new(
        Core.Guard.VolumeId, Encoding.UTF8.GetString(Core.Guard.Label), DateTimeOffset.UnixEpoch.AddTicks(Core.Guard.CreationTime / 100), Core.State.Epoch,
        Core.Disk.Recovery, Core.Disk.Device.Geometry.Driver);

    /// <summary>Makes a volume in an image file or on a block device, and opens it.</summary>
    /// <param name="path">The image (created when <see cref="CffsCreateOptions.SizeBytes"/> is given) or device.</param>
    /// <param name="options">Size, label, ...</param>
    /// <exception cref="CffsException">The image holds something else and <see cref="CffsCreateOptions.Overwrite"/> is not set (Exists); or it is too small (Invalid).</exception>
    /// <exception cref="IOException">The image cannot be opened or created.</exception>
    public static CffsVolume Create(string path, CffsCreateOptions options)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfNegative(options.SizeBytes);
        (FramePool frames, FramePool? ownedFrames) = FramesFor(options.Open);
        FileInfo before = new(path);
        long? lengthBytesBefore = before.Exists ? before.Length : null;
        BlockDevice? device = null;
        try
        {
            device = OpenDevice(path, frames, DeviceOptions(options.Open, options.SizeBytes), "set CffsCreateOptions.SizeBytes to make an image");
            return Create(device, options, device, ownedFrames);
        }
        catch (Exception failure)
        {
            device?.Dispose();
            ownedFrames?.Dispose();
            if (device is not null)
            {
                TakeBack(path, lengthBytesBefore, failure);
            }

            throw;
        }
    }

    private static BlockDevice OpenDevice(string path, FramePool frames, BlockDeviceOptions options, string advice)
    {
        try
        {
            return BlockDevice.Open(path, frames, options);
        }
        catch (FileNotFoundException missing)
        {
            throw new FileNotFoundException($"{path} does not exist; {advice}.", path, missing);
        }
    }

    /// <summary>A file that was made or made longer for a volume that then could not be made is gone again, or as long as it was.</summary>
    private static void TakeBack(string path, long? lengthBytesBefore, Exception failure)
    {
        try
        {
            FileInfo file = new(path);
            if (!file.Exists || (file.Attributes & FileAttributes.Device) != 0)
            {
                return;
            }

            if (lengthBytesBefore is { } lengthBytes)
            {
                if (file.Length > lengthBytes)
                {
                    using FileStream longer = new(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
                    longer.SetLength(lengthBytes);
                }
            }
            else if (failure is not CffsException { Error: CffsError.Exists })
            {
                // Where a volume is there, another program has made it since.
                file.Delete();
            }
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            // What is told is why there is no volume.
        }
    }

    /// <summary>As <see cref="Create(string, CffsCreateOptions)"/>, on a thread of the pool.</summary>
    /// <inheritdoc cref="Create(string, CffsCreateOptions)"/>
    public static ValueTask<CffsVolume> CreateAsync(string path, CffsCreateOptions options, CancellationToken cancellationToken = default) =>
        new(Task.Run(() => Create(path, options), cancellationToken));

    /// <summary>Makes a volume on a device of any kind (memory, simulated, ...), and opens it. The device stays the caller's.</summary>
    /// <exception cref="CffsException">The device holds something else and <see cref="CffsCreateOptions.Overwrite"/> is not set (Exists); or it is too small (Invalid).</exception>
    public static CffsVolume Create(BlockDevice device, CffsCreateOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(device);
        return Create(device, options ?? new CffsCreateOptions(), null, null);
    }

    /// <summary>As <see cref="Create(BlockDevice, CffsCreateOptions?)"/>, on a thread of the pool.</summary>
    /// <inheritdoc cref="Create(BlockDevice, CffsCreateOptions?)"/>
    public static ValueTask<CffsVolume> CreateAsync(BlockDevice device, CffsCreateOptions? options = null, CancellationToken cancellationToken = default) =>
        new(Task.Run(() => Create(device, options), cancellationToken));

    /// <summary>Makes a file system as a named root of an XN disk that others may share, and opens it. The disk stays the caller's.</summary>
    public static CffsVolume Create(XnVolume disk, string rootName, CffsCreateOptions options)
    {
        ArgumentNullException.ThrowIfNull(disk);
        ArgumentNullException.ThrowIfNull(options);
        Formatter.Format(disk, rootName, options);
        return Open(disk, rootName, options.Open);
    }

    /// <summary>As <see cref="Create(XnVolume, string, CffsCreateOptions)"/>, on a thread of the pool.</summary>
    /// <inheritdoc cref="Create(XnVolume, string, CffsCreateOptions)"/>
    public static ValueTask<CffsVolume> CreateAsync(XnVolume disk, string rootName, CffsCreateOptions options, CancellationToken cancellationToken = default) =>
        new(Task.Run(() => Create(disk, rootName, options), cancellationToken));

    /// <summary>Opens a volume. After a crash it recovers first: never more is needed.</summary>
    /// <exception cref="CffsException">NotCffs, Corrupt.</exception>
    /// <exception cref="FileNotFoundException">There is no such image.</exception>
    /// <exception cref="IOException">The image cannot be opened, or another process has it open.</exception>
    public static CffsVolume Open(string path, CffsOpenOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        options ??= new CffsOpenOptions();
        (FramePool frames, FramePool? ownedFrames) = FramesFor(options);
        BlockDevice? device = null;
        try
        {
            device = OpenDevice(path, frames, DeviceOptions(options, 0), "CffsVolume.Create makes a volume");
            return Open(device, options, device, ownedFrames);
        }
        catch
        {
            device?.Dispose();
            ownedFrames?.Dispose();
            throw;
        }
    }

    /// <summary>Opens the volume on a device of any kind (memory, simulated, ...), with the device's frames as cache. After a crash it recovers first. The device stays the caller's.</summary>
    /// <exception cref="CffsException">NotCffs, Corrupt.</exception>
    public static CffsVolume Open(BlockDevice device, CffsOpenOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(device);
        return Open(device, options ?? new CffsOpenOptions(), null, null);
    }

    /// <summary>As <see cref="Open(string, CffsOpenOptions?)"/>, on a thread of the pool.</summary>
    /// <inheritdoc cref="Open(string, CffsOpenOptions?)"/>
    public static ValueTask<CffsVolume> OpenAsync(string path, CffsOpenOptions? options = null, CancellationToken cancellationToken = default) =>
        new(Task.Run(() => Open(path, options), cancellationToken));

    /// <summary>As <see cref="Open(BlockDevice, CffsOpenOptions?)"/>, on a thread of the pool.</summary>
    /// <inheritdoc cref="Open(BlockDevice, CffsOpenOptions?)"/>
    public static ValueTask<CffsVolume> OpenAsync(BlockDevice device, CffsOpenOptions? options = null, CancellationToken cancellationToken = default) =>
        new(Task.Run(() => Open(device, options), cancellationToken));

    /// <summary>Opens a file system that is a named root of an XN disk. The disk stays the caller's.</summary>
    /// <param name="disk">The disk, attached.</param>
    /// <param name="rootName">The root's name.</param>
    /// <param name="options">How.</param>
    /// <param name="observer">What watched the disk while it was attached; needed for a file system that a crash has left.</param>
    /// <exception cref="CffsException">NotCffs, Corrupt; Invalid when a crash must be mended and there is no observer.</exception>
    public static CffsVolume Open(XnVolume disk, string rootName, CffsOpenOptions? options = null, CffsCrashObserver? observer = null)
    {
        ArgumentNullException.ThrowIfNull(disk);
        ArgumentNullException.ThrowIfNull(rootName);
        return Open(disk, rootName, options ?? new CffsOpenOptions(), ownsDisk: false, null, null, observer);
    }

    /// <summary>As <see cref="Open(XnVolume, string, CffsOpenOptions?, CffsCrashObserver?)"/>, on a thread of the pool.</summary>
    /// <inheritdoc cref="Open(XnVolume, string, CffsOpenOptions?, CffsCrashObserver?)"/>
    public static ValueTask<CffsVolume> OpenAsync(
        XnVolume disk, string rootName, CffsOpenOptions? options = null, CffsCrashObserver? observer = null, CancellationToken cancellationToken = default) =>
        new(Task.Run(() => Open(disk, rootName, options, observer), cancellationToken));

    /// <summary>Makes everything that was changed before the call durable.</summary>
    public void Sync()
    {
        CheckOpen();
        Core.Committer.SyncAsync(IoMode.Sync).Take();
    }

    /// <summary>Makes everything that was changed before the call durable.</summary>
    public ValueTask SyncAsync(CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        CheckOpen();
        return Core.Committer.SyncAsync(IoMode.Async);
    }

    /// <summary>Space on the disk. The numbers are in memory: nothing is waited for.</summary>
    public CffsSpace GetSpace() => new(Core.Disk.BlockCount, Core.Disk.FreeBlocks, Core.Disk.WillFreeBlocks, Core.Space.AvailableBlocks);

    /// <summary>Writes everything, marks the volume clean unless a removal of a snapshot that was cancelled has left remains, and closes it. If the device fails the volume stays as a crash would leave it, and the error is thrown.</summary>
    public void Dispose() => CloseVolumeAsync(IoMode.Sync).Take();

    /// <summary>Writes everything, marks the volume clean and closes it.</summary>
    public ValueTask DisposeAsync() => CloseVolumeAsync(IoMode.Async);

    /// <summary>Closes without writing anything: the disk is left as a crash of the process would leave it.</summary>
    public void Abandon()
    {
        if (Interlocked.Exchange(ref _closed, 1) == 0)
        {
            Release();
        }
    }

    private const ulong MinimumBlocks = 512;

    private static CffsVolume Create(BlockDevice device, CffsCreateOptions options, BlockDevice? ownedDevice, FramePool? ownedFrames)
    {
        string path = device.Geometry.Path;
        if (device.Geometry.BlockCount < MinimumBlocks)
        {
            throw new CffsException(CffsError.Invalid, $"{path}: a volume needs at least {MinimumBlocks * 4 / 1024} MiB");
        }

        XnVolume disk;
        try
        {
            disk = XnVolume.Format(device, new XnFormatOptions { Overwrite = options.Overwrite, LogBlocks = options.LogBlocks });
        }
        catch (XnFormatException taken)
        {
            throw new CffsException(CffsError.Exists, taken.Message, taken);
        }

        try
        {
            Create(disk, DefaultRootName, options).Dispose();
            return Open(disk, DefaultRootName, options.Open, ownsDisk: true, ownedDevice, ownedFrames);
        }
        catch
        {
            disk.Dispose();
            throw;
        }
    }

    private static CffsVolume Open(BlockDevice device, CffsOpenOptions options, BlockDevice? ownedDevice, FramePool? ownedFrames)
    {
        CffsCrashObserver observer = new();
        XnVolume disk;
        try
        {
            disk = XnVolume.Attach(device, new XnAttachOptions { ReadOnly = options.ReadOnly, Observer = observer, Progress = options.RecoveryProgress });
        }
        catch (XnFormatException notXn)
        {
            throw new CffsException(CffsError.NotCffs, notXn.Message, notXn);
        }

        try
        {
            return Open(disk, DefaultRootName, options, ownsDisk: true, ownedDevice, ownedFrames, observer);
        }
        catch
        {
            disk.Dispose();
            throw;
        }
    }

    private static CffsVolume Open(
        XnVolume disk, string rootName, CffsOpenOptions options, bool ownsDisk, BlockDevice? ownedDevice, FramePool? ownedFrames, CffsCrashObserver? observer = null)
    {
        Credential key = disk.Frames.RootCredential;
        RootEntry root;
        try
        {
            root = disk.OpenRoot(key, rootName);
        }
        catch (XnException missing) when (missing.Status == XnStatus.NotFound)
        {
            throw new CffsException(CffsError.NotCffs, $"the XN volume has no file system '{rootName}'", missing);
        }

        bool isReadOnly = options.ReadOnly || disk.IsReadOnly;
        CffsTemplateIds templates = CffsTemplateIds.Find(disk, root.Template);
        VolumeCore core = new(disk, key, disk.Frames, templates, root.Block, options.Time, isReadOnly)
        {
            IndexSplitAt = options.IndexSplitAt, IndexFromBlocks = options.IndexFromBlocks, BehindFromBytes = options.BehindFromBytes, Groups = options.Groups,
            Packs = options.Packs && options.Groups,
        };
        core.Space.Blocks = options.ReserveBlocks ?? core.Space.Blocks;
        try
        {
            core.LoadSuperblock();
            core.LoadIntentLog();
            CrashRepair? repair = observer?.Take(root.Block);
            if (disk.Recovery is not null && core.State is { Clean: 0, HasRemains: false } && repair is null && !isReadOnly)
            {
                throw new CffsException(
                    CffsError.Invalid, $"a crash has interrupted the file system '{rootName}': attach its disk with a {nameof(CffsCrashObserver)}, and open it with that");
            }

            if (disk.Recovery is not null && repair is not null && !isReadOnly)
            {
                Recover(core, repair);
            }
            else if (core.State.HasRemains && !isReadOnly)
            {
                RemoveRemains(core);
            }
        }
        catch
        {
            core.ReleaseFrames();
            throw;
        }

        return new CffsVolume(core, ownsDisk, ownedDevice, ownedFrames);
    }

    /// <summary>Also when there is nothing to mend: the crash is on record, and the next unmount is a clean one.</summary>
    private static void Recover(VolumeCore core, CrashRepair repair)
    {
        ulong crashedEpoch = core.State.Epoch;
        core.BelieveIndexes(repair);
        core.BeginWritingAsync(IoMode.Sync).Take();
        repair.RunAsync(core, crashedEpoch, IoMode.Sync).Take();
        SyncUntilIdle(core);
        core.EndRecovery();
        SyncUntilIdle(core);
    }

    /// <summary>Goes on with removals that were cancelled. Where that cannot be the volume opens all the same, and stays as it is.</summary>
    private static void RemoveRemains(VolumeCore core)
    {
        try
        {
            CrashRepair.EmptyOrphansAsync(core, IoMode.Sync).Take();
            SyncUntilIdle(core);
        }
        catch (CffsException failed) when (failed.Error is CffsError.Corrupt or CffsError.NoSpace)
        {
            core.Names.KeepRemains();
        }
    }

    private static void SyncUntilIdle(VolumeCore core)
    {
        while (!core.Committer.IsIdle)
        {
            core.Committer.SyncAsync(IoMode.Sync).Take();
        }
    }

    private static (FramePool Frames, FramePool? Owned) FramesFor(CffsOpenOptions options)
    {
        if (options.Frames is { } shared)
        {
            return (shared, null);
        }

        ArgumentOutOfRangeException.ThrowIfLessThan(options.CacheBytes, 1 << 20, nameof(options.CacheBytes));
        FramePool own = FramePool.Create(new FramePoolOptions { CapacityBytes = options.CacheBytes / 4096 * 4096 });
        return (own, own);
    }

    private static BlockDeviceOptions DeviceOptions(CffsOpenOptions options, long createBytes)
    {
        BlockDeviceOptions given = options.Device ?? new BlockDeviceOptions();
        return new BlockDeviceOptions
        {
            ReadOnly = options.ReadOnly || given.ReadOnly,
            Create = createBytes > 0,
            CreateBytes = createBytes > 0 ? createBytes / 4096 * 4096 : 0,
            Driver = given.Driver,
            Direct = given.Direct,
            QueueDepth = given.QueueDepth,
            Exclusive = given.Exclusive,
            Nbd = given.Nbd,
            Partition = given.Partition,
        };
    }

    private async ValueTask CloseVolumeAsync(IoMode mode)
    {
        if (Interlocked.Exchange(ref _closed, 1) != 0)
        {
            return;
        }

        try
        {
            if (!Core.IsReadOnly)
            {
                foreach (Inode inode in Core.Inodes.Snapshot())
                {
                    // Handles that were not closed are closed now; what they kept alive goes.
                    inode.Opens = 0;
                }

                while (!Core.Committer.IsIdle)
                {
                    await Core.Committer.SyncAsync(mode).ConfigureAwait(false);
                }

                foreach (Inode inode in Core.Inodes.Snapshot())
                {
                    // A directory is what is left of a tree.
                    if (inode is { IsUnlinked: true, IsRemoved: false, Container: not null, IsDirectory: false })
                    {
                        await Core.Names.DropOrphanAsync(inode, mode).ConfigureAwait(false);
                    }
                }

                Core.StageClosed(Core.Names.HasRemains);
                while (!Core.Committer.IsIdle)
                {
                    await Core.Committer.SyncAsync(mode).ConfigureAwait(false);
                }

                if (_ownsDisk)
                {
                    XnStatus status = Core.Disk.Unmount();
                    Invariant.Check(status == XnStatus.Ok);
                }
            }
        }
        finally
        {
            Release();
        }
    }

    private void Release()
    {
        Core.Changes.End();
        Core.Ahead.Finish();
        Core.Files.Finish();
        Core.ReleaseFrames();
        if (_ownsDisk)
        {
            Core.Disk.Dispose();
        }

        _ownedDevice?.Dispose();
        _ownedFrames?.Dispose();
    }
}
