// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Storage.XN;

/// <summary>
/// One disk, multiplexed between file systems that do not trust each other (SOSP '97, section 4). XN knows blocks, who points to them and in which order they may
/// reach the disk; it knows no format, starts no I/O by itself, evicts nothing and allocates no frame behind anyone's back.
/// <para>Thread-safe. All state is under one short lock that is never held over I/O; every call first decides, changing nothing, and then applies, which cannot fail.</para>
/// <para>A block's life: <c>Apply</c> with <c>ClaimAllocate</c> → <c>Bind</c> a frame → edits or <c>MarkDirty</c> → <c>WriteBack</c> → <c>Flush</c> → <c>Unbind</c>; later <c>Read</c>.</para>
/// </summary>
public sealed partial class XnVolume : IDisposable
{
    private readonly Lock _lock = new();
    private readonly BlockDevice _device;
    private readonly FramePool _frames;
    private readonly XnSuperblockPair _superblock;
    private readonly TemplateCatalogue _templates;
    private readonly RootCatalogue _roots;
    private readonly DiskFreeMap _freeMap;
    private readonly BlockRegistry _registry;
    private readonly OrderEdges _order = new();
    private readonly WillFreeList _willFree = new();
    private readonly Dictionary<ulong, int> _multiplyOwned;
    private readonly TransactionCheck _check;
    private readonly AccessDecisions _access = new();
    private readonly List<BlockExtent> _paid = [];
    private readonly FrameNumber[] _reserve;
    private TaskCompletionSource? _readDone;
    private bool _unclean;
    private bool _closed;

    internal XnVolume(
        BlockDevice device, XnSuperblockPair superblock, TemplateCatalogue templates, RootCatalogue roots, DiskFreeMap freeMap, XnRecoveryReport? recovery,
        Dictionary<ulong, int> multiplyOwned, bool isReadOnly, FrameNumber[] reserve, TableMemory? registryMemory)
    {
        _logFrames = isReadOnly ? [] : TakeLogFrames(device.Frames, superblock.Current);
        _reserve = reserve;
        superblock.Reserve = reserve;
        roots.Reserve = reserve;
        _device = device;
        _frames = device.Frames;
        _superblock = superblock;
        _templates = templates;
        _registry = new BlockRegistry(templates, registryMemory);
        _roots = roots;
        _freeMap = freeMap;
        _multiplyOwned = multiplyOwned;
        _check = new TransactionCheck(this, _registry, freeMap);
        Recovery = recovery;
        IsReadOnly = isReadOnly;
        OwnerName = CapabilityName.Create(superblock.Current.OwnerName);
    }

    /// <summary>The disk.</summary>
    public BlockDevice Device => _device;

    /// <summary>The frame pool that blocks are bound to.</summary>
    public FramePool Frames => _frames;

    /// <summary>Random identity of the volume.</summary>
    public Guid VolumeId => _superblock.Current.VolumeId;

    /// <summary>The capability name that owns the volume: installs templates, makes roots.</summary>
    public CapabilityName OwnerName { get; }

    /// <summary>Blocks of 4096 bytes on the disk.</summary>
    public ulong BlockCount => _superblock.Current.BlockCount;

    /// <summary>First block that is not XN's own.</summary>
    public BlockNumber DataStart => new(_superblock.Current.DataStart);

    /// <summary>No change is accepted.</summary>
    public bool IsReadOnly { get; }

    /// <summary>What recovery found when the volume was attached after a crash; null when it had been unmounted.</summary>
    public XnRecoveryReport? Recovery { get; }

    /// <summary>The free map, 1 = free. Exported: reading needs no call. Choosing blocks is the library OS's business.</summary>
    public ReadOnlySpan<ulong> FreeMap => _freeMap.Words;

    /// <summary>Blocks that may be allocated.</summary>
    public ulong FreeBlocks => _freeMap.FreeBlocks;

    /// <summary>Blocks that become free when the removal of the last pointer to them is durable, or, where that is so already, at the next <see cref="Checkpoint"/>.</summary>
    public ulong WillFreeBlocks => _willFree.Blocks + (ulong)_live.FreedCount;

    /// <summary>Blocks with changes that were not handed to the device.</summary>
    public int DirtyBlocks => _registry.DirtyCount;

