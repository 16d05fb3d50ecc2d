// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Check;

/// <summary>
/// Which blocks of a disk are claimed, and which of them by two that cannot both be right. Blocks of contents may have several owners when <paramref name="sharesContents"/> says so
/// (the template flag Counted of <c>cffs.data</c>); a block that is contents to one and metadata to another may never.
/// </summary>
internal sealed class OwnershipMap(ulong blockCount, bool sharesContents)
{
    private readonly ulong[] _owned = new ulong[(blockCount + 63) / 64];
    private readonly ulong[] _contents = new ulong[sharesContents ? (blockCount + 63) / 64 : 0];

    public ulong BlockCount => blockCount;

    /// <summary>Blocks claimed at least once.</summary>
    public long Count { get; private set; }

    /// <summary>One bit for each block: claimed.</summary>
    public ReadOnlySpan<ulong> Words => _owned;

    public bool IsOwned(ulong block) => (_owned[block >> 6] >> (int)(block & 63) & 1) != 0;

    /// <summary>Claims one block. False when it is claimed already and may not have this second owner.</summary>
    public bool TryOwn(ulong block, bool isContents)
    {
        ulong bit = 1UL << (int)(block & 63);
        if ((_owned[block >> 6] & bit) != 0)
        {
            return sharesContents && isContents && (_contents[block >> 6] & bit) != 0;
        }

        _owned[block >> 6] |= bit;
        Count++;
        if (sharesContents && isContents)
        {
            _contents[block >> 6] |= bit;
        }

        return true;
    }
}
