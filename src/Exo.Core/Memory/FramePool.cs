// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Text;
using Exo.Capabilities;
using Exo.Core.AddressSpaces;
using Exo.Core.Environments;
using Exo.Core.Linux;
using Exo.Core.Observation;
using Exo.Core.Predicates;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.Memory;

/// <summary>
/// Page frames under physical names: one memory file mapped once, shared, so that the same 4 KiB are at once a page of a
/// buffer cache, a fixed buffer of a disk ring and packet memory.
/// <code>
/// Base                                            frame i is at Base + i * 4096
///  | frame 0 | frame 1 | frame 2 | ...            consecutive numbers are contiguous bytes
/// per frame, managed: references 4 B, owner 4 B, whether ever bound and sleepers 4 B, and one bit in the exported free map
/// </code>
/// Frames are reference-counted: allocation makes the count 1, <see cref="Release"/> to 0 frees. All members are safe to call
/// from any thread, and none allocates after an owner's first frame. Memory becomes resident when a frame is first touched,
/// or 2 MiB at a time where the kernel gives <see cref="FramePoolOptions.LargePages"/>.
/// </summary>
/// <remarks>
/// The accessors by number (<see cref="Bytes(FrameNumber)"/>, <see cref="Address"/>, <see cref="Memory"/>) are for code that
/// already decided who may: inside one process nothing but this API protects the bytes. <see cref="Bind"/> checks.
/// </remarks>
public sealed class FramePool : IRevocable, IDisposable
{
    /// <summary>Bytes in a frame.</summary>
    public const int FrameBytes = 4096;

    private const int CacheLineBytes = 64;

    private const int WasBound = 1;
    private const int WasMapped = 2;
    private const int IsShared = 4;
    private const int OneSleeper = 8;

    private readonly MappedRegion _region;
    private readonly SafeFileHandle _file;
    private readonly FreeMap _freeMap;
    private readonly LargePages _largePages;
    private readonly FrameState[] _states;
    private readonly FrameOwners _owners;
    private readonly FrameAcls _acls;
    private readonly FrameMemory[] _windows;

    // Where bindings hang; made by the first binding to a frame and kept, since a late use may still be leaving.
    private readonly ConcurrentDictionary<uint, BindingPoint> _bindingPoints = new();

    // Where sleepers are listed; made by the first predicate over a frame and kept.
    private readonly ConcurrentDictionary<uint, FrameWatch> _watches = new();
    // The address spaces whose pages frames may be bound to; replaced as a whole.
    private AddressSpace[] _spaces = [];
    private int _users = 1;
    private int _disposed;

    private FramePool(SafeFileHandle file, MappedRegion region, int frameCount, CapabilityAuthority authority, bool largePages)
    {
        _file = file;
        _region = region;
        _freeMap = new FreeMap(frameCount);
        _largePages = new LargePages(region.Address, largePages ? (long)frameCount * FrameBytes : 0);
        _states = new FrameState[frameCount];
        _owners = new FrameOwners(authority);
        _acls = new FrameAcls(_owners);
        _windows = FrameMemory.Windows(this, (long)frameCount * FrameBytes);
        FrameCount = frameCount;
        Authority = authority;
        RootCredential = Credential.Of(authority.Root);
    }

    /// <summary>Frames in the pool.</summary>
    public int FrameCount { get; }

    /// <summary>Frames that are free now. While others allocate, only a hint.</summary>
    public int FreeCount => _freeMap.FreeCount;

    /// <summary>Whose capabilities guard the frames.</summary>
    public CapabilityAuthority Authority { get; }

    /// <summary>The authority's root, ready to present.</summary>
    public Credential RootCredential { get; }

    /// <summary>The exported free map: bit i % 64 of word i / 64 is set while frame i is free. Changes under the reader.</summary>
    public ReadOnlySpan<ulong> FreeMap => _freeMap.Words;

    /// <summary>The memory file, for the reactor that registers it and for mapping it elsewhere in this process.</summary>
    internal SafeFileHandle MemoryFile => _file;