    /// <summary>Blocks whose write is not durable yet, be it still under way: when there are none, and no dirty ones (<see cref="DirtyBlocks"/>, read first), everything is durable, whoever has written it.</summary>
    public int UnflushedBlocks => _unflushed.Count + _underWay;

    /// <summary>Blocks in the registry.</summary>
    public int RegisteredBlocks => _registry.Count;

    /// <summary>Bytes of memory of the registry, outside the garbage-collected heap: 60 for each block it has held at once, and 72 for each on its way to the disk.</summary>
    public long RegistryBytes
    {
        get
        {
            lock (_lock)
            {
                return _registry.SizeBytes;
            }
        }
    }

    /// <summary>Where XN's own structures lie.</summary>
    public XnLayoutInfo Layout => new(
        new BlockExtent(new BlockNumber(0), 2),
        new BlockExtent(new BlockNumber(_superblock.Current.TemplateStart), (uint)(2 * _superblock.Current.TemplateSlots)),
        new BlockExtent(new BlockNumber(_superblock.Current.RootsStart), 2),
        new BlockExtent(new BlockNumber(_superblock.Current.FreeMapStart), (uint)_superblock.Current.FreeMapBlocks),
        new BlockExtent(new BlockNumber(_superblock.Current.LogStart), (uint)_superblock.Current.LogBlocks));

    /// <summary>A copy of the counters.</summary>
    public XnCounters Counters
    {
        get
        {
            lock (_lock)
            {
                return new XnCounters(_applies, _check.Owns.Runs, _check.Owns.Instructions, _blocksRead, _blocksWritten, _flushes, _sharedFlushes, _commits, _checkpoints);
            }
        }
    }

    /// <summary>What is in core and on its way to the disk. Takes the volume's lock for a few microseconds, however much there is.</summary>
    /// <exception cref="ObjectDisposedException">The volume is closed.</exception>
    public RegistrySnapshot Observe()
    {
        lock (_lock)
        {
            ThrowIfClosed();
            return new RegistrySnapshot(
                BlockCount, FreeBlocks, WillFreeBlocks, _registry.Count, _registry.DirtyCount, _registry.WriteStates, _unflushed.Count, _live.Count,
                _superblock.Current.LogBlocks, _logPosition, _registry.SizeBytes, [.. _registry.Uses()], Counters);
        }
    }

    /// <summary>
    /// How many pointers lead to a block in use; 1 but for blocks of a counted template that are shared, and for what recovery reached through two pointers because a crash interrupted a move.
    /// </summary>
    public int OwnerCount(BlockNumber block)
    {
        lock (_lock)
        {
            return Owners(block);
        }
    }

    /// <summary>How many blocks from <paramref name="first"/> on, <paramref name="limit"/> at most, have as many owners as it has (<see cref="OwnerCount"/>).</summary>
    public uint OwnerRun(BlockNumber first, uint limit, out int owners)
    {
        lock (_lock)
        {
            owners = Owners(first);
            uint run = 1;
            while (run < limit && Owners(first + run) == owners)
            {
                run++;
            }

            return Math.Min(run, limit);
        }
    }

    /// <summary>Blocks to which more than one pointer leads. Each is one block of the disk, however many own it.</summary>
    public long SharedBlocks
    {
        get
        {
            lock (_lock)
            {
                return _multiplyOwned.Count;
            }
        }
    }

    /// <summary>Whether there may be a block that <see cref="FixedRun"/> calls fixed. Costs nothing, and errs only while another thread shares blocks.</summary>
    public bool HasFixedBlocks => _multiplyOwned.Count > 0 || _willFree.HasHolds;

    /// <summary>
    /// How many blocks from <paramref name="first"/> on, <paramref name="limit"/> at most, are alike: fixed, which means that other pointers lead to them or may still do so on the disk, and that
    /// writes to them are refused as <see cref="XnStatus.Shared"/>; or not.
    /// </summary>
    public uint FixedRun(BlockNumber first, uint limit, out bool isFixed)
    {
        lock (_lock)
        {
            isFixed = IsFixed(first);
            uint run = 1;
            while (run < limit && IsFixed(first + run) == isFixed)
            {
                run++;
            }

            return Math.Min(run, limit);
        }
    }

