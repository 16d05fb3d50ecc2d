// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Allocation;

namespace Exo.FileSystems.CFFS.Directories;

/// <summary>
/// What is known of a directory's entries once it has been loaded: either all names (<see cref="Names"/>, small directories), or that the index on the disk is to be believed
/// (<see cref="IsIndexed"/>). Guarded by the directory's lock.
/// </summary>
internal sealed class DirectoryState
{
    private readonly HashSet<uint> _left = [];
    private long _leftStamp;

    /// <summary>Name hash to slot address of every live record; null when the directory is indexed on the disk, or has to be read first.</summary>
    public NameIndex? Names { get; set; }

    /// <summary>Names are found through the buckets on the disk.</summary>
    public bool IsIndexed { get; set; }

    /// <summary>Neither: the index has been given up, and all slots must be read.</summary>
    public bool MustRead => Names is null && !IsIndexed;

    /// <summary>Live records that are directories.</summary>
    public uint Subdirectories { get; set; }

    /// <summary>How many neighbours are read with a block.</summary>
    public ReadAround Misses { get; } = new();

    /// <summary>How many subdirectories are read with one.</summary>
    public SiblingsAhead Siblings { get; } = new();

    /// <summary>Which of them are loaded before they are used.</summary>
    public AheadPosition Ahead => field ??= new();

    /// <summary>It was loaded ahead, in this round of its parent's (<see cref="AheadPosition.Round"/>), and nobody has used it yet; 0 otherwise.</summary>
    public int AheadRound { get; set; }

    /// <summary>Where records fit.</summary>
    public RoomMap Room { get; } = new();

    /// <summary>What of it the holder of the lock may use.</summary>
    public PromisedSlots Promised { get; } = new();

    /// <summary>Slot addresses of records that have lost their name to another and wait for their removal.</summary>
    public HashSet<uint> Dead { get; } = [];

    /// <summary>
    /// By the slot address of a living record: the dead ones of the same name that are not durably gone. As long as there are any, the living record must keep its name,
    /// because a crash would otherwise bring a dead one back.
    /// </summary>
    public Dictionary<uint, BurialGround> Burials { get; } = [];

    /// <summary>
    /// Entries of the index (hash in the upper half, slot address in the lower) whose records are gone in core, with the stamp of the removal. They leave the index when the removal is
    /// durable: a crash before that brings the record back, and it must be found.
    /// </summary>
    public Dictionary<ulong, long> Leaving { get; } = [];

    /// <summary>A removal of such entries is noted for after the next commit.</summary>
    public bool IsLeavingNoted { get; set; }

    /// <summary>By bucket: the stamp of its last split. When that is durable the entries that went to the new bucket may go from the old one.</summary>
    public Dictionary<uint, long> SplitStamps { get; } = [];

    /// <summary>Buckets of the index.</summary>
    public uint Buckets { get; set; }

    /// <summary>Blocks set aside for slots.</summary>
    public AllocationWindow SlotWindow;

    /// <summary>Blocks set aside for buckets.</summary>
    public AllocationWindow IndexWindow;

    /// <summary>An index could not be built; the next attempt is when the directory has this many blocks.</summary>
    public ulong IndexRefusedBelow { get; set; }

    /// <summary>
    /// A rename has taken a name away. Until that is durable the disk may still show the inode under the name: who takes it next must not look as if it had replaced that inode.
    /// </summary>
    public void Leave(uint hash, long stamp)
    {
        _left.Add(hash);
        _leftStamp = stamp;
    }

    /// <summary>Whether a name (or one of the same hash) was left by a rename that is not durable.</summary>
    public bool IsJustLeft(uint hash, Func<long, bool> isDurable)
    {
        if (_left.Count > 0 && isDurable(_leftStamp))
        {
            _left.Clear();
        }

        return _left.Contains(hash);
    }

    /// <summary>The last stamp of what is remembered here until it is durable; -1: nothing is.</summary>
    public long ChangedLast
    {
        get
        {
            long last = Math.Max(LastRemoval, _left.Count > 0 ? _leftStamp : -1);
            foreach (long stamp in SplitStamps.Values)
            {
                last = Math.Max(last, stamp);
            }

            return last;
        }
    }

    /// <summary>
    /// The stamp of the last removal of a record, or -1. Until it is durable the disk may still show the record: a directory that another is to replace must not look full then.
    /// </summary>
    public long LastRemoval { get; set; } = -1;
}

/// <summary>How many dead records of one name are not durably gone. Guarded by the directory's lock.</summary>
internal sealed class BurialGround
{
    private BurialGround? _heir;

    public int Count { get; set; }

    /// <summary>The ground that counts: this one, or the one that has taken it over.</summary>
    public BurialGround Living => _heir is null ? this : _heir.Living;

    /// <summary>Those who are buried in another ground are buried here from now on.</summary>
    public void TakeOver(BurialGround other)
    {
        Count += other.Count;
        other._heir = this;
    }
}
