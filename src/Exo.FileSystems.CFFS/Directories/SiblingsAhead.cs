// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Directories;

/// <summary>
/// How many of a directory's subdirectories are read ahead with one of them: two with the second that is used, twice as many each time when those that were read ahead are used, half as many when others are.
/// Callers may race: a wrong number costs a request, or blocks that nobody wants.
/// </summary>
internal sealed class SiblingsAhead
{
    /// <summary>The most subdirectories that one request reads ahead.</summary>
    public const int Most = 32;

    private uint _from;
    private uint _to;
    private int _count;
    private bool _isReturn;

    /// <summary>Whether they have been used one after the other for some time.</summary>
    public bool IsInOrder => _count > 2;

    /// <summary>A subdirectory is used for the first time. How many behind it to read with it: 0 when it has been read ahead.</summary>
    /// <param name="address">The slot address of its record.</param>
    public int Used(uint address)
    {
        if (!_isReturn)
        {
            _isReturn = true;
            (_from, _to) = (address, address);
            return 0;
        }

        if (address > _from && address < _to)
        {
            return 0;
        }

        _count = address >= _to && address - _to < Most ? Math.Clamp(_count * 2, 2, Most) : _count / 2;
        return _count;
    }

    /// <summary>Those between two slot addresses have been read.</summary>
    public void Read(uint from, uint to) => (_from, _to) = (from, to);
}