    /// <summary>
    /// The registry's entry of a block. Reads what others are changing, without a lock: the entry is whole, as it was at one moment of the call.
    /// </summary>
    public bool TryGetEntry(BlockNumber block, out RegistryEntryInfo info)
    {
        const int TriesMax = 100;
        for (int i = 0; i < TriesMax; i++)
        {
            if (_registry.TryRead(block.Value, out bool found, out RegistryEntry entry, out WriteState state))
            {
                info = found ? Describe(entry, state) : default;
                return found;
            }

            Thread.SpinWait(8);
        }

        // Changed all the time.
        lock (_lock)
        {
            int index = _registry.Find(block.Value);
            info = index < 0 ? default : Describe(index);
            return index >= 0;
        }
    }

    /// <summary>A copy of the whole registry, in no order.</summary>
    public IReadOnlyList<RegistryEntryInfo> SnapshotRegistry()
    {
        lock (_lock)
        {
            return [.. _registry.Indices().Select(Describe)];
        }
    }

    /// <summary>
    /// The frame of a block that is in core with valid contents, retained for the caller. The block's guard must grant the credential reading: false otherwise, as for a block that
    /// is not in core (<see cref="Read"/> says which it is).
    /// </summary>
    public bool TryGetFrame(Credential credential, BlockNumber block, out FrameNumber frame) => TryGetFrame(credential, block, 0, out frame);

    /// <summary>As <see cref="TryGetFrame(Credential, BlockNumber, out FrameNumber)"/>, by one who looks at the bytes from <paramref name="fromByte"/> on at once.</summary>
    internal bool TryGetFrame(Credential credential, BlockNumber block, int fromByte, out FrameNumber frame)
    {
        if (TryPeekAndRetain(credential, block, fromByte, out frame))
        {
            return true;
        }

        lock (_lock)
        {
            int index = _registry.Find(block.Value);
            if (index >= 0)
            {
                ref RegistryEntry entry = ref _registry[index];
                if ((entry.Flags & (EntryFlags.Framed | EntryFlags.Reading)) == EntryFlags.Framed && CheckAccess(credential, entry.Guard, XnOperation.Read) == XnStatus.Ok)
                {
                    frame = new FrameNumber(entry.Frame);
                    _frames.Prefetch(frame, fromByte);
                    _frames.Retain(frame);
                    return true;
                }
            }
        }

        frame = default;
        return false;
    }

    /// <summary>As <see cref="TryGetFrame(Credential, BlockNumber, int, out FrameNumber)"/>, without the lock; false says nothing. What the frame was at first it still was when it was retained.</summary>
    private bool TryPeekAndRetain(Credential credential, BlockNumber block, int fromByte, out FrameNumber frame)
    {
        uint peek = BeginPeek();
        if (!TryPeek(credential, block, fromByte, out frame) || !_frames.TryRetain(frame))
        {
            return false;
        }

        if (!IsUnchanged(peek))
        {
            _frames.Release(frame);
            return false;
        }

        return true;
    }

    /// <summary>
    /// Begins to look at blocks in core without the lock and without holding their frames, which costs no atomic operation: of what <see cref="TryPeek"/> leads to, and of the bytes there, nothing is to be
    /// believed before <see cref="IsUnchanged"/>. Bytes that are copied meanwhile may be anything.
    /// </summary>
    internal uint BeginPeek() => _registry.Sequence;

    /// <summary>Whether nothing has changed since <see cref="BeginPeek"/>, which was not during a change either: blocks were where they were seen, and transactions have not touched their bytes.</summary>
    internal bool IsUnchanged(uint peek)
    {
        Volatile.ReadBarrier();
        return (peek & 1) == 0 && _registry.Sequence == peek;
    }

    /// <summary>
    /// Where a block in core is that the credential may read, as it seems (<see cref="BeginPeek"/>); the bytes from <paramref name="fromByte"/> on are asked for. False says nothing: neither that it is not in
    /// core, nor, since only the last answer about a guard is looked at, that it may not be read.
    /// </summary>
    internal bool TryPeek(Credential credential, BlockNumber block, int fromByte, out FrameNumber frame)
    {
        frame = default;
        if (_access.Last(XnOperation.Read) is not { } grant || grant.Credential != credential || !grant.By.IsValid)
        {
            return false;
        }

        int index = _registry.Peek(block.Value);
        if (index == BlockRegistry.None || !IsReadableBy(grant, _registry[index]))
        {
            return false;
        }

        frame = new FrameNumber(_registry[index].Frame);
        if (frame.Value >= (uint)_frames.FrameCount)
        {
            return false;
        }

        _frames.Prefetch(frame, fromByte);
        return true;
    }

