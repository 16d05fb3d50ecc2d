// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Verification;

/// <summary>Who owns each block of a disk: one pointer, or of contents as many as there are where their template is counted.</summary>
internal sealed class BlockOwners(ulong blockCount, Faults faults)
{
    private readonly ulong[] _first = new ulong[blockCount];
    private readonly int[] _pointers = new int[blockCount];
    private readonly bool[] _isContents = new bool[blockCount];

    public ulong BlockCount => blockCount;

    /// <summary>How many pointers lead to a block.</summary>
    public int PointersTo(ulong block) => _pointers[block];

    /// <summary>Takes blocks for an owner. False, and nothing more is to be looked at there, when one of them may not be his.</summary>
    /// <param name="mayBeHisAlready">After a crash the inode may be found in two places, and both lead to the same blocks.</param>
    public bool TryOwn(ulong start, ulong count, ulong owner, string what, bool isShareable = false, bool mayBeHisAlready = false)
    {
        bool isFine = true;
        for (ulong at = start; at < start + count; at++)
        {
            if (_pointers[at] == 0)
            {
                _first[at] = owner;
                _isContents[at] = isShareable;
            }
            else if (mayBeHisAlready && _first[at] == owner)
            {
                isFine = false;
                continue;
            }
            else if (!isShareable || !_isContents[at])
            {
                faults.Add($"block {at}, {what} of {owner}, is owned by {_first[at]} already");
                isFine = false;
            }

            _pointers[at]++;
        }

        return isFine;
    }
}

/// <summary>What was found; a limit, so that an image that is all wrong ends, too.</summary>
internal sealed class Faults
{
    private const int FaultsMax = 200;

    public List<string> Lines { get; } = [];

    public void Add(string line)
    {
        if (Lines.Count < FaultsMax)
        {
            Lines.Add(line);
        }
    }

    /// <summary>Notes the line unless something holds; returns whether it does.</summary>
    public bool Expect(bool holds, string line)
    {
        if (!holds)
        {
            Add(line);
        }

        return holds;
    }
}
