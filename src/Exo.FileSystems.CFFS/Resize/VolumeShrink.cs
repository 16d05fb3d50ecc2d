// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Relocation;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Resize;

/// <summary>Takes everything that lies beyond a block to free places before it. What has moved stays moved when it is interrupted: the next run goes on.</summary>
internal sealed class VolumeShrink(VolumeCore core, ulong blockCount, ClosedBlocks beyond, IProgress<CffsMoveProgress>? progress, CancellationToken cancellationToken)
{
    private const int PassesMax = 8;

    private ulong _moved;

    /// <summary>Moves what lies beyond, until nothing does. The volume keeps its size.</summary>
    /// <exception cref="CffsException">NoSpace: it does not fit, in all or in the runs that are free; Busy: something that cannot move lies beyond.</exception>
    public async ValueTask RunAsync(IoMode mode)
    {
        // What was removed a moment ago is room for what must move.
        await Evacuation.SettleAsync(core, mode).ConfigureAwait(false);
        RequireFits();
        Evacuation evacuation = new(core, beyond, isRequired: true, Count, cancellationToken);
        for (int pass = 0; ; pass++)
        {
            ulong before = _moved;
            await evacuation.RunAsync(mode).ConfigureAwait(false);
            await Evacuation.SettleAsync(core, mode).ConfigureAwait(false);

            // What escaped a pass is found by the next.
            if (_moved == before || pass == PassesMax)
            {
                return;
            }
        }
    }

    private void RequireFits()
    {
        BlockExtent log = core.LogExtent;
        if (core.RootBlock.Value >= blockCount || log.End.Value > blockCount)
        {
            throw new CffsException(CffsError.Busy, $"the superblock (block {core.RootBlock.Value}) or the intent log (from {log.First.Value}) would go");
        }

        ulong used = core.Disk.BlockCount - core.Disk.FreeBlocks - core.Disk.WillFreeBlocks;
        if (used + core.Space.Blocks > blockCount)
        {
            throw new CffsException(CffsError.NoSpace, $"{used} blocks are in use and {core.Space.Blocks} are kept for removals: they do not fit into {blockCount}");
        }
    }

    private void Count(uint moved)
    {
        _moved += moved;
        progress?.Report(new CffsMoveProgress(_moved));
    }
}