    /// <summary>Whether what is in core of a block has the guard that granted it, which has not changed since. Without the lock it is to be believed as what it reads is.</summary>
    private bool IsReadableBy(AccessGrant grant, in RegistryEntry entry)
    {
        const EntryFlags Wanted = EntryFlags.Framed | EntryFlags.Reading;
        ref readonly RegistryEntry guard = ref _registry[grant.Index];
        return (entry.Flags & Wanted) == EntryFlags.Framed && entry.Guard == grant.Guard
            && guard.Block == grant.Guard && guard.Version == grant.Version && (guard.Flags & Wanted) == EntryFlags.Framed;
    }

    /// <summary>The caller will soon ask for this block, and perhaps for its neighbours: what finds them comes near meanwhile. Nothing is asked of the caller and nothing shown.</summary>
    internal void Prefetch(BlockNumber block) => _registry.Prefetch(block.Value);

    /// <summary>As <see cref="TryGetFrame(Credential, BlockNumber, out FrameNumber)"/>, of a run of blocks: as many from the first one on as are in core and allowed.</summary>
    /// <param name="credential">Who asks.</param>
    /// <param name="first">The first block.</param>
    /// <param name="frames">As many frames as blocks are wanted; those that there are, in front, are retained for the caller.</param>
    /// <returns>How many there are.</returns>
    public int GetFrames(Credential credential, BlockNumber first, Span<FrameNumber> frames)
    {
        lock (_lock)
        {
            // Looked at in one pass and counted in another: what is looked at arrives from memory at once for several entries, which an atomic count between two of them would prevent.
            int found = 0;
            int index = BlockRegistry.None;
            ulong allowed = ulong.MaxValue;
            for (; found < frames.Length; found++)
            {
                index = _registry.FindNext(index, first.Value + (ulong)found);
                if (index < 0)
                {
                    break;
                }

                ref RegistryEntry entry = ref _registry[index];
                if ((entry.Flags & (EntryFlags.Framed | EntryFlags.Reading)) != EntryFlags.Framed
                    || (entry.Guard != allowed && CheckAccess(credential, entry.Guard, XnOperation.Read) != XnStatus.Ok))
                {
                    break;
                }

                allowed = entry.Guard;
                frames[found] = new FrameNumber(entry.Frame);
                _frames.Prefetch(frames[found]);
            }

            for (int i = 0; i < found; i++)
            {
                _frames.Retain(frames[i]);
            }

            return found;
        }
    }

    /// <summary>Closes the volume without writing anything, as a crash would. After <see cref="Unmount"/> nothing is lost. Never throws.</summary>
    public void Dispose()
    {
        // Whatever becomes of it: it reads from frames.
        Task.WhenAny(_homeAhead).Wait();
        using (new Changing(this))
        {
            if (_closed)
            {
                return;
            }

            _closed = true;
            ForgetAhead();
            _live.Dispose(_frames);
            foreach (int index in _registry.Indices())
            {
                ref RegistryEntry entry = ref _registry[index];
                if (entry.Has(EntryFlags.Framed))
                {
                    _frames.Release(new FrameNumber(entry.Frame));
                    entry.Flags &= ~EntryFlags.Framed;
                }
            }
        }

        foreach (FrameNumber frame in _reserve)
        {
            _frames.Release(frame);
        }

        foreach (FrameNumber frame in _logFrames)
        {
            _frames.Release(frame);
        }

        _flushTurn.Dispose();
        _logTurn.Dispose();
        _replayed?.Dispose();
    }

    internal BlockRegistry Registry => _registry;

    internal Template? Template(TemplateId id) => _templates.Find(id);

    internal bool IsInDataRegion(in BlockExtent extent) =>
        extent.First.Value >= _superblock.Current.DataStart && extent.First.Value < BlockCount && extent.Count <= BlockCount - extent.First.Value;