    /// <summary>Where frame 0 is.</summary>
    internal nint BaseAddress
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            nint address = _region.Address;
            ObjectDisposedException.ThrowIf(address == 0, this);
            return address;
        }
    }

    /// <summary>Makes a pool. Takes microseconds for any size: nothing is touched.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Not one whole frame, or more than 2^31 - 64 of them.</exception>
    /// <exception cref="IOException">The system refused the memory file or the mapping.</exception>
    public static unsafe FramePool Create(FramePoolOptions? options = null)
    {
        options ??= new FramePoolOptions();
        long frameCount = options.CapacityBytes / FrameBytes;
        ArgumentOutOfRangeException.ThrowIfLessThan(options.CapacityBytes, FrameBytes, nameof(FramePoolOptions.CapacityBytes));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.CapacityBytes, (int.MaxValue - 63L) * FrameBytes, nameof(FramePoolOptions.CapacityBytes));
        long capacityBytes = frameCount * FrameBytes;

        int fd;
        fixed (byte* name = Encoding.UTF8.GetBytes(options.Name + '\0'))
        {
            fd = Libc.MemoryFileCreate(name, Abi.MFD_CLOEXEC);
        }

        if (fd < 0)
        {
            throw new IOException($"Cannot make a memory file: {Errno.Describe(Errno.Last)}.");
        }

        var file = new SafeFileHandle(fd, ownsHandle: true);
        try
        {
            if (Libc.Truncate(fd, capacityBytes) != 0)
            {
                throw new IOException($"Cannot size a memory file to {capacityBytes} bytes: {Errno.Describe(Errno.Last)}.");
            }

            MappedRegion region = MappedRegion.SharedAligned(fd, capacityBytes, LargePages.PageBytes, Abi.MAP_NORESERVE);
            region.DoNotFork();
            return new FramePool(file, region, (int)frameCount, options.Authority ?? CapabilityAuthority.Create(), options.LargePages);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Allocates any free frame; its count is 1. The bytes are what was left there unless <paramref name="zero"/>.</summary>
    /// <returns>False when no frame is free.</returns>
    /// <exception cref="AccessDeniedException">The credential holds no valid capability of this pool's authority.</exception>
    public bool TryAllocate(Credential owner, out FrameNumber frame, bool zero = false)
    {
        int ownerIndex = OwnerOf(owner);
        if (!_freeMap.TryTakeAny(out uint index))
        {
            frame = default;
            return false;
        }

        frame = new FrameNumber(index);
        Take(frame, ownerIndex, zero);
        return true;
    }

    /// <summary>Allocates that frame; its count is 1.</summary>
    /// <returns>False when it is not free.</returns>
    /// <exception cref="AccessDeniedException">The credential holds no valid capability of this pool's authority.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no such frame.</exception>
    public bool TryAllocate(Credential owner, FrameNumber wanted, bool zero = false)
    {
        CheckRange(wanted, 1);
        int ownerIndex = OwnerOf(owner);
        if (!_freeMap.TryTake(wanted.Value))
        {
            return false;
        }

        Take(wanted, ownerIndex, zero);
        return true;
    }

    /// <summary>Allocates <paramref name="count"/> frames that follow one another in memory; each has a count of 1 and is released by itself.</summary>
    /// <returns>False when no such run is free.</returns>
    /// <exception cref="AccessDeniedException">The credential holds no valid capability of this pool's authority.</exception>
    public bool TryAllocateRun(Credential owner, int count, out FrameNumber first, bool zero = false)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        int ownerIndex = OwnerOf(owner);
        if (!_freeMap.TryTakeRun(count, out uint index))
        {
            first = default;
            return false;
        }

        first = new FrameNumber(index);
        for (uint i = 0; i < (uint)count; i++)
        {
            Take(new FrameNumber(index + i), ownerIndex, zero);
        }

        return true;
    }

    /// <summary>One more holder. The frame must be allocated.</summary>
    public void Retain(FrameNumber frame)
    {
        ref int references = ref State(frame).References;
        int seen = Volatile.Read(ref references);
        while (true)
        {
            Invariant.Check(seen > 0);
            int before = Interlocked.CompareExchange(ref references, seen + 1, seen);
            if (before == seen)
            {
                return;
            }

            seen = before;
        }
    }

    /// <summary>
    /// One holder more, of a frame that may be free: false then, or when others count it at that moment. For who believes that the frame is something, has no hold of it, and looks afterwards whether it
    /// still is; if not, he releases it again.
    /// </summary>
    internal bool TryRetain(FrameNumber frame)
    {
        ref int references = ref State(frame).References;
        int seen = Volatile.Read(ref references);
        return seen > 0 && Interlocked.CompareExchange(ref references, seen + 1, seen) == seen;
    }

    /// <summary>
    /// One holder less; the last one frees the frame: every binding to it ends, and once the uses in progress have left it can
    /// be allocated again. Releasing a free frame is a broken invariant.
    /// </summary>
    public void Release(FrameNumber frame)
    {
        ref FrameState state = ref State(frame);
        int seen = Volatile.Read(ref state.References);
        while (true)
        {
            Invariant.Check(seen > 0);
            int before = Interlocked.CompareExchange(ref state.References, seen - 1, seen);
            if (before == seen)
            {
                break;
            }

            seen = before;
        }

        if (seen == 1)
        {
            // Nobody holds the frame and its bit is still clear, so nobody can take it: it is ours to clean. Owner first,
            // bindings second (see BindingPoint); the bit is set when the last use in progress has left.
            _acls.Forget(frame, Interlocked.Exchange(ref state.Owner, 0));
            if (CloseBindings(frame) is { } epoch)
            {
                GiveWhenDrained(frame.Value, epoch);
            }
            else
            {
                _freeMap.Give(frame.Value);
            }
        }
    }

    /// <summary>Holders of the frame; 0 = free.</summary>
    public int ReferenceCount(FrameNumber frame) => Volatile.Read(ref State(frame).References);

    /// <summary>What the frames are used for. Reads 12 bytes for each frame and takes no lock: others go on meanwhile.</summary>
    /// <param name="ownersMax">Owners to name at most; those of the most frames. 0 or more.</param>
    public FramesSnapshot Observe(int ownersMax = 64)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(ownersMax);
        ReadOnlySpan<ulong> freeMap = FreeMap;
        int held = 0, draining = 0, shared = 0, watched = 0, exported = 0;
        int[] byOwner = new int[_owners.Count + 1];
        for (int i = 0; i < _states.Length; i++)
        {
            FrameState state = _states[i];
            if (state.References == 0)
            {
                draining += (freeMap[i / 64] >> (i % 64) & 1) == 0 ? 1 : 0;
                continue;
            }

            held++;
            shared += state.References > 1 ? 1 : 0;
            watched += state.Bound >= OneSleeper ? 1 : 0;
            exported += (state.Bound & IsShared) != 0 ? 1 : 0;

            // Owners that came while this was counted are not named.
            int owner = Math.Abs(state.Owner);
            byOwner[owner < byOwner.Length ? owner : 0]++;
        }

        int pinned = _bindingPoints.Count(point => point.Value.IsInUse && _states[point.Key].References > 0);
        FrameOwnerSnapshot[] owners =
        [
            .. Enumerable.Range(1, byOwner.Length - 1)
                .Where(owner => byOwner[owner] > 0)
                .OrderByDescending(owner => byOwner[owner])
                .Select(owner => new FrameOwnerSnapshot(_owners.ListOf(owner)[0]!.Value.Name.ToString(), byOwner[owner])),
        ];
        return new FramesSnapshot(
            FrameCount, FrameCount - held - draining, held, draining, shared, Math.Min(pinned, held), watched, exported, owners.Length > ownersMax ? owners[..ownersMax] : owners, owners.Length <= ownersMax);
    }

    /// <summary>The frame's 4,096 bytes. The frame must be allocated.</summary>
    public Span<byte> Bytes(FrameNumber frame) => Bytes(frame, 1);

    /// <summary>The bytes of a run of frames, all of them allocated.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The run leaves the pool or has 2 GiB or more.</exception>
    public unsafe Span<byte> Bytes(FrameNumber first, int frameCount)
    {
        // CheckHeld: the run lies inside the pool; the multiplication below cannot overflow.
        ArgumentOutOfRangeException.ThrowIfGreaterThan(frameCount, int.MaxValue / FrameBytes);
        CheckHeld(first, frameCount);
        return new Span<byte>((byte*)BaseAddress + (long)first.Value * FrameBytes, frameCount * FrameBytes);
    }

    /// <summary>Asks the processor for the frame's count and for the bytes that will be looked at first: for who is about to retain it and to read it.</summary>
    internal unsafe void Prefetch(FrameNumber frame, int fromByte = 0)
    {
        Exo.Core.Memory.Prefetch.Line(in State(frame));
        byte* bytes = (byte*)BaseAddress + ((long)frame.Value * FrameBytes) + fromByte;
        Exo.Core.Memory.Prefetch.Line(in *bytes);
        Exo.Core.Memory.Prefetch.Line(in *(bytes + CacheLineBytes));
    }

    /// <summary>Where the frame is in this process. Valid until the pool is disposed.</summary>
    public nint Address(FrameNumber frame)
    {
        CheckRange(frame, 1);
        return BaseAddress + (nint)frame.Value * FrameBytes;
    }

    /// <summary>The bytes of a run of frames as <see cref="Memory{T}"/>; costs no allocation. All must be allocated.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The run leaves the pool or has more than 1 GiB.</exception>
    public Memory<byte> Memory(FrameNumber first, int frameCount)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(frameCount, (int)(FrameMemory.WindowBytes / FrameBytes));
        CheckHeld(first, frameCount);
        long offset = (long)first.Value * FrameBytes;
        return _windows[offset / FrameMemory.WindowBytes].Slice((int)(offset % FrameMemory.WindowBytes), frameCount * FrameBytes);
    }

    /// <summary>Whether a credential has a right to a frame. Takes tens of nanoseconds and allocates nothing. A free frame refuses everybody.</summary>
    public AccessRefusal Check(Credential credential, FrameNumber frame, Rights wanted)
    {
        ArgumentNullException.ThrowIfNull(credential);
        int owner = Volatile.Read(ref State(frame).Owner);
        return owner == 0 ? AccessRefusal.NotDominated : _acls.ListOf(frame, owner).Check(credential, wanted);
    }

    /// <summary>
    /// Changes entry <paramref name="index"/> of a frame's access-control list (null clears it). Every binding to the frame ends;
    /// uses in progress are waited for.
    /// </summary>
    /// <exception cref="InvalidOperationException">The calling thread is inside a use of a binding.</exception>
    public bool TryModifyAcl(Credential by, FrameNumber frame, int index, AclEntry? entry, out AccessRefusal refusal)
    {
        ArgumentNullException.ThrowIfNull(by);
        BindingPoint.ThrowIfInUse();
        ref FrameState state = ref State(frame);
        refusal = Check(by, frame, Rights.ModifyAcl);
        if (refusal != AccessRefusal.None || !_acls.TryModify(by, frame, ref state.Owner, index, entry, out refusal))
        {
            return false;
        }

        EndBindings(frame);
        return true;
    }

    /// <summary>
    /// Checks the right once and hands out a binding that is cheap to use. It does not keep the frame: once the frame is freed,
    /// or <see cref="TryUnbind"/> or a change of the access-control list took the binding back, using it is refused.
    /// </summary>
    /// <exception cref="AccessDeniedException">The credential lacks the right.</exception>
    public SecureBinding<Frame> Bind(Credential credential, FrameNumber frame, Rights rights)
    {
        // The epoch first, the right second: if the frame is freed and given to somebody else meanwhile, the binding is born stale.
        Interlocked.Or(ref State(frame).Bound, WasBound);
        BindingEpoch epoch = PointOf(frame).Current;
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        AccessRefusal refusal = Check(credential, frame, rights);
        return refusal == AccessRefusal.None
            ? new SecureBinding<Frame>(epoch, new Frame(this, frame), rights)
            : throw new AccessDeniedException(frame.ToString(), rights, refusal);
    }

    /// <summary>
    /// Takes back every binding to a frame; uses in progress are waited for. Needs the right to modify its access-control list.
    /// </summary>
    /// <exception cref="InvalidOperationException">The calling thread is inside a use of a binding.</exception>
    public bool TryUnbind(Credential by, FrameNumber frame, out AccessRefusal refusal)
    {
        BindingPoint.ThrowIfInUse();
        refusal = Check(by, frame, Rights.ModifyAcl);
        if (refusal != AccessRefusal.None)
        {
            return false;
        }

        EndBindings(frame);
        return true;
    }

    /// <summary>
    /// The frame has changed: whose predicates over it hold now wakes. To be called by those who wrote without a use that could
    /// write, or from elsewhere. Without sleepers it costs a fence and a load.
    /// </summary>
    public void Ring(FrameNumber frame)
    {
        Interlocked.MemoryBarrier();
        RingFenced(frame);
    }

    /// <summary>
    /// Gives the memory back; at once, or when the last device on this pool is disposed. Spans, memories and addresses taken
    /// from the pool must not be used after that. Bindings end; uses in progress keep the memory until they have left.
    /// </summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            foreach (BindingPoint point in _bindingPoints.Values)
            {
                if (point.Close() is { } epoch)
                {
                    Interlocked.Increment(ref _users);
                    epoch.WhenDrained(RemoveUser);
                }
            }

            RemoveUser();
        }
    }

    /// <summary>A device that may have the kernel write into frames: the mapping stays until <see cref="RemoveUser"/>.</summary>
    internal void AddUser()
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        Interlocked.Increment(ref _users);
    }

    /// <summary>The counterpart of <see cref="AddUser"/>.</summary>
    internal void RemoveUser()
    {
        int left = Interlocked.Decrement(ref _users);
        Invariant.Check(left >= 0);
        if (left == 0)
        {
            _region.Dispose();
            _file.Dispose();
        }
    }

    /// <inheritdoc/>
    ResourceKind IRevocable.Kind => ResourceKind.Frames;

    /// <inheritdoc/>
    void IRevocable.Repossess(RepossessionOrder order)
    {
        // A frame listed by an environment that never owned it stays with its owner.
        ArgumentNullException.ThrowIfNull(order);
        int owner = order.Number < (ulong)FrameCount ? Volatile.Read(ref _states[order.Number].Owner) : 0;
        var frame = new FrameNumber((uint)order.Number);
        if (owner != 0 && order.Holder.Name.IsPrefixOf(_acls.ListOf(frame, owner)[0]!.Value.Name))
        {
            Repossess(frame);
        }
    }

    /// <summary>
    /// Takes a frame away from its owner by force: no credential but the root's governs it any more, every binding ends, and one
    /// holder is gone. It can be allocated again when the other holders (a transfer in flight) and the uses in progress have left.
    /// </summary>
    private void Repossess(FrameNumber frame)
    {
        int root = _owners.IndexOf(RootCredential);
        int before = Interlocked.Exchange(ref State(frame).Owner, root);
        Invariant.Check(before != 0);
        _acls.Forget(frame, before);
        EndMappings(frame);
        CloseBindings(frame);
        Release(frame);
    }

    // By itself, so that releasing a frame nobody bound makes no closure.
    private void GiveWhenDrained(uint frame, BindingEpoch epoch) => epoch.WhenDrained(() => _freeMap.Give(frame));

    private void EndBindings(FrameNumber frame)
    {
        EndMappings(frame);
        CloseBindings(frame)?.WaitUntilDrained();
    }

    private BindingEpoch? CloseBindings(FrameNumber frame) =>
        (Volatile.Read(ref State(frame).Bound) & WasBound) != 0 ? PointOf(frame).Close() : null;

    /// <summary>
    /// Every page that the frame is bound to becomes missing. Whoever binds sets the bit first and checks the right second, under the lock of its space; here the right has changed, and the bit is looked
    /// at second. So either the bit is seen and the space is asked, which waits for that lock, or the check fails. Not needed where the last holder goes: a page is a holder.
    /// </summary>
    private void EndMappings(FrameNumber frame)
    {
        Interlocked.MemoryBarrier();
        if ((Volatile.Read(ref State(frame).Bound) & WasMapped) == 0)
        {
            return;
        }

        foreach (AddressSpace space in Volatile.Read(ref _spaces))
        {
            space.Revoke(frame);
        }
    }

    /// <summary>A space whose pages frames can be bound to. It keeps the memory until <see cref="Detach"/>.</summary>
    internal void Attach(AddressSpace space)
    {
        AddUser();
        lock (_bindingPoints)
        {
            Volatile.Write(ref _spaces, [.. _spaces, space]);
        }
    }

    /// <summary>The counterpart of <see cref="Attach"/>: nothing is bound to its pages any more.</summary>
    internal void Detach(AddressSpace space)
    {
        lock (_bindingPoints)
        {
            Volatile.Write(ref _spaces, [.. _spaces.Where(other => other != space)]);
        }

        RemoveUser();
    }

    /// <summary>The frame is about to be bound to a page, unless the right is found to be lacking. A full fence.</summary>
    /// <exception cref="NotSupportedException">The frame's memory is shared with another process.</exception>
    internal void NoteMapping(FrameNumber frame)
    {
        if ((Interlocked.Or(ref State(frame).Bound, WasMapped) & IsShared) != 0)
        {
            throw new NotSupportedException($"{frame} is shared with another process; it cannot be bound to a page.");
        }
    }

    /// <summary>
    /// Takes a run of free frames and gives it memory of its own that another process can map, zero, and nothing else of the pool. No device may have registered the pool's frames with the kernel: it would go on with the old
    /// memory (<see cref="Blocks.BlockDeviceOptions.RegisterFrames"/>).
    /// </summary>
    /// <returns>Null when no such run is free.</returns>
    /// <exception cref="IOException">The system refused.</exception>
    internal SharedFrames? Share(int count, string name, bool readOnlyForOthers)
    {
        if (!TryAllocateRun(RootCredential, count, out FrameNumber first))
        {
            return null;
        }

        SharedMemory? memory = null;
        try
        {
            memory = SharedMemory.Create(name, (long)count * FrameBytes, readOnlyForOthers);
            _region.MapOver((long)first.Value * FrameBytes, memory);
        }
        catch
        {
            memory?.Dispose();
            for (uint i = 0; i < (uint)count; i++)
            {
                Release(new FrameNumber(first.Value + i));
            }

            throw;
        }

        for (uint i = 0; i < (uint)count; i++)
        {
            Interlocked.Or(ref _states[first.Value + i].Bound, IsShared);
        }

        return new SharedFrames(this, first, count, memory);
    }

    /// <summary>The counterpart of <see cref="Share"/>.</summary>
    internal void EndShare(SharedFrames shared)
    {
        _region.MapOver((long)shared.First.Value * FrameBytes, (int)_file.DangerousGetHandle(), (long)shared.First.Value * FrameBytes, (long)shared.Count * FrameBytes);
        for (uint i = 0; i < (uint)shared.Count; i++)
        {
            Interlocked.And(ref _states[shared.First.Value + i].Bound, ~IsShared);
            Release(new FrameNumber(shared.First.Value + i));
        }
    }

    private BindingPoint PointOf(FrameNumber frame) => _bindingPoints.GetOrAdd(frame.Value, static _ => new BindingPoint());

    /// <summary><see cref="Ring"/> by one who has just passed a full fence.</summary>
    internal void RingFenced(FrameNumber frame)
    {
        if (Volatile.Read(ref State(frame).Bound) >= OneSleeper)
        {
            WatchOf(frame).Ring();
        }
    }

    /// <summary>Where sleepers on the frame are listed.</summary>
    internal FrameWatch WatchOf(FrameNumber frame) => _watches.GetOrAdd(frame.Value, static _ => new FrameWatch());

    /// <summary>One sleeper more; a full fence.</summary>
    internal void AddWatcher(FrameNumber frame) => Interlocked.Add(ref State(frame).Bound, OneSleeper);

    internal void RemoveWatcher(FrameNumber frame)
    {
        int left = Interlocked.Add(ref State(frame).Bound, -OneSleeper);
        Invariant.Check(left >= 0);
    }

    private int OwnerOf(Credential owner)
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        return _owners.IndexOf(owner);
    }

    private void Take(FrameNumber frame, int ownerIndex, bool zero)
    {
        ref FrameState state = ref _states[frame.Value];
        Invariant.Check(state.References == 0 && state.Owner == 0);
        _largePages.Taken(frame.Value);
        Volatile.Write(ref state.Owner, ownerIndex);
        Volatile.Write(ref state.References, 1);
        if (zero)
        {
            Bytes(frame).Clear();
        }
    }

    private void CheckHeld(FrameNumber first, int frameCount)
    {
        CheckRange(first, frameCount);
        for (int i = 0; i < frameCount; i++)
        {
            Invariant.Check(Volatile.Read(ref _states[first.Value + (uint)i].References) > 0);
        }
    }

    private void CheckRange(FrameNumber first, int frameCount)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(frameCount);
        if (first.Value + (ulong)frameCount > (ulong)FrameCount)
        {
            throw new ArgumentOutOfRangeException(nameof(first), first, $"The pool has {FrameCount} frames.");
        }
    }

    private ref FrameState State(FrameNumber frame)
    {
        if (frame.Value >= (uint)_states.Length)
        {
            CheckRange(frame, 1);
        }

        return ref _states[frame.Value];
    }

    /// <summary>What a frame costs in managed memory: 12 bytes. Owner is negative once the frame has a list of its own; bits 0 and 1 of Bound say that the frame was ever bound, and ever to a page, bit 2 that its memory is a file of its own; the rest counts sleepers.</summary>
    private struct FrameState
    {
        public int References;
        public int Owner;
        public int Bound;
    }
}
