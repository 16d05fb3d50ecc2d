// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.FileSystems.CFFS.Directories;

/// <summary>
/// Slots that the holder of a directory's lock has been given for records, until he lets go of it or is given others. They are free until he has written them, and contents that lie in a record grow into
/// the free slots behind it without the directory's lock: they keep out of these. Guarded by the metadata lock.
/// </summary>
internal sealed class PromisedSlots
{
    private readonly List<(BlockNumber Block, int First, int End)> _places = [];

    /// <summary>Whoever was given some has used them, or did without.</summary>
    public void Clear() => _places.Clear();

    public void Add(BlockNumber block, int first, int count) => _places.Add((block, first, first + count));

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