    internal ReadOnlySpan<byte> FrameBytes(int index) => _frames.Bytes(new FrameNumber(_registry[index].Frame));

    /// <summary>As <see cref="OwnerCount"/>, under the lock.</summary>
    internal int Owners(BlockNumber block) => _multiplyOwned.Count > 0 && _multiplyOwned.TryGetValue(block.Value, out int owners) ? owners : 1;

    private RegistryEntryInfo Describe(int index) =>
        Describe(_registry[index], _registry[index].WriteState == BlockRegistry.None ? new WriteState { Durable = _registry[index].Version } : _registry.StateOf(index));

    internal static RegistryEntryInfo Describe(in RegistryEntry entry, in WriteState state) => new(
        new BlockNumber(entry.Block), new TemplateId(entry.Template), new BlockNumber(entry.Parent), entry.ParentPartition,
        (entry.Flags & (EntryFlags.Framed | EntryFlags.Reading)) == EntryFlags.Framed, entry.Has(EntryFlags.Dirty), entry.Has(EntryFlags.Reading),
        entry.Has(EntryFlags.Writing), !entry.Has(EntryFlags.Uninitialised), !entry.Has(EntryFlags.Volatile), state.Pending, entry.Version, state.Durable);

    /// <summary>Whether a credential may do something to a block: the nearest guard above it decides.</summary>
    private XnStatus CheckAccess(Credential credential, ulong guardBlock, XnOperation operation)
    {
        int guard = _registry.Find(guardBlock);
        if (guard < 0 || !_registry[guard].Has(EntryFlags.Framed) || _registry[guard].Has(EntryFlags.Reading))
        {
            return XnStatus.NotInCore;
        }

        ref RegistryEntry entry = ref _registry[guard];
        return _access.Check(credential, _registry.TemplateOf(guard), guardBlock, guard, entry.Version, FrameBytes(guard), operation) ? XnStatus.Ok : XnStatus.AccessDenied;
    }

    private bool IsOwner(Credential credential)
    {
        ArgumentNullException.ThrowIfNull(credential);
        foreach (Capability capability in credential.Capabilities)
        {
            if (capability.IsValid && (capability.Rights & Rights.Write) != 0 && capability.Name.IsPrefixOf(OwnerName))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>The lock, for changes of the registry: readers without it see that one is under way.</summary>
    private readonly ref struct Changing
    {
        private readonly XnVolume _volume;

        public Changing(XnVolume volume)
        {
            _volume = volume;
            volume._lock.Enter();
            volume._registry.BeginChange();
        }

        public void Dispose()
        {
            _volume._registry.EndChange();
            _volume._lock.Exit();
        }
    }

    private void ThrowIfClosed() => ObjectDisposedException.ThrowIf(_closed, this);
}

/// <summary>Where XN's own structures lie on a disk.</summary>
/// <param name="Superblocks">The two superblock copies.</param>
/// <param name="Templates">The type catalogue, two copies of each template.</param>
/// <param name="Roots">The two copies of the root catalogue.</param>
/// <param name="FreeMap">The free-map snapshot.</param>
/// <param name="Log">The commit log; no blocks on a volume without one.</param>
public readonly record struct XnLayoutInfo(BlockExtent Superblocks, BlockExtent Templates, BlockExtent Roots, BlockExtent FreeMap, BlockExtent Log);

/// <summary>What XN has done since the volume was attached.</summary>
/// <param name="Transactions">Transactions applied.</param>
/// <param name="OwnsRuns">Runs of <c>owns</c> functions.</param>
/// <param name="OwnsInstructions">Instructions executed in them.</param>
/// <param name="BlocksRead">Blocks read in.</param>
/// <param name="BlocksWritten">Blocks written back.</param>
/// <param name="Flushes">Flushes sent to the device.</param>
/// <param name="SharedFlushes">Calls of Flush that were served by another caller's flush.</param>
/// <param name="Commits">Transactions written to the commit log.</param>
/// <param name="Checkpoints">Times that the commit log began anew.</param>
public readonly record struct XnCounters(
    long Transactions, long OwnsRuns, long OwnsInstructions, long BlocksRead, long BlocksWritten, long Flushes, long SharedFlushes, long Commits, long Checkpoints);
