// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Directories;

/// <summary>
/// Where in a directory there is room for a record: for each slot block one byte, the longest run of free slots in one of its sectors (0 to 4), or that nobody has looked.
/// What nobody has looked at is looked at by and by: at most one block for each record that is put in, and ever more rarely as long as nothing is found. So an insert costs the same
/// in a directory of any size, and holes that earlier mounts have left are found in the end. Guarded by the directory's lock.
/// </summary>
internal sealed class RoomMap
{
    private const byte Unknown = 255;
    private const int FruitlessProbes = 16;

    // For records of 1 to 4 slots: no block before this one is known to have room.
    private readonly int[] _from = new int[5];
    private byte[] _room = [];
    private int _count;
    private int _probe;
    private int _fruitless;
    private int _wait;
    private int _waited;

    /// <summary>The directory has this many logical blocks; new ones have not been looked at.</summary>
    public void Extend(ulong blocks)
    {
        if (blocks <= (ulong)_count)
        {
            return;
        }

        int count = checked((int)blocks);
        if (count > _room.Length)
        {
            Array.Resize(ref _room, Math.Max(count, _room.Length * 2));
        }

        _room.AsSpan(_count, count - _count).Fill(Unknown);
        _count = count;
    }

    /// <summary>A block has been looked at: the longest run of free slots in one of its sectors.</summary>
    public void Found(ulong logical, int run)
    {
        Extend(logical + 1);
        _room[logical] = (byte)run;
        if (run > 0 && (int)logical == _probe - 1)
        {
            // Where there is one hole there are others.
            _fruitless = _wait = 0;
        }

        for (int slots = 1; slots <= run; slots++)
        {
            _from[slots] = Math.Min(_from[slots], (int)logical);
        }
    }

    /// <summary>Slots of a block have become free: it is to be looked at again, before others.</summary>
    public void Freed(ulong logical) => Found(logical, 4);

    /// <summary>The first block, from <paramref name="from"/> on, that is believed to have room. Whoever looks there and finds none says so with <see cref="Found"/>.</summary>
    public bool TryKnown(int slots, ulong from, out ulong logical)
    {
        int start = Math.Max(_from[slots], (int)Math.Min(from, (ulong)_count));
        int at = _room.AsSpan(start, _count - start).IndexOfAnyInRange((byte)slots, (byte)4);
        if (from <= (ulong)_from[slots])
        {
            _from[slots] = at < 0 ? _count : start + at;
        }

        logical = (ulong)(start + Math.Max(at, 0));
        return at >= 0;
    }

    /// <summary>A block that nobody has looked at, when one is due. Its result is told with <see cref="Found"/>.</summary>
    public bool TryProbe(out ulong logical)
    {
        logical = 0;
        if (_probe >= _count || _waited++ < _wait)
        {
            return false;
        }

        int at = _room.AsSpan(_probe, _count - _probe).IndexOf(Unknown);
        if (at < 0)
        {
            _probe = _count;
            return false;
        }

        if (++_fruitless % FruitlessProbes == 0)
        {
            _wait = Math.Min((_wait * 2) + 1, 1 << 20);
        }

        _waited = 0;
        logical = (ulong)(_probe + at);
        _probe += at + 1;
        return true;
    }
}
