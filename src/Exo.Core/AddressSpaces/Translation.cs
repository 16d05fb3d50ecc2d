// SPDX-License-Identifier: MIT
using Exo.Core.Memory;

namespace Exo.Core.AddressSpaces;

/// <summary>
/// One entry of the exported translation table.
/// <code>
///   63        35     34      33   32     31          0
///  | 0 ...   | dirty | access    | bound | frame      |
/// </code>
/// </summary>
public readonly record struct Translation
{
    private const ulong BoundBit = 1UL << 32;
    private const int AccessShift = 33;
    private const ulong DirtyBit = 1UL << 35;

    private readonly ulong _bits;

    private Translation(ulong bits) => _bits = bits;

    internal Translation(FrameNumber frame, PageAccess access, bool isDirty) =>
        _bits = frame.Value | BoundBit | ((ulong)access << AccessShift) | (isDirty ? DirtyBit : 0);

    /// <summary>Whether a frame is bound to the page. The other members mean something only then.</summary>
    public bool IsBound => (_bits & BoundBit) != 0;

    /// <summary>The frame.</summary>
    public FrameNumber Frame => new((uint)_bits);

    /// <summary>What may be done with the page.</summary>
    public PageAccess Access => (PageAccess)((_bits >> AccessShift) & 3);

    /// <summary>Whether the page may have been written since it was bound or its dirty bit was last cleared.</summary>
    public bool IsDirty => (_bits & DirtyBit) != 0;

    /// <summary>Whether a write goes through without anybody being asked or told.</summary>
    internal bool TakesWrites => (_bits & (BoundBit | (3UL << AccessShift) | DirtyBit)) == (BoundBit | ((ulong)PageAccess.Write << AccessShift) | DirtyBit);

    internal Translation With(PageAccess access, bool isDirty) => new(Frame, access, isDirty);
}
