// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Check;

/// <summary>
/// One run of fsck: XN's superblock, catalogues and free map; C-FFS's superblock; then directories level by level (each level's blocks sorted and read in batches), extent trees on the way;
/// at the end what can be judged only as a whole: links, duplicates, leaks.
/// </summary>
internal sealed partial class VolumeCheck(BlockDevice device, CffsCheckOptions options, IProgress<CffsCheckProgress>? progress)
{
    private readonly CffsCheckReport _report = new();
    private readonly HashSet<ulong> _inodes = [];
    private readonly Dictionary<ulong, uint> _linksFound = [];

    private readonly Dictionary<ulong, (ulong Address, uint Links)> _externals = [];

    private readonly HashSet<ulong> _movingInodes = [];
    private ulong[] _owned = [];
    private XnSuperblock _xn;
    private VolumeGuard _guard = null!;
    private VolumeState _state;
    private bool _isUnclean;
    private RawBlocks _blocks = null!;
    private long _visited;

    /// <summary>A directory to be looked at: its blocks, in the order of its logical blocks.</summary>
    private sealed record DirectoryVisit(ulong Inode, string Path, List<(ulong Logical, ulong Block)> Blocks);

    public CffsCheckReport Run()
    {
        using RawBlocks blocks = new(device);
        _blocks = blocks;
        ulong superblock = CheckXn();
        _owned = new ulong[(_xn.BlockCount + 63) / 64];
        _report.BlocksTotal = (long)_xn.BlockCount;
        Own(0, _xn.DataStart, 0, isAnnounced: false);
        byte[] root = new byte[4096];
        if (!_blocks.TryRead(superblock, root))
        {
            Find(CffsSeverity.Error, "unreadable", "the superblock cannot be read", 0, superblock);
            return _report;
        }

        Own(superblock, 1, 0, isAnnounced: false);
        if (!CheckSuperblock(superblock, root))
        {
            return _report;
        }

        List<DirectoryVisit> level = [];
        CheckBuiltIns(superblock, root, level);
        while (level.Count > 0)
        {
            level = CheckLevel(level);
        }

        CheckLinks();
        CheckFreeMap();
        _report.WasUnmounted = !_isUnclean;
        return _report;
    }

    private void Find(CffsSeverity severity, string code, FormattableString message, ulong inode, ulong block) =>
        Find(severity, code, message.ToString(CultureInfo.InvariantCulture), inode, block);

    private void Find(CffsSeverity severity, string code, string message, ulong inode, ulong block) =>
        _report.Add(new CffsFinding(severity, code, message, inode, block), options.FindingsMax);
}
