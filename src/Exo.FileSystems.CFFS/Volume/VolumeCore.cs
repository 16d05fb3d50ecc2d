// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Attributes;
using Exo.FileSystems.CFFS.Cache;
using Exo.FileSystems.CFFS.Commit;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Files;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Operations;
using Exo.FileSystems.CFFS.Paths;
using Exo.FileSystems.CFFS.Relocation;
using Exo.FileSystems.CFFS.Templates;
using Exo.FileSystems.CFFS.Watching;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Volume;

/// <summary>
/// What all parts of one open volume share: the XN disk and the key to it, the cache, the inodes in memory, and the counters of the superblock.
/// <para>Locks, outermost first: inode locks (by inode number), <see cref="Metadata"/>, then leaves (inode table, cache clock, XN's own).
/// Only inode locks may be held over I/O. <see cref="Metadata"/> makes read-modify-write of a sector and the choice of blocks atomic.</para>
/// </summary>
internal sealed class VolumeCore
{
    private const ulong InodeBatch = 1UL << 20;
    private const ulong InodeReserve = 1UL << 16;

    // Replaced files that wait for their removal.
    private const int ActionsMax = 512;

    // Names that have left large directories and wait to leave their indexes.
    private const int LeavingMax = 50_000;
    private int _leaving;

    // Blocks of what has lost its name to another and is removed after a commit: about so many.
    private long _buriedBlocks;

    private readonly Lock _state = new();
    private ulong _nextInode;
    private uint _nextNameSequence;
    private volatile bool _writing;
    private bool _distrustsIndexes;
    private bool _holdsRoot;

    public VolumeCore(XnVolume disk, Credential key, FramePool frames, CffsTemplateIds templates, BlockNumber root, TimeProvider time, bool isReadOnly)
    {
        Disk = disk;
        Key = key;
        Templates = templates;
        RootBlock = root;
        Time = time;
        IsReadOnly = isReadOnly;
        Cache = new BlockCache(disk, key, frames);
        Inodes = new InodeTable(Cache, stamp => Committer!.IsDurable(stamp));
        Allocator = new BlockAllocator(disk);
        Space = new SpaceReserve(this);
        Edit = new MetadataEdit(this);
        Intents = new IntentLog(this);
        RecentLinks = new RecentLinks(this);
        Committer = new Committer(this);
        Behind = new WriteBehind(this);
        Maps = new MapLoader(this);
        MapEdits = new MapEdits(this);
        Directories = new DirectoryStore(this);
        Ahead = new DirectoriesAhead(this);
        Paths = new PathWalk(this);
        Files = new FileStore(this);
        Attributes = new AttributeStore(this);
        Moves = new BlockMoves(this);
        Names = new NameOperations(this);
        Changes = new ChangeFeed(this);
        Cache.WriteBack = MakeRoomAsync;
        Cache.GiveUpInodes = Inodes.GiveUpHalf;
    }

    public XnVolume Disk { get; }

    public Credential Key { get; }

    public CffsTemplateIds Templates { get; }

    public BlockNumber RootBlock { get; }

    public TimeProvider Time { get; }

    public bool IsReadOnly { get; }

    public BlockCache Cache { get; }

    public InodeTable Inodes { get; }

    public BlockAllocator Allocator { get; }

    public SpaceReserve Space { get; }

    public Committer Committer { get; }

    public WriteBehind Behind { get; }

    public IntentLog Intents { get; }

    public RecentLinks RecentLinks { get; }

    public MapLoader Maps { get; }

    public MapEdits MapEdits { get; }

    public DirectoryStore Directories { get; }

    public DirectoriesAhead Ahead { get; }

    public PathWalk Paths { get; }

    public FileStore Files { get; }

    public AttributeStore Attributes { get; }

    public NameOperations Names { get; }

    public ChangeFeed Changes { get; }

    public BlockMoves Moves { get; }

    /// <summary>The lock of the metadata. Short: no I/O and no await under it.</summary>
    public Lock Metadata { get; } = new();

