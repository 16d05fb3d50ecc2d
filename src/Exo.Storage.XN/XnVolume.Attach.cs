// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Storage.XN;

/// <summary>How to format a disk.</summary>
public sealed class XnFormatOptions
{
    /// <summary>The capability name that will own the volume, at most 64 bytes. Default: the root name.</summary>
    public CapabilityName OwnerName { get; init; }

    /// <summary>Format over whatever is there. Without it only a blank disk is formatted.</summary>
    public bool Overwrite { get; init; }

    /// <summary>The volume's identity; null makes a random one.</summary>
    public Guid? VolumeId { get; init; }

    /// <summary>
    /// Blocks of 4096 bytes for the commit log, 16 to 16,384; 0: no log, every commit writes in place and in order. Default (null): a 64th of the disk, at most 64 MiB;
    /// none on a disk of less than 64 MiB.
    /// </summary>
    public int? LogBlocks { get; init; }
}

/// <summary>How to attach a disk.</summary>
public sealed class XnAttachOptions
{
    /// <summary>Accept no change; after a crash the free map is rebuilt in memory only.</summary>
    public bool ReadOnly { get; init; }

    /// <summary>Sees each metadata block that recovery visits.</summary>
    public IXnRecoveryObserver? Observer { get; init; }

    /// <summary>Told after each batch of blocks that recovery has visited, on the attaching thread; not at all when the volume was left clean.</summary>
    public IProgress<XnRecoveryProgress>? Progress { get; init; }

    /// <summary>Frames set aside for copies of metadata that is being written. Default 64.</summary>
    public int ReserveFrames { get; init; } = 64;

    /// <summary>Where the registry is to be, for those who share it with other processes; null: in this one's memory.</summary>
    internal TableMemory? RegistryMemory { get; init; }
}

/// <content>Format, attach, unmount.</content>
public sealed partial class XnVolume
{
    /// <summary>Makes an empty volume on a disk, durably, and attaches it.</summary>
    /// <exception cref="XnFormatException">The disk is not blank and <see cref="XnFormatOptions.Overwrite"/> is not set.</exception>
    /// <exception cref="ArgumentException">The disk is too small, the owner's name too long, or the log has a size that it cannot have.</exception>
    public static XnVolume Format(BlockDevice device, XnFormatOptions? options = null, XnAttachOptions? attach = null)
    {
        ArgumentNullException.ThrowIfNull(device);
        options ??= new XnFormatOptions();
        if (device.Geometry.BlockCount < XnSuperblock.MinimumBlocks)
        {
            throw new ArgumentException($"an XN volume needs at least {XnSuperblock.MinimumBlocks * 4 / 1024} MiB", nameof(device));
        }

        if (options.OwnerName.LengthBytes > XnSuperblock.OwnerNameBytesMax)
        {
            throw new ArgumentException($"the owner's name has more than {XnSuperblock.OwnerNameBytesMax} bytes", nameof(options));
        }

        XnSuperblockPair superblock = new(device);
        if (!options.Overwrite)
        {
            try
            {
                superblock.Load();
            }
            catch (XnFormatException notXn) when (notXn.IsBlank)
            {
            }
            catch (XnFormatException)
            {
                throw new XnFormatException($"{device.Geometry.Path} holds something else; it is left alone");
            }

            if (superblock.Current.BlockCount != 0)
            {
                throw new XnFormatException($"{device.Geometry.Path} already holds an XN volume");
            }
        }

        byte[] owner = new byte[options.OwnerName.LengthBytes];
        options.OwnerName.CopyTo(owner);
        ulong logBlocks = options.LogBlocks is { } given ? (ulong)given : XnSuperblock.DefaultLogBlocks(device.Geometry.BlockCount);
        XnSuperblock plan = XnSuperblock.Plan(device.Geometry.BlockCount, options.VolumeId ?? new Guid(RandomNumberGenerator.GetBytes(16)), owner, logBlocks);
        if ((logBlocks != 0 && logBlocks is < LogRecord.LogBlocksMin or > LogRecord.LogBlocksMax) || plan.DataStart >= plan.BlockCount)
        {
            throw new ArgumentException($"a log has {LogRecord.LogBlocksMin} to {LogRecord.LogBlocksMax} blocks and leaves room for data", nameof(options));
        }

        // The superblock goes first when something older is replaced: half a format must not look like the old volume.
        // The log is written now, so that a commit overwrites what the device has room for already.
        Zero(device, 0, plan.FreeMapStart);
        Zero(device, plan.LogStart, plan.LogBlocks);
        device.Flush();
        new RootCatalogue(device, plan.RootsStart).Create();
        DiskFreeMap freeMap = new(plan.BlockCount);
        freeMap.Load(0, Enumerable.Repeat(ulong.MaxValue, (int)((plan.BlockCount + 63) / 64)).ToArray());
        freeMap.Recount();
        freeMap.Take(new BlockExtent(new BlockNumber(0), (uint)plan.DataStart));
        StoreFreeMap(device, plan, freeMap, []);
        device.Flush();
        superblock.Create(plan);
        return Attach(device, attach);
    }

