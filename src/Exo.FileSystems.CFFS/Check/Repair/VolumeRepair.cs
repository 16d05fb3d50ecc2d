// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Check;

/// <summary>
/// One round of a repair. <see cref="Plan"/> reads and decides, and touches nothing; <see cref="Write"/> carries it out.
/// <code>
/// roots      XN's superblock, templates, root catalogue; the superblock of C-FFS, its built-in records
/// walk       directories from the built-in ones on: each sector, each record, each map
/// salvage    blocks that nothing points to and that prove to be a directory's
/// decide     who is who (inode numbers), whose is what (blocks found twice), which name stays
/// write      lost+found, maps, records, counters
/// </code>
/// </summary>
internal sealed partial class VolumeRepair(BlockDevice device, RawBlocks blocks, CffsRepairOptions options, CffsRepairReport report)
{
    private readonly long _actionsBefore = report.ActionCount;
    private readonly Dictionary<ulong, RepairRecord> _byInode = [];
    private readonly Dictionary<ulong, RepairDirectory> _directories = [];
    private readonly List<RepairRecord> _records = [];
    private readonly List<RepairRecord> _links = [];
    private SectorEdits _edits = null!;
    private XnSuperblock _xn;
    private VolumeGuard _guard = null!;
    private VolumeState _state;
    private ulong _superblock;
    private bool _isUnclean;

    // Contents may have several owners: the template says so.
    private bool _sharesContents;

    // Something that may have led to more is gone.
    private bool _hasLoss;
    private ulong _inodeMax = Superblock.FirstInode;
    private long _visited;

    /// <summary>Decides what is to be done. False when nothing can be: the guard sector, without which no checksum can be verified, is not to be found.</summary>
    public bool Plan()
    {
        if (!PlanRoots())
        {
            return false;
        }

        WalkAll();
        Salvage();
        DecideInodes();
        DecideSnapshots();
        DecideAttributes();
        DecideClaims();
        DecideSizes();
        DecideNames();
        DecideLinks();
        PlaceInLostAndFound();
        DropEmptyPacks();
        RewriteMaps();
        RewriteAttributes();
        StageRecords();
        PlanState();
        return true;
    }

    /// <summary>Carries the plan out: what is new, durably; then what points to it. Last the disk is marked unclean, so that XN rebuilds the free map.</summary>
    public void Write()
    {
        _edits.Write(RepairStep.Roots);
        new XnSuperblockPair(device) { Current = _xn }.Store(_xn with { Clean = 0 });
        _edits.Write(RepairStep.New);
        _edits.Write(RepairStep.Old);
    }

    private void Act(string code, FormattableString message, ulong inode, ulong block) =>
        report.Add(new CffsFinding(CffsSeverity.Warning, code, message.ToString(CultureInfo.InvariantCulture), inode, block), options.FindingsMax);

    private bool IsInRange(ulong start, ulong count) =>
        start >= _xn.DataStart && start < _xn.BlockCount && count <= _xn.BlockCount - start && (_foreign is null || !IsForeign(start, count));

    private void Progressed(string stage)
    {
        if (++_visited % 256 == 0)
        {
            options.CancellationToken.ThrowIfCancellationRequested();
            options.Progress?.Report(new CffsCheckProgress(stage, _visited, (long)_xn.BlockCount));
        }
    }

    private void PlanState()
    {
        if (report.After.Findings.FirstOrDefault(finding => finding.Code.StartsWith("index-", StringComparison.Ordinal) && finding.Severity != CffsSeverity.Info) is { } wrong)
        {
            Act("index", $"indexes of directories are no longer believed, and made anew when their directories are changed", wrong.Inode, wrong.Block);
        }

        bool isWanted = report.ActionCount > _actionsBefore || _state.InodeLimit <= _inodeMax;
        if (!isWanted)
        {
            return;
        }

        // A new epoch that ended uncleanly: what is derived (indexes) and what was announced (intents) before is not believed any more.
        VolumeState state = _state;
        state.Version = VolumeState.CurrentVersion;
        state.Generation++;
        state.Epoch++;
        state.LastUncleanEpoch = state.Epoch;
        state.IndexTrust = state.NameSequence;

        // Where the counter is lost, numbers that lost records had must not be given out again.
        state.InodeLimit = Math.Max(state.InodeLimit, _inodeMax + (_isStateNew ? 1UL << 32 : 1));
        for (int i = 0; i < 2; i++)
        {
            _edits.Change(_superblock, i, SectorKind.State, 0, RepairStep.Roots, sector => state.Emit(sector));
        }
    }
}