    /// <summary>The one staging area for changes of metadata; used only under <see cref="Metadata"/>.</summary>
    public MetadataEdit Edit { get; }

    /// <summary>Counts changes of the name space. Changed under the metadata lock, read by anyone.</summary>
    public long NamesVersion;

    /// <summary>Counts the changes of the name space and of permissions after which a path may lead to another directory. Changed under the metadata lock, read by anyone.</summary>
    public long PathsVersion;

    /// <summary>A name, an owner or a permission has changed. Under the metadata lock.</summary>
    /// <param name="changesPaths">It may be one that a path goes through.</param>
    public void NoteNames(bool changesPaths = true)
    {
        Invariant.Check(Metadata.IsHeldByCurrentThread);
        Advance(ref NamesVersion);
        PathsVersion += changesPaths ? 1 : 0;
    }

    /// <summary>Who hears of changes before versions show them; replaced as a whole, under the metadata lock.</summary>
    public IVersionObserver[] VersionObservers { get; set; } = [];

    /// <summary>A version goes on: from here on everybody sees that what he has is of old. Under the metadata lock.</summary>
    public void Advance(ref long version)
    {
        Invariant.Check(Metadata.IsHeldByCurrentThread);
        foreach (IVersionObserver observer in VersionObservers)
        {
            observer.Begin();
        }

        Volatile.Write(ref version, version + 1);
        foreach (IVersionObserver observer in VersionObservers)
        {
            observer.End();
        }
    }

    public VolumeGuard Guard { get; private set; } = null!;

    public VolumeState State { get; private set; }

    /// <summary>The frame of the superblock, retained while the volume is open.</summary>
    public FrameNumber RootFrame { get; private set; }

    public Inode Root { get; private set; } = null!;

    public Inode Orphans { get; private set; } = null!;

    public Inode Externals { get; private set; } = null!;

    public ulong Seed => Guard.ChecksumSeed;

