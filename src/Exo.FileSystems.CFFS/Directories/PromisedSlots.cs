// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.FileSystems.CFFS.Directories;

/// <summary>
/// Slots that the holder of a directory's lock has been given for a record and has not written yet. They are free still, and contents that lie in a record grow into the free slots behind it without
/// the directory's lock: they keep out of these. Guarded by the metadata lock.
/// </summary>
internal sealed class PromisedSlots
{
    private readonly List<(BlockNumber Block, int First, int End)> _places = [];

    /// <summary>Nobody waits to use any: whoever was given some did without.</summary>
    public void Clear() => _places.Clear();

    public void Add(BlockNumber block, int first, int count) => _places.Add((block, first, first + count));

    /// <summary>A record is staged there: its slots are not free any more.</summary>
    public void Remove(BlockNumber block, int first)
    {
        for (int i = _places.Count - 1; i >= 0; i--)
        {
            if (_places[i].Block == block && _places[i].First == first)
            {
                _places.RemoveAt(i);
            }
        }
    }

    /// <summary>Whether one of these slots is promised.</summary>
    public bool Overlaps(BlockNumber block, int first, int count)
    {
        foreach ((BlockNumber Block, int First, int End) place in _places)
        {
            if (place.Block == block && first < place.End && place.First < first + count)
            {
                return true;
            }
        }

        return false;
    }
}