    /// <summary>
    /// Attaches the volume on a disk. After an unmount the free map is read from its snapshot; after a crash it is rebuilt by traversing all roots through their templates
    /// (<see cref="Recovery"/>), so that nothing leaks and nothing in use is taken for free.
    /// </summary>
    /// <exception cref="XnFormatException">The disk holds no XN volume, or one damaged beyond its two copies.</exception>
    public static XnVolume Attach(BlockDevice device, XnAttachOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(device);
        options ??= new XnAttachOptions();
        try
        {
            return AttachReplayed(device, options);
        }
        catch (XnFormatException unnamed)
        {
            throw new XnFormatException($"{device.Geometry.Path}: {unnamed.Message}", unnamed.IsBlank);
        }
    }

    private static XnVolume AttachReplayed(BlockDevice device, XnAttachOptions options)
    {
        XnSuperblockPair superblock = new(device);
        superblock.Load();
        XnSuperblock current = superblock.Current;
        LogScan? log = LogScan.Read(device, current);
        bool isLogWhole = log is not { IsUnreadable: true };
        if (log is { IsEmpty: false })
        {
            // Before any pointer is followed. Who may not write sees through it.
            if (options.ReadOnly || device.Geometry.IsReadOnly || log.IsUnreadable)
            {
                device = new ReplayedDevice(device, log);
            }
            else
            {
                isLogWhole = LogReplay.Run(device, log) == 0;
            }
        }

        try
        {
            return Attach(device, superblock, options, isLogWhole);
        }
        catch
        {
            (device as ReplayedDevice)?.Dispose();
            throw;
        }
    }

    private static XnVolume Attach(BlockDevice device, XnSuperblockPair superblock, XnAttachOptions options, bool isLogWhole)
    {
        XnSuperblock current = superblock.Current;
        TemplateCatalogue templates = new(device, current.TemplateStart, current.TemplateSlots);
        templates.Load();
        RootCatalogue roots = new(device, current.RootsStart);
        roots.Load(current, templates);
        DiskFreeMap freeMap = new(current.BlockCount);
        XnRecoveryReport? report = null;
        Dictionary<ulong, int> multiplyOwned = [];
        if (current.Clean == 0 || !TryLoadSnapshot(device, current, freeMap, multiplyOwned))
        {
            multiplyOwned.Clear();
            RecoveryPass pass = new(device, current, templates, roots.Entries, options.Observer, options.Progress);
            report = pass.Run(freeMap, multiplyOwned);
        }

        using ScratchFrames reserve = new(device.Frames, options.ReserveFrames);
        foreach (FrameNumber frame in reserve.Frames)
        {
            device.Frames.Retain(frame);
        }

        bool isReadOnly = options.ReadOnly || device.Geometry.IsReadOnly || report is { UnreadableBlocks: > 0 } || !isLogWhole;
        return new XnVolume(device, superblock, templates, roots, freeMap, report, multiplyOwned, isReadOnly, reserve.Frames, options.RegistryMemory) { _replayed = device as ReplayedDevice };
    }

    /// <summary>
    /// Leaves the volume clean: writes the free-map snapshot and then, last, the clean superblock. The volume can be disposed of afterwards, or changed again.
    /// Counts of shared blocks are kept in free blocks; where there are not enough of them the volume is left unclean, and the next attach counts again.
    /// </summary>
    /// <returns>Ok; Dirty when blocks with changes remain (write back and flush first).</returns>
    public XnStatus Unmount()
    {
        ThrowIfClosed();
        _logTurn.Wait();
        try
        {
            return UnmountInTurn();
        }
        finally
        {
            _logTurn.Release();
        }
    }

    private XnStatus UnmountInTurn()
    {
        if (!IsAllDurable())
        {
            return XnStatus.Dirty;
        }

        // A clean volume has nothing in its log.
        RunCheckpoint();
        lock (_catalogues)
        {
            lock (_lock)
            {
                if (_registry.DirtyCount > 0 || UnflushedBlocks > 0)
                {
                    return XnStatus.Dirty;
                }

                if (!_unclean && (Recovery is null || IsReadOnly))
                {
                    return XnStatus.Ok;
                }

                XnSuperblock next = _superblock.Current;
                next.Epoch++;
                next.Clean = 1;
                next.OwnersStart = 0;
                if (!TryStoreOwners(_device, ref next, _freeMap, _multiplyOwned, _reserve))
                {
                    return XnStatus.Ok;
                }

                StoreFreeMap(_device, next, _freeMap, _reserve);
                _device.Flush();
                _superblock.Store(next);
                _unclean = false;
            }
        }

        return XnStatus.Ok;
    }

