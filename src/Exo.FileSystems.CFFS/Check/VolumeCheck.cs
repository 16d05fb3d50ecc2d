// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Check;

/// <summary>
/// One run of fsck: XN's superblock, catalogues and free map; C-FFS's superblock; then directories level by level (their blocks read and verified ahead by two threads), extent trees on the way;
/// at the end what can be judged only as a whole: links, duplicates, leaks.
/// </summary>
internal sealed partial class VolumeCheck(BlockDevice device, CffsCheckOptions options, IProgress<CffsCheckProgress>? progress)
{
    private readonly CffsCheckReport _report = new();
    private readonly HashSet<ulong> _inodes = [];
    private readonly Dictionary<ulong, uint> _linksFound = [];

    private readonly Dictionary<ulong, (ulong Address, uint Links, ushort Mode)> _externals = [];

    private readonly HashSet<ulong> _movingInodes = [];

    // Of them: those whose old name the other has, before it is known whether both have moved.
    private readonly HashSet<ulong> _exchangedInodes = [];
    private readonly HashSet<ulong> _replaced = [];
    private OwnershipMap _owned = null!;
    private List<RootEntry> _others = [];
    private XnSuperblock _xn;
    private VolumeGuard _guard = null!;
    private VolumeState _state;
    private bool _isUnclean;

    // By the slots of the type catalogue; and what it says of our contents.
    private bool[] _isCounted = [];
    private bool _sharesContents;

    // Blocks of contents to which several pointers lead, and how many.
    private readonly Dictionary<ulong, int> _owners = [];
    private RawBlocks _blocks = null!;
    private long _visited;

    /// <summary>A directory to be looked at: its blocks, as extents.</summary>
    private sealed record DirectoryVisit(ulong Inode, string Path, List<RepairExtent> Extents)
    {
        /// <summary>The entries of its index; null when it has none that is to be believed.</summary>
        public IndexImage? Index { get; init; }
    }

    public CffsCheckReport Run()
    {
        using RawBlocks blocks = new(device);
        _blocks = blocks;
        ulong? root = CheckXn();
        _owned = new OwnershipMap(_xn.BlockCount, _sharesContents);
        _report.BlocksTotal = (long)_xn.BlockCount;
        if (root is not { } superblock)
        {
            return _report;
        }

        Own(0, _xn.DataStart, 0, isAnnounced: false);
        OwnForeign();
        byte[] block = new byte[4096];
        if (!_blocks.TryRead(superblock, block))
        {
            Find(CffsSeverity.Error, "unreadable", "the superblock cannot be read", 0, superblock);
            return _report;
        }

        Own(superblock, 1, 0, isAnnounced: false);
        if (!CheckSuperblock(superblock, block))
        {
            return _report;
        }

        List<DirectoryVisit> level = [];
        CheckBuiltIns(superblock, block, level);
        while (level.Count > 0)
        {
            level = CheckLevel(level);
        }

        CheckLinks();
        CheckFreeMap();
        CheckOwners();
        _report.WasUnmounted = !_isUnclean;
        return _report;
    }

    /// <summary>Other file systems share the disk: what they own is in use.</summary>
    private void OwnForeign()
    {
        if (_others.Count > 0 && ForeignBlocks.Find(device, _xn, _others) is { } free)
        {
            for (ulong block = _xn.DataStart; block < _xn.BlockCount; block++)
            {
                if (!free.IsFree(block))
                {
                    _owned.TryOwn(block, isContents: false);
                }
            }
        }
    }

    private void Find(CffsSeverity severity, string code, FormattableString message, ulong inode, ulong block) =>
        Find(severity, code, message.ToString(CultureInfo.InvariantCulture), inode, block);

    private void Find(CffsSeverity severity, string code, string message, ulong inode, ulong block) =>
        _report.Add(new CffsFinding(severity, code, message, inode, block), options.FindingsMax);
}
