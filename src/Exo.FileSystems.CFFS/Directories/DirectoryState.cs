// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Directories;

/// <summary>What is known of a directory's entries once it has been loaded. Guarded by the directory's lock.</summary>
internal sealed class DirectoryState
{
    // For records of 1 to 4 slots: the first logical block that may have room for one.
    private readonly ulong[] _roomFrom = new ulong[5];

    /// <summary>Name hash to slot address of every live record.</summary>
    public NameIndex Names { get; } = new();

    /// <summary>Live records that are directories.</summary>
    public uint Subdirectories { get; set; }

    /// <summary>Slot addresses of records that have lost their name to another and wait for their removal.</summary>
    public HashSet<uint> Dead { get; } = [];

    /// <summary>
    /// By the slot address of a living record: the dead ones of the same name that are not durably gone. As long as there are any, the living record must keep its name,
    /// because a crash would otherwise bring a dead one back.
    /// </summary>
    public Dictionary<uint, BurialGround> Burials { get; } = [];

    private readonly HashSet<uint> _left = [];
    private long _leftStamp;

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

    public bool IsEmpty => Names.Count == 0;

    /// <summary>
    /// The stamp of the last removal of a record, or -1. Until it is durable the disk may still show the record: a directory that another is to replace must not look full then.
    /// </summary>
    public long LastRemoval { get; set; } = -1;

    public ulong RoomFrom(int slots) => _roomFrom[slots];

    public void NoRoomBefore(int slots, ulong logical) => _roomFrom[slots] = Math.Max(_roomFrom[slots], logical);

    public void RoomIn(ulong logical)
    {
        for (int slots = 1; slots < _roomFrom.Length; slots++)
        {
            _roomFrom[slots] = Math.Min(_roomFrom[slots], logical);
        }
    }
}

/// <summary>How many dead records of one name are not durably gone. Guarded by the directory's lock.</summary>
internal sealed class BurialGround
{
    public int Count { get; set; }
}