    /// <summary>Now, in nanoseconds since 1970.</summary>
    public long Now() => (Time.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks * 100;

    /// <summary>Parses the superblock, which must be in core, and makes the built-in inodes.</summary>
    public void LoadSuperblock()
    {
        if (!Cache.TryGet(RootBlock, out FrameNumber frame))
        {
            throw new InvalidOperationException("the superblock is not in core");
        }

        RootFrame = frame;
        _holdsRoot = true;
        ReadOnlySpan<byte> block = Cache.Bytes(frame);
        ReadOnlySpan<byte> guardSector = block.Slice(Superblock.GuardSector * Sector.SizeBytes, Sector.SizeBytes);
        VolumeGuard? guard = VolumeGuard.TryParse(guardSector);
        ulong firstSector = RootBlock.Value * Sector.PerBlock;
        if (guard is null || Sector.IsEmpty(guardSector)
            || !Sector.IsValid(guardSector, guard.ChecksumSeed, firstSector + Superblock.GuardSector, SectorKind.Guard, 0))
        {
            throw new CffsException(CffsError.Corrupt, "the guard sector of the C-FFS superblock is damaged");
        }

        Guard = guard;
        VolumeState? newest = null;
        for (int i = 0; i < 2; i++)
        {
            ReadOnlySpan<byte> sector = block.Slice(i * Sector.SizeBytes, Sector.SizeBytes);
            if (!Sector.IsEmpty(sector) && Sector.IsValid(sector, Seed, firstSector + (ulong)i, SectorKind.State, 0)
                && VolumeState.TryParse(sector, out VolumeState state) && (newest is null || state.Generation > newest.Value.Generation))
            {
                newest = state;
            }
        }

        if (newest is not { } found)
        {
            throw new CffsException(CffsError.Corrupt, "both state sectors of the C-FFS superblock are damaged");
        }

        if (found.Version != VolumeState.CurrentVersion || (found.IncompatibleFeatures & ~VolumeState.KnownIncompatibleFeatures) != 0 || ((found.ReadOnlyFeatures & ~VolumeState.KnownReadOnlyFeatures) != 0 && !IsReadOnly))
        {
            throw new CffsException(
                CffsError.NotCffs,
                $"the volume has format version {found.Version}, features {found.IncompatibleFeatures:x}/{found.ReadOnlyFeatures:x}, which this code does not know");
        }

        State = found;
        _nextInode = found.InodeLimit;
        _nextNameSequence = (found.NameSequence + 1) & ~1u;

        // After a crash nobody knows what an index lacks, until recovery says so (BelieveIndexes).
        IndexTrust = found.Clean == 1 || found.HasRemains ? found.IndexTrust : _nextNameSequence;
        Root = BuiltIn(block, Superblock.RootSlot, Superblock.RootInode);
        Orphans = BuiltIn(block, Superblock.OrphanSlot, Superblock.OrphanInode);
        Externals = BuiltIn(block, Superblock.ExternalSlot, Superblock.ExternalInode);
        _ = BuiltIn(block, Superblock.LogSlot, Superblock.LogInode);
    }

    /// <summary>Indexes of directories older than this are not believed: a name sequence number.</summary>
    public uint IndexTrust { get; private set; }

    /// <summary>A bucket of a directory's index with this many entries has others split.</summary>
    public int IndexSplitAt { get; init; } = CffsOpenOptions.IndexSplitAtDefault;

    /// <inheritdoc cref="CffsOpenOptions.Packs"/>
    public bool Packs { init => Files.Packs = value && Templates.HasPacks; }

    /// <inheritdoc cref="CffsOpenOptions.Groups"/>
    public bool Groups { get => Allocator.HasWindows; init => Allocator.HasWindows = value; }

    /// <inheritdoc cref="CffsOpenOptions.BehindFromBytes"/>
    public long BehindFromBytes { get; init; } = CffsOpenOptions.BehindFromBytesDefault;

    /// <inheritdoc cref="CffsOpenOptions.IndexFromBlocks"/>
    public ulong IndexFromBlocks { get; init; } = CffsOpenOptions.IndexFromBlocksDefault;

    /// <summary>What recovery has seen in the slots, while it is needed: from the opening after a crash until all of it is in its indexes.</summary>
    public CrashRepair? AfterCrash { get; private set; }

    /// <summary>Recovery has watched XN's: the indexes lack nothing but the names that it has seen.</summary>
    public void BelieveIndexes(CrashRepair crash)
    {
        AfterCrash = crash;
        IndexTrust = State.IndexTrust;
    }

    /// <summary>
    /// All that a crash has left is mended, durably. Only now does a new epoch begin: the intents of the crashed one count until then, for the power may fail during recovery, too.
    /// Nothing may be changed before this is durable.
    /// </summary>
    public void EndRecovery()
    {
        VolumeState state = State;
        state.IndexedSequence = _nextNameSequence;
        state.Epoch++;
        WriteState(state);
        AfterCrash = null;
    }

    /// <summary>An index that is wrong could not be given up: from the next mount on none is believed.</summary>
    public void DistrustIndexes() => _distrustsIndexes = true;

    /// <summary>A fresh inode number. <see cref="BeginWritingAsync"/> has made sure that there is one.</summary>
    public ulong NextInode()
    {
        ulong number = Interlocked.Increment(ref _nextInode) - 1;
        Invariant.Check(number < State.InodeLimit);
        return number;
    }

    /// <summary>The next name sequence number.</summary>
    public uint NextNameSequence(bool yieldsToEarlier = false) => Interlocked.Add(ref _nextNameSequence, 2) - (yieldsToEarlier ? 0u : 1u);

    /// <summary>
    /// Called at the start of every change. The first one in a mount makes the volume's new epoch durable, so that a crash is known as one
    /// and inode numbers given out from here on are never given out again.
    /// </summary>
    public ValueTask BeginWritingAsync(IoMode mode)
    {
        if (IsReadOnly)
        {
            throw new CffsException(CffsError.ReadOnly, "the volume is open for reading only");
        }

        return _writing && Volatile.Read(ref _nextInode) + InodeReserve < State.InodeLimit && _nextNameSequence + (2 * (uint)InodeReserve) < State.NameSequence
            ? (Committer.ActionsWaiting > ActionsMax || TooManyLeave() || MuchIsBuried()
                ? Committer.SyncAsync(mode)
                : Committer.WaitForTurnAsync(mode))
            : OpenEpochAsync(mode);
    }

    /// <summary>For who makes many inodes in one go: sees to it that there are numbers for the next. May be called with inode locks held.</summary>
    public ValueTask EnsureNumbersAsync(IoMode mode) =>
        Volatile.Read(ref _nextInode) + InodeReserve < State.InodeLimit && _nextNameSequence + (2 * (uint)InodeReserve) < State.NameSequence ? default : OpenEpochAsync(mode);

    /// <summary>A name is to leave an index when that may happen (<see cref="DirectoryState.Leaving"/>).</summary>
    public void NoteLeaving() => Interlocked.Increment(ref _leaving);

    /// <summary>Blocks are to become free when what they belong to is removed, after a commit; with a minus sign: they have.</summary>
    public void NoteBuried(long blocks) => Interlocked.Add(ref _buriedBlocks, blocks);

    /// <summary>Whether what waits to be removed counts beside what is free: who needs room commits what was freed, and does not find what is freed only by a removal after that commit.</summary>
    private bool MuchIsBuried() => Volatile.Read(ref _buriedBlocks) is > 0 and var buried && (ulong)buried > Disk.FreeBlocks / 4;

    private bool TooManyLeave()
    {
        if (Volatile.Read(ref _leaving) <= LeavingMax)
        {
            return false;
        }

        Volatile.Write(ref _leaving, 0);
        return true;
    }

    /// <summary>Sees to it that frames can be let go. May be called with inode locks held.</summary>
    private async ValueTask MakeRoomAsync(IoMode mode)
    {
        if (!await Behind.TryMakeRoomAsync(mode).ConfigureAwait(false))
        {
            await Committer.CommitHomeAsync(mode).ConfigureAwait(false);
        }
    }

    /// <summary>Recovery found the block twice, after an interrupted move.</summary>
    public bool IsMultiplyOwned(BlockNumber block) => Disk.OwnerCount(block) > 1;

    /// <summary>The volume's epoch is open: changes may be noted.</summary>
    public bool IsWriting => _writing;

    /// <summary>
    /// Loads an inode's map, and sees to it that XN will let its blocks go: a tree node or directory block that orders are pending for passes them on to the block that held the pointer to it,
    /// which may contradict others. Then everything is committed first. Under the inode's lock, before blocks are given up.
    /// </summary>
    public async ValueTask PrepareFreeAsync(Inode inode, IoMode mode)
    {
        await Maps.EnsureForChangeAsync(inode, mode).ConfigureAwait(false);
        if (Disk.HasOrders && HasOrder(inode))
        {
            await Committer.CommitAsync(mode).ConfigureAwait(false);
        }
    }

    private bool HasOrder(Inode inode)
    {
        foreach (MappedNode node in inode.Map.Nodes)
        {
            if (Disk.HasOrder(node.Block))
            {
                return true;
            }
        }

        for (int e = 0; inode.IsDirectory && e < inode.Map.Count; e++)
        {
            for (uint i = 0; i < inode.Map[e].Count; i++)
            {
                if (Disk.HasOrder(new BlockNumber(inode.Map[e].Start + i)))
                {
                    return true;
                }
            }
        }

        return false;
    }

    /// <summary>
    /// Orders two blocks: <paramref name="before"/> must be durable before <paramref name="after"/>. Where pending orders contradict that, everything is committed, and there is nothing left to order.
    /// </summary>
    public ValueTask OrderAsync(BlockNumber before, BlockNumber after, IoMode mode)
    {
        XnStatus status = Disk.Order(Key, before, after);
        Invariant.Check(status is XnStatus.Ok or XnStatus.OrderCycle or XnStatus.NotRegistered);
        return status == XnStatus.OrderCycle ? Committer.CommitAsync(mode) : default;
    }

    /// <inheritdoc cref="BlockAllocator.TryClose"/>
    public bool TryClose(ClosedBlocks blocks)
    {
        lock (Metadata)
        {
            return Allocator.TryClose(blocks);
        }
    }

    /// <inheritdoc cref="BlockAllocator.Open"/>
    public void Open(ClosedBlocks blocks)
    {
        lock (Metadata)
        {
            Allocator.Open(blocks);
        }
    }

    /// <summary>Where the intent log lies.</summary>
    public BlockExtent LogExtent { get; private set; }

    /// <summary>Brings the intent log into core.</summary>
    public void LoadIntentLog()
    {
        Inode log = Inodes.TryHold(Superblock.LogInode)!;
        if (log.Record.Count != Intent.LogBlocks || log.Record.Depth != 0)
        {
            throw new CffsException(CffsError.Corrupt, "the intent log has the wrong size");
        }

        LogExtent = new BlockExtent(new BlockNumber(log.Record.Start), log.Record.Count);
        Cache.ReadAsync(new[] { new XnReadRequest(RootBlock, Superblock.LogSlot, LogExtent) }, IoMode.Sync).Take();
        FrameNumber[] frames = new FrameNumber[Intent.LogBlocks];
        for (uint i = 0; i < frames.Length; i++)
        {
            bool found = Cache.TryGet(LogExtent.First + i, out frames[i]);
            Invariant.Check(found);
        }

        Intents.Load(LogExtent.First, frames);
    }

    /// <summary>Gives back every frame that this volume holds; it is not used afterwards.</summary>
    public void ReleaseFrames()
    {
        Intents.ReleaseFrames();
        Inodes.ReleaseAll();
        if (_holdsRoot)
        {
            Cache.Release(RootFrame);
        }
    }

    /// <summary>Marks the volume clean in its own superblock; the last change before an unmount.</summary>
    /// <param name="hasRemains">The orphan directory has trees that the next opening removes (<see cref="VolumeState.HasRemains"/>).</param>
    public void StageClosed(bool hasRemains)
    {
        if (_writing)
        {
            VolumeState state = State;
            state.Clean = hasRemains ? 0U : 1U;
            state.InodeLimit = _nextInode;
            state.NameSequence = _nextNameSequence;
            state.IndexedSequence = _nextNameSequence;
            state.IndexTrust = _distrustsIndexes ? _nextNameSequence : IndexTrust;
            WriteState(state);
            _writing = false;
        }
    }

    private async ValueTask OpenEpochAsync(IoMode mode)
    {
        bool first;
        lock (_state)
        {
            first = !_writing;
            if (first || _nextInode + InodeReserve >= State.InodeLimit || _nextNameSequence + (2 * (uint)InodeReserve) >= State.NameSequence)
            {
                VolumeState state = State;
                if (first)
                {
                    if (state.Clean == 0)
                    {
                        state.LastUncleanEpoch = state.Epoch;
                    }

                    // What recovery does belongs to the epoch that crashed (EndRecovery).
                    state.Epoch += AfterCrash is null ? 1u : 0u;
                    state.Clean = 0;
                    state.ReadOnlyFeatures |= VolumeState.KnownReadOnlyFeatures;
                    state.IncompatibleFeatures |= Templates.HasPacks ? VolumeState.Packs : 0;
                    state.IndexTrust = IndexTrust;
                }

                state.InodeLimit = _nextInode + InodeBatch;
                state.NameSequence = _nextNameSequence + (2 * (uint)InodeBatch);
                WriteState(state);
            }
        }

        // Until this is durable no new number may reach the disk; everybody who finds the epoch closed waits for it here.
        await Committer.CommitAsync(mode).ConfigureAwait(false);
        _writing = true;
    }

    private void WriteState(VolumeState state)
    {
        lock (Metadata)
        {
            state.Generation++;
            state.LastWriteTime = Now();
            Edit.Begin();

            // In both sectors: a power cut leaves each whole, old or new, and were one lost to the medium, the other must not give numbers out again.
            state.Emit(Edit.Sector(RootBlock, RootFrame, 0, SectorKind.State, 0));
            state.Emit(Edit.Sector(RootBlock, RootFrame, 1, SectorKind.State, 0));
            Edit.Apply();
            State = state;
        }
    }

    /// <summary>
    /// The inode of a directory's record, held. Takes over the place's retained frame. Under the directory's lock.
    /// </summary>
    public ValueTask<Inode> GetInodeAsync(Inode directory, in SlotPlace place, IoMode mode) =>
        GetEmbeddedInode(directory, place) is { } inode ? new ValueTask<Inode>(inode) : GetExternalInodeAsync(directory, place, mode);

    /// <summary>As <see cref="GetInodeAsync"/>; null when the inode is an external one that is not in memory: then the frame stays the caller's.</summary>
    public Inode? GetEmbeddedInode(Inode directory, in SlotPlace place)
    {
        if (Inodes.TryHold(Slot.InodeOf(Directories.SectorOf(place)[(place.InSector * Slot.SizeBytes)..])) is { } known)
        {
            Cache.Release(place.Frame);
            return known;
        }

        Record record;
        try
        {
            record = Directories.RecordAt(directory, place);
        }
        catch
        {
            Cache.Release(place.Frame);
            throw;
        }

        return record.Kind == SlotKind.ExternalLink ? null : AddInode(directory, place, record);
    }

    private async ValueTask<Inode> GetExternalInodeAsync(Inode directory, SlotPlace place, IoMode mode)
    {
        Record record = Directories.TakeRecord(directory, place);
        await Externals.Lock.EnterAsync(mode).ConfigureAwait(false);
        try
        {
            await Directories.EnsureLoadedAsync(Externals, mode).ConfigureAwait(false);
            if (record.Start <= uint.MaxValue)
            {
                SlotPlace outside = await Directories.PlaceAsync(Externals, (uint)record.Start, mode).ConfigureAwait(false);
                if (Record.TryParse(Directories.SectorOf(outside), outside.InSector, out Record external) && external.Inode == record.Inode)
                {
                    return AddInode(Externals, outside, external);
                }

                Cache.Release(outside.Frame);
            }

            throw new CffsException(CffsError.Corrupt, $"the link in slot {place.Address} of directory {directory.Number} does not point to its inode");
        }
        finally
        {
            Externals.Lock.Exit();
        }
    }

    /// <summary>Makes the inode of a record that is in core, held. Takes over the place's retained frame.</summary>
    /// <exception cref="CffsException">Corrupt: inline contents that are not the whole of the inode's.</exception>
    public Inode AddInode(Inode container, in SlotPlace place, in Record record)
    {
        if (record.InlineLength > 0 && (record.Size != record.InlineLength || record.Count > 0))
        {
            // Whoever reads believes Size; where the sector has fewer bytes there is nothing to be read.
            Cache.Release(place.Frame);
            throw new CffsException(CffsError.Corrupt, $"inode {record.Inode} has {record.Size} bytes in {record.Count} blocks, and {record.InlineLength} bytes inline");
        }

        Inodes.Hold(container);
        return Inodes.Add(new Inode(record.Inode)
        {
            Record = record, Container = container, SlotBlock = place.Block, SlotIndex = place.Index, SlotAddress = place.Address, SlotFrame = place.Frame, Attributes = Attributes,
        });
    }

    private Inode BuiltIn(ReadOnlySpan<byte> block, int slot, ulong number)
    {
        ReadOnlySpan<byte> sector = block.Slice(Superblock.RecordSector * Sector.SizeBytes, Sector.SizeBytes);
        if (!Sector.IsValid(sector, Seed, (RootBlock.Value * Sector.PerBlock) + Superblock.RecordSector, SectorKind.Slots, 0)
            || !Record.TryParse(sector, slot, out Record record) || record.Inode != number)
        {
            throw new CffsException(CffsError.Corrupt, $"the built-in record {number} of the C-FFS superblock is damaged");
        }

        Cache.Frames.Retain(RootFrame);
        return Inodes.Add(new Inode(number) { Record = record, SlotBlock = RootBlock, SlotIndex = Superblock.SlotIndex(slot), SlotFrame = RootFrame, Attributes = Attributes });
    }
}

/// <summary>The ids that the volume's XN disk has given to C-FFS's templates.</summary>
internal sealed record CffsTemplateIds(
    TemplateId Super, TemplateId Slots, TemplateId FileTree, TemplateId DirectoryTree, TemplateId Data, TemplateId Index, TemplateId Log, TemplateId Attributes)
{
    /// <summary>Whether contents may have several owners: the template of contents is counted.</summary>
    public bool SharesData { get; init; }

    /// <summary>Whether the template of records knows packs.</summary>
    public bool HasPacks { get; init; }

    /// <summary>The templates of an existing file system, found by the template of its root.</summary>
    /// <exception cref="CffsException">The root is not C-FFS's (NotCffs).</exception>
    public static CffsTemplateIds Find(XnVolume disk, TemplateId super)
    {
        string[] names =
        [
            CffsTemplates.SuperName, CffsTemplates.SlotsName, CffsTemplates.FileTreeName, CffsTemplates.DirectoryTreeName,
            CffsTemplates.DataName, CffsTemplates.IndexName, CffsTemplates.LogName, CffsTemplates.AttributesName,
        ];
        for (uint i = 0; i < names.Length; i++)
        {
            // Installed as one batch, they have consecutive numbers.
            if (!disk.TryGetTemplate(new TemplateId(super.Value + i), out TemplateSource? source) || source!.Name != names[i])
            {
                throw new CffsException(CffsError.NotCffs, "the XN root is no C-FFS file system");
            }
        }

        uint first = super.Value;
        bool sharesData = disk.TryGetTemplate(new TemplateId(first + 4), out TemplateSource? data) && (data!.Flags & TemplateFlags.Counted) != 0;
        bool hasPacks = disk.TryGetTemplate(new TemplateId(first + 1), out TemplateSource? slots) && KnowsPacks(slots!);
        return new CffsTemplateIds(
            super, new TemplateId(first + 1), new TemplateId(first + 2), new TemplateId(first + 3),
            new TemplateId(first + 4), new TemplateId(first + 5), new TemplateId(first + 6), new TemplateId(first + 7)) { SharesData = sharesData, HasPacks = hasPacks };
    }

    /// <summary>Installs (or finds) the templates on a disk.</summary>
    public static CffsTemplateIds Install(XnVolume disk, Credential key)
    {
        // A disk that has our templates from before contents could be shared, or packed, or names were guarded, keeps them: ours have consecutive numbers, and most of the batches are the same.
        bool sharesData = true;
        bool hasPacks = true;
        bool guardsNames = true;
        for (uint id = 1; disk.TryGetTemplate(new TemplateId(id), out TemplateSource? source); id++)
        {
            sharesData &= source!.Name != CffsTemplates.DataName || (source.Flags & TemplateFlags.Counted) != 0;
            hasPacks &= source.Name != CffsTemplates.SlotsName || KnowsPacks(source);
            guardsNames &= source.Name != CffsTemplates.SlotsName || source.Approve is not null;
        }

        return Find(disk, disk.InstallTemplates(key, CffsTemplates.Create(sharesData, hasPacks, guardsNames))[0]);
    }

    private static bool KnowsPacks(TemplateSource slots) => slots.Owns is { } owns && owns.Instructions.Span.SequenceEqual(CffsTemplates.SlotOwnsWithPacks.Instructions.Span);
}