    /// <summary>Before the first change since the volume was clean: a crash must be recognised as one.</summary>
    private void MakeUnclean()
    {
        if (Volatile.Read(ref _unclean) || IsReadOnly)
        {
            return;
        }

        lock (_catalogues)
        {
            if (!_unclean)
            {
                XnSuperblock next = _superblock.Current;
                next.Clean = 0;
                next.LogEpoch++;
                _superblock.Store(next);
                BeginLog();
                Volatile.Write(ref _unclean, true);
            }
        }
    }

    /// <summary>What the last unmount wrote down. False when it cannot be read or believed: everything in it can be found anew.</summary>
    private static bool TryLoadSnapshot(BlockDevice device, in XnSuperblock superblock, DiskFreeMap freeMap, Dictionary<ulong, int> owners)
    {
        try
        {
            return TryLoadFreeMap(device, superblock, freeMap) && TryLoadOwners(device, superblock, owners);
        }
        catch (BlockDeviceException)
        {
            return false;
        }
    }

    private static bool TryLoadFreeMap(BlockDevice device, in XnSuperblock superblock, DiskFreeMap freeMap)
    {
        const int Batch = 64;
        using ScratchFrames scratch = new(device.Frames, (int)Math.Min(Batch, superblock.FreeMapBlocksUsed));
        Span<ulong> words = stackalloc ulong[FreeMapBlock.BitmapBytes / 8];
        ulong wordsTotal = (superblock.BlockCount + 63) / 64;
        for (ulong index = 0; index < superblock.FreeMapBlocksUsed; index += Batch)
        {
            int count = (int)Math.Min(Batch, superblock.FreeMapBlocksUsed - index);
            BlockRequest[] read = [BlockRequest.Read(new BlockNumber(superblock.FreeMapStart + index), scratch.Frames.AsMemory(0, count))];
            device.Execute(read);
            for (int i = 0; i < count; i++)
            {
                ulong at = index + (ulong)i;
                ulong firstWord = at * (ulong)words.Length;
                int take = (int)Math.Min((ulong)words.Length, wordsTotal - firstWord);
                if (!FreeMapBlock.TryRead(scratch.Bytes(i), superblock.FreeMapStart + at, superblock.Epoch, at, words[..take]))
                {
                    return false;
                }

                freeMap.Load(firstWord, words[..take]);
            }
        }

        freeMap.Recount();
        return true;
    }

    private static void StoreFreeMap(BlockDevice device, in XnSuperblock superblock, DiskFreeMap freeMap, FrameNumber[] reserve)
    {
        const int Batch = 32;
        using ScratchFrames scratch = new(device.Frames, (int)Math.Min(Batch, superblock.FreeMapBlocksUsed), reserve);
        int wordsPerBlock = FreeMapBlock.BitmapBytes / 8;
        for (ulong index = 0; index < superblock.FreeMapBlocksUsed; index += Batch)
        {
            int count = (int)Math.Min(Batch, superblock.FreeMapBlocksUsed - index);
            for (int i = 0; i < count; i++)
            {
                ulong at = index + (ulong)i;
                ReadOnlySpan<ulong> words = freeMap.Words[((int)at * wordsPerBlock)..];
                FreeMapBlock.Emit(scratch.Bytes(i), superblock.FreeMapStart + at, superblock.Epoch, at, words[..Math.Min(words.Length, wordsPerBlock)]);
            }

            BlockRequest[] write = [BlockRequest.Write(new BlockNumber(superblock.FreeMapStart + index), scratch.Frames.AsMemory(0, count))];
            device.Execute(write);
        }
    }

    private static void Zero(BlockDevice device, ulong first, ulong count)
    {
        const int Batch = 64;
        using ScratchFrames scratch = new(device.Frames, Batch);
        for (int i = 0; i < Batch; i++)
        {
            scratch.Bytes(i).Clear();
        }

        for (ulong at = first; at < first + count; at += Batch)
        {
            int take = (int)Math.Min(Batch, first + count - at);
            BlockRequest[] write = [BlockRequest.Write(new BlockNumber(at), scratch.Frames.AsMemory(0, take))];
            device.Execute(write);
        }
    }
}
